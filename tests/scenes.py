"""Analytic captures: known solids, photographed by known cameras, with the faults that real captures have.

``make_capture`` gives a capture in memory; ``job_folders`` writes one to disk in each accepted layout.
Pictures are ray-traced (sphere tracing on exact distances): colours are box-filtered in linear light, depth is
exact at pixel centres.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from recon import frames
from recon.colour import linear_from_srgb, srgb_from_linear
from recon.scene import Camera, Capture, DepthMap, Intrinsics, View, batch_cameras
from shapes import (
    Array,
    Scene,
    block_with_hole,
    bowl,
    cube,
    every_scene,
    glossy_cylinder,
    mug,
    pan,
    plate,
    shaft,
    sphere,
    torus,
    toy,
)

__all__ = [
    "CUBE6_NAMES", "Faults", "Rendered", "Scene", "block_with_hole", "bowl", "capture_of", "cube", "cube6_cameras",
    "every_scene", "glossy_cylinder", "held_out_cameras", "look_from", "make_capture", "mug", "orbit6_cameras",
    "orbit_camera", "pan", "plate", "render", "sees", "shaft", "sphere", "torus", "toy",
]  # fmt: skip

CUBE6_NAMES = ("front", "right", "back", "left", "top", "bottom")
FIELD_OF_VIEW_DEG = 27.6
MAX_TRACE_STEPS = 4096
"""A ray that grazes a plane at one degree approaches it by 2 % a step."""
LIGHT_WORLD = np.array([0.5, -0.86, -0.05])
"""Direction to the light that makes highlights on glossy solids; low, so that upright sides show them."""


@dataclass(frozen=True)
class Faults:
    """What is wrong with a capture; the default is nothing.

    Attributes:
        has_sensor_noise: Structured-light depth: axial noise of 1.5 mm at 0.75 m growing with the square of the
            distance, ragged edges, flying pixels, holes, 1 mm steps.
        turn_deg, shift_m: Every stated camera is wrong by a turn about the object and a shift, random directions.
        focal_factors: Every stated focal length is so many times the true one, per view (repeated if there are more).
        exposure_gains: Factors on linear light, per view (repeated if there are more views).
        has_depth: Whether there are depth images at all.
        is_depth_in_every_view: Otherwise every other view has none.
        unmeasured_radius: In shares of the diagonal: no depth image shows what lies so near to three places of the
            surface, as if they were black or shone.
        depth_codes: Depth is rounded to so many values between each camera and the farthest it sees; 0 keeps it exact.
        seed: For everything random.
    """

    has_sensor_noise: bool = False
    turn_deg: float = 0.0
    shift_m: float = 0.0
    focal_factors: tuple[float, ...] = (1.0,)
    exposure_gains: tuple[float, ...] = (1.0,)
    has_depth: bool = True
    is_depth_in_every_view: bool = True
    unmeasured_radius: float = 0.0
    depth_codes: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Rendered:
    """One exact picture: straight sRGB, coverage, and z-depth at pixel centres (0 where nothing is hit)."""

    image_srgb: torch.Tensor
    alpha: torch.Tensor
    depth_z_m: Array

    @property
    def hit_mask(self) -> npt.NDArray[np.bool_]:
        return self.depth_z_m > 0


def look_from(scene: Scene, direction: Array, size_px: int, up: tuple[float, float, float] = (0, 0, 1)) -> Camera:
    """A camera three diagonals away that looks at the middle of the solid; the principal point is a bit off centre."""
    focal_px = size_px / 2 / math.tan(math.radians(FIELD_OF_VIEW_DEG) / 2)
    intrinsics = Intrinsics(size_px, size_px, focal_px, focal_px, 0.49 * size_px, 0.493 * size_px)
    centre = torch.from_numpy(scene.centre_world)
    position = centre + 3 * scene.diagonal_m * torch.from_numpy(direction / np.linalg.norm(direction))
    return Camera(intrinsics, frames.look_at(position, centre, torch.tensor(up, dtype=torch.float64)))


def orbit6_cameras(scene: Scene, size_px: int = 128) -> list[Camera]:
    """Azimuth 0, 60, ... 300 degrees, elevation +20 and -10 in turn; azimuth 0 looks along +y."""
    return [orbit_camera(scene, 60 * i, 20 if i % 2 == 0 else -10, size_px) for i in range(6)]


def orbit_camera(scene: Scene, azimuth_deg: float, elevation_deg: float, size_px: int = 128) -> Camera:
    """A camera that looks at the middle of the solid from a direction; azimuth 0 looks along +y."""
    return look_from(scene, _direction(azimuth_deg, elevation_deg), size_px)


def cube6_cameras(scene: Scene, size_px: int = 128) -> list[Camera]:
    """Front (from -y), right (from +x), back, left, top (image up = +y), bottom (image up = -y)."""
    sides = [look_from(scene, _direction(azimuth, 0), size_px) for azimuth in (0, 90, 180, 270)]
    top = look_from(scene, np.array([0.0, 0, 1]), size_px, (0, 1, 0))
    bottom = look_from(scene, np.array([0.0, 0, -1]), size_px, (0, -1, 0))
    return [*sides, top, bottom]


def held_out_cameras(scene: Scene, size_px: int = 128, count: int = 12) -> list[Camera]:
    """Held-out views between those of the orbit, at other heights."""
    return [look_from(scene, _direction(30 + 360 * i / count, (35, 5, -20)[i % 3]), size_px) for i in range(count)]


def render(scene: Scene, camera: Camera, supersample: int = 3) -> Rendered:
    """Ray-trace one view; ``supersample`` is odd, so that one of the samples is the pixel's centre."""
    assert supersample % 2 == 1, "the middle sample is the pixel centre"
    rows, columns = _window_px(scene, camera)
    directions = _ray_directions_world(camera, rows, columns, supersample)
    origin = camera.position_world.numpy()
    distance_m = _trace(scene, origin, directions)
    hits = np.flatnonzero(np.isfinite(distance_m))
    positions = origin + distance_m[hits, None] * directions[hits]
    colours = scene.colour_linear(positions)
    if scene.gloss:
        normals = scene.normals_world(positions)
        halfway = LIGHT_WORLD / np.linalg.norm(LIGHT_WORLD) - directions[hits]
        halfway /= np.linalg.norm(halfway, axis=-1, keepdims=True)
        colours = colours + scene.gloss * (normals * halfway).sum(-1).clip(0)[:, None] ** 60
    # Per sample: linear colour, coverage, z-depth; zero where nothing is hit.
    samples = np.zeros((len(directions), 5))
    samples[hits, :3], samples[hits, 3] = colours.clip(0, 1), 1
    samples[hits, 4] = distance_m[hits] * (directions[hits] @ camera.world_from_camera[:3, 2].numpy())
    samples = samples.reshape(len(rows), supersample, len(columns), supersample, 5)
    window = np.concatenate([samples[..., :4].mean((1, 3)), samples[:, supersample // 2, :, supersample // 2, 4:]], -1)
    picture = np.zeros((camera.intrinsics.height_px, camera.intrinsics.width_px, 5))
    picture[np.ix_(rows, columns)] = window
    alpha = picture[..., 3]
    linear = torch.from_numpy(picture[..., :3] / alpha.clip(1e-9)[..., None]).float()
    return Rendered(srgb_from_linear(linear.clamp(0, 1)), torch.from_numpy(alpha).float(), picture[..., 4])


def make_capture(
    scene: Scene,
    cameras: list[Camera],
    faults: Faults = Faults(),
    names: tuple[str, ...] | None = None,
    supersample: int = 3,
) -> Capture:
    """Photograph a solid; the cameras of the result are the stated ones, wrong by the pose faults."""
    return capture_of(scene, cameras, [render(scene, camera, supersample) for camera in cameras], faults, names)


def capture_of(
    scene: Scene,
    cameras: list[Camera],
    pictures: list[Rendered],
    faults: Faults = Faults(),
    names: tuple[str, ...] | None = None,
) -> Capture:
    """Pictures that were taken by the given cameras, with faults added, as a capture."""
    rng = np.random.default_rng(faults.seed)
    views = []
    for index, (camera, rendered) in enumerate(zip(cameras, pictures, strict=True)):
        depth_z_m, valid = rendered.depth_z_m, rendered.hit_mask
        if faults.has_sensor_noise:
            depth_z_m, valid = _with_sensor_noise(rendered, camera, scene, rng)
        if faults.unmeasured_radius:
            valid = valid & ~_is_unmeasured(scene, camera, rendered, faults.unmeasured_radius)
        gain = faults.exposure_gains[index % len(faults.exposure_gains)]
        image_srgb = rendered.image_srgb
        if gain != 1:
            image_srgb = srgb_from_linear((linear_from_srgb(image_srgb) * gain).clamp(0, 1))
        step_z = 1e-3 if faults.has_sensor_noise else 0.0
        if faults.depth_codes:
            step_z = float(depth_z_m[valid].max()) / faults.depth_codes
            depth_z_m = (np.floor(depth_z_m / step_z) + 0.5) * step_z
        depth_z, mask = torch.from_numpy(depth_z_m.astype(np.float32)), torch.from_numpy(valid)
        bits = 8 if faults.depth_codes else 16 if step_z else 0
        measured = DepthMap(depth_z, mask, step_z=step_z, integer_bits=bits)
        has_depth = faults.has_depth and (faults.is_depth_in_every_view or index % 2 == 0)
        depth = measured if has_depth else None
        name = names[index] if names else f"view_{index:02d}"
        stated = _misplaced(camera, scene, faults, rng)
        stated = _refocused(stated, faults.focal_factors[index % len(faults.focal_factors)])
        views.append(View(name, image_srgb, rendered.alpha, "alpha", depth, stated))
    return Capture(tuple(views), "analytic", "z", True, "given")


def _refocused(camera: Camera, factor: float) -> Camera:
    lens = camera.intrinsics
    lens = replace(lens, focal_x_px=factor * lens.focal_x_px, focal_y_px=factor * lens.focal_y_px)
    return replace(camera, intrinsics=lens)


def _is_unmeasured(scene: Scene, camera: Camera, rendered: Rendered, radius: float) -> npt.NDArray[np.bool_]:
    """The pixels whose depth no camera measures: near to what the solid has farthest out in three directions."""
    surface = scene.sample_surface(20_000)
    outwards = np.stack([_direction(azimuth_deg, 30 - azimuth_deg / 4) for azimuth_deg in (20, 140, 260)])
    places = surface[np.argmax((surface - scene.centre_world) @ outwards.T, 0)]
    height_px, width_px = rendered.depth_z_m.shape
    batch = batch_cameras([camera], height_px, width_px, "cpu", torch.float64)
    points_world = batch.unproject(torch.from_numpy(rendered.depth_z_m)[None])[0].numpy()
    distances_m = np.linalg.norm(points_world[..., None, :] - places, axis=-1)
    is_near: npt.NDArray[np.bool_] = rendered.hit_mask & (distances_m < radius * scene.diagonal_m).any(-1)
    return is_near


def sees(scene: Scene, camera: Camera, positions_world: Array) -> npt.NDArray[np.bool_]:
    """Which surface points nothing hides from a camera (its picture is taken to be large enough)."""
    origin = camera.position_world.numpy()
    offset = positions_world - origin
    distance_m = np.linalg.norm(offset, axis=1)
    is_facing = (scene.normals_world(positions_world) * offset).sum(1) < 0
    return is_facing & (_trace(scene, origin, offset / distance_m[:, None]) > distance_m - 1e-4)


def _direction(azimuth_deg: float, elevation_deg: float) -> Array:
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    flat = math.cos(elevation)
    return np.array([math.sin(azimuth) * flat, -math.cos(azimuth) * flat, math.sin(elevation)])


def _window_px(scene: Scene, camera: Camera) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows and columns that can show the solid: rays are traced only there."""
    bounds = np.stack([scene.low_world, scene.high_world])
    corners = torch.from_numpy(np.stack(np.meshgrid(*bounds.T, indexing="ij"), -1).reshape(-1, 3))
    intrinsics = camera.intrinsics
    batch = batch_cameras([camera], intrinsics.height_px, intrinsics.width_px, "cpu", torch.float64)
    pixels_px = batch.project(corners)[0][0].numpy()
    low, high = np.floor(pixels_px.min(0)).astype(int) - 1, np.ceil(pixels_px.max(0)).astype(int) + 1
    columns = np.arange(max(low[0], 0), min(high[0], intrinsics.width_px))
    return np.arange(max(low[1], 0), min(high[1], intrinsics.height_px)), columns


def _ray_directions_world(
    camera: Camera, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], supersample: int
) -> Array:
    """Unit directions through evenly spaced samples of the given pixels, row by row."""
    offsets = (np.arange(supersample) + 0.5) / supersample
    intrinsics = camera.intrinsics
    slopes_x = ((columns[:, None] + offsets).ravel() - intrinsics.principal_x_px) / intrinsics.focal_x_px
    slopes_y = ((rows[:, None] + offsets).ravel() - intrinsics.principal_y_px) / intrinsics.focal_y_px
    grid_y, grid_x = np.meshgrid(slopes_y, slopes_x, indexing="ij")
    slopes = np.stack([grid_x.ravel(), grid_y.ravel(), np.ones(grid_x.size)], -1)
    directions = slopes @ camera.world_from_camera[:3, :3].numpy().T
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _trace(scene: Scene, origin: Array, directions: Array) -> Array:
    """Distance along each unit ray to the first surface; infinite where there is none (Hart 1996)."""
    to_centre = scene.centre_world - origin
    along = directions @ to_centre
    reach_squared = (0.5 * scene.diagonal_m * 1.01) ** 2 - (to_centre @ to_centre - along**2)
    active = np.flatnonzero(reach_squared > 0)
    half_chord = np.sqrt(reach_squared[active])
    travelled, limit = along[active] - half_chord, along[active] + half_chord
    result = np.full(len(directions), np.inf)
    for _ in range(MAX_TRACE_STEPS):
        step = scene.signed_distance_m(origin + travelled[:, None] * directions[active])
        is_done = step < 1e-8
        result[active[is_done]] = travelled[is_done]
        travelled = travelled + step
        keep = ~is_done & (travelled < limit)
        active, travelled, limit = active[keep], travelled[keep], limit[keep]
        if not len(active):
            break
    return result


def _misplaced(camera: Camera, scene: Scene, faults: Faults, rng: np.random.Generator) -> Camera:
    if not faults.turn_deg and not faults.shift_m:
        return camera
    axis, shift = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, 3)))
    rotation = frames.rotation_from_vector(torch.from_numpy(axis * math.radians(faults.turn_deg)))
    centre = torch.from_numpy(scene.centre_world)
    moved = camera.world_from_camera.clone()
    moved[:3, :3] = rotation @ moved[:3, :3]
    moved[:3, 3] = rotation @ (moved[:3, 3] - centre) + centre + torch.from_numpy(shift * faults.shift_m)
    return replace(camera, world_from_camera=moved)


def _with_sensor_noise(
    rendered: Rendered, camera: Camera, scene: Scene, rng: np.random.Generator
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Degrade exact depth as a structured-light sensor would; metres and validity."""
    depth, hit = rendered.depth_z_m, rendered.hit_mask
    height, width = depth.shape
    # Ragged edges: each block of the sensor looks a pixel or so aside.
    rows, columns = np.indices(depth.shape)
    blocks = rng.normal(0, 0.8, (2, -(-height // 3), -(-width // 3)))
    shift = blocks.repeat(3, 1).repeat(3, 2)[:, :height, :width]
    rows = (rows + np.rint(shift[0]).astype(int)).clip(0, height - 1)
    columns = (columns + np.rint(shift[1]).astype(int)).clip(0, width - 1)
    ragged, valid = depth[rows, columns], hit[rows, columns]
    noisy = ragged + rng.normal(0, 1.5e-3, depth.shape) * (ragged / 0.75) ** 2
    # Flying pixels: between the two surfaces of an edge, or behind a silhouette.
    padded = np.pad(valid, 1)
    is_edge = valid & ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])
    is_flying = is_edge & (rng.random(depth.shape) < 0.25)
    noisy = noisy + is_flying * rng.uniform(0, 0.03, depth.shape)
    # Holes: grazing surfaces return little light, and single pixels drop out.
    facing = _facing(rendered, camera, scene)[rows, columns]
    is_hole = (rng.random(depth.shape) < 0.02) | (rng.random(depth.shape) > facing / 0.25)
    valid = valid & ~is_hole
    return np.where(valid, np.rint(noisy * 1000) / 1000, 0), valid


def _facing(rendered: Rendered, camera: Camera, scene: Scene) -> Array:
    """Cosine between the surface and the optical axis per pixel; zero where nothing is hit."""
    height_px, width_px = rendered.depth_z_m.shape
    batch = batch_cameras([camera], height_px, width_px, "cpu", torch.float64)
    positions = batch.unproject(torch.from_numpy(rendered.depth_z_m)[None])[0].numpy()
    facing = np.zeros((height_px, width_px))
    normals = scene.normals_world(positions[rendered.hit_mask])
    facing[rendered.hit_mask] = np.abs(normals @ camera.world_from_camera[:3, 2].numpy())
    return facing
