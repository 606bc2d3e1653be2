"""One registration with a known answer: a mesh with a third of its surface altered, moved, and registered back."""

import math
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import trimesh

import scenes
from recon import frames, load_capture
from recon.arrays import Float, Tensor
from recon.geometry.grid import enclosing_grid
from recon.geometry.isosurface import extract_surface
from recon.observations import Observations, observe
from recon.raster import select_rasterizer
from recon.registration import Registration, Similarity, SurfacePoints, register, sample_mesh
from recon.registration.measured import SilhouetteCheck, measured_points
from recon.scene import Capture, DepthMap, TriangleMesh, View, batch_cameras

CPU = torch.device("cpu")
ALTERATIONS = ("removed", "deformed", "torn", "flattened", "dented")
"""What happens to a third of the surface: cut off by a plane, bent aside and swollen, missing in patches, pressed
flat, or pushed in and out; see the functions of these names."""
PATCHES = 7
SAMPLES = 12_000


@dataclass(frozen=True)
class Case:
    """A true mesh with its colours, and what six views measured of it."""

    name: str
    mesh: TriangleMesh
    colours_srgb: Float[Tensor, "v 3"] | None
    target: SurfacePoints
    observations: Observations

    @property
    def diagonal_m(self) -> float:
        return self.mesh.diagonal_m()


@dataclass(frozen=True)
class Outcome:
    """Errors of one registration, and the processor time that it took."""

    case: str
    alteration: str
    rotation_deg: float
    scale_percent: float
    offset_percent: float
    seconds: float
    found: Registration

    @property
    def is_success(self) -> bool:
        return self.rotation_deg <= 1 and self.scale_percent <= 1 and self.offset_percent <= 1

    def __str__(self) -> str:
        verdict = "ok  " if self.is_success else "FAIL"
        return (
            f"{verdict} {self.case} {self.alteration}: {self.rotation_deg:.2f} deg, scale {self.scale_percent:.2f} %, "
            f"offset {self.offset_percent:.2f} %, {self.seconds:.2f} s, inliers {self.found.inlier_fraction:.2f}, "
            f"colour {self.found.colour_difference}, outline {self.found.silhouette_iou}"
        )


def summary(outcomes: list[Outcome]) -> str:
    """Success rate, median and largest errors of the successes, seconds."""
    good = [item for item in outcomes if item.is_success]
    rate = 100 * len(good) / len(outcomes)
    text = f"{len(good)}/{len(outcomes)} ({rate:.1f} %)"
    for name, unit in (("rotation_deg", "deg"), ("scale_percent", "% scale"), ("offset_percent", "% offset")):
        values = sorted(getattr(item, name) for item in good)
        if values:
            text += f"; median {values[len(values) // 2]:.3f} worst {values[-1]:.3f} {unit}"
    seconds = sorted(item.seconds for item in outcomes)
    return text + f"; median {seconds[len(seconds) // 2]:.2f} worst {seconds[-1]:.2f} s"


@cache
def solid_case(name: str) -> Case:
    """An analytic solid, photographed exactly by six cameras all around."""
    scene = next(item for item in scenes.every_scene() if item.name == name)
    low, high = (torch.from_numpy(item).float() for item in (scene.low_world, scene.high_world))
    grid = enclosing_grid(low, high, 72)
    field = torch.from_numpy(scene.signed_distance_m(grid.positions_world().double().numpy())).float()
    mesh = extract_surface(field.view(grid.shape) + 1e-9, grid)
    capture = scenes.make_capture(scene, scenes.cube6_cameras(scene, 96))
    linear = torch.from_numpy(scene.colour_linear(mesh.positions_world.double().numpy()))
    observations = observe(capture, CPU)
    return Case(name, mesh, scenes.srgb_from_linear(linear), measured_points(observations, capture), observations)


@cache
def file_case(path: Path, capture_dir: Path | None) -> Case:
    """A mesh file with the depths of a job folder, or as six cameras around it would see it."""
    loaded = trimesh.load(path, force="mesh")
    visual = loaded.visual.to_color().vertex_colors if loaded.visual.kind == "texture" else loaded.visual.vertex_colors
    colours = torch.from_numpy(np.asarray(visual)[:, :3].astype(np.float32) / 255)
    mesh = TriangleMesh(
        torch.from_numpy(np.asarray(loaded.vertices, np.float32)), torch.from_numpy(np.asarray(loaded.faces, np.int64))
    )
    name = path.parent.parent.name if path.parent.name == "truth" else path.stem
    capture = load_capture(capture_dir) if capture_dir else drawn_capture(mesh, colours)
    observations = observe(capture, CPU)
    return Case(name, mesh, colours, measured_points(observations, capture), observations)


def drawn_capture(mesh: TriangleMesh, colours_srgb: Float[Tensor, "v 3"], size_px: int = 256) -> Capture:
    """Six views of a mesh, drawn by our own rasteriser."""
    raster = select_rasterizer("torch", CPU)
    low, high = (item.double().numpy() for item in mesh.bounds_world())
    box = scenes.Scene("drawn", lambda p: p[:, 0], low, high)
    views = []
    for index, camera in enumerate(scenes.orbit6_cameras(box, size_px)):
        batch = batch_cameras([camera], size_px, size_px, CPU)
        fragments = raster.rasterize(mesh.positions_world, mesh.faces, batch)
        depth = frames.transform_points(batch.camera_from_world[0], mesh.positions_world)[:, 2:]
        depth_z = raster.interpolate(depth, mesh.faces, fragments)[0, ..., 0]
        image = raster.interpolate(colours_srgb, mesh.faces, fragments)[0]
        hit = fragments.hit_mask[0]
        views.append(View(f"view_{index:02d}", image, hit.float(), "alpha", DepthMap(depth_z, hit), camera))
    return Capture(tuple(views), "drawn", cameras_source="given")


def run(case: Case, alteration: str, seed: int, with_colours: bool = True) -> Outcome:
    """Alter, move, register, compare."""
    rng = np.random.default_rng(seed)
    alter = dict(zip(ALTERATIONS, (removed, deformed, torn, flattened, dented), strict=True))
    altered = alter[alteration](case.mesh, rng)
    source_from_world = random_similarity(rng)
    moved = TriangleMesh(source_from_world.apply(altered.positions_world.double()).float(), altered.faces)
    colours = case.colours_srgb if with_colours else None
    started_s = time.process_time()
    source = sample_mesh(moved, SAMPLES, seed, colours)
    found = register(source, case.target, SilhouetteCheck(source.positions, case.observations))
    seconds = time.process_time() - started_s
    return _outcome(case, alteration, found, found.target_from_source.after(source_from_world), seconds)


def _outcome(case: Case, alteration: str, found: Registration, identity: Similarity, seconds: float) -> Outcome:
    """Errors of what should be the identity; the offset is that of the mesh's middle."""
    cosine = (float(identity.rotation.diagonal().sum()) - 1) / 2
    low, high = case.mesh.bounds_world()
    middle = ((low + high) / 2).double()
    offset = (identity.apply(middle[None])[0] - middle).norm()
    return Outcome(
        case.name,
        alteration,
        math.degrees(math.acos(min(1.0, max(-1.0, cosine)))),
        100 * abs(float(identity.scale) - 1),
        100 * float(offset) / case.diagonal_m,
        seconds,
        found,
    )


def random_similarity(rng: np.random.Generator) -> Similarity:
    """Any orientation, half to twice the size of a unit, somewhere near."""
    quaternion = rng.normal(size=4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    scale = float(np.exp(rng.uniform(np.log(0.5), np.log(5.0))))
    offset = torch.from_numpy(rng.uniform(-1, 1, 3))
    return Similarity(torch.tensor(scale, dtype=torch.float64), torch.from_numpy(rotation), offset)


def third(mesh: TriangleMesh, rng: np.random.Generator) -> tuple[Float[Tensor, " f"], Float[Tensor, " 3"]]:
    """How far each face lies beyond a random plane that cuts off a third of the area, and the plane's normal."""
    normal = torch.from_numpy(rng.normal(size=3)).float()
    normal = normal / normal.norm()
    height = mesh.positions_world[mesh.faces].mean(1) @ normal
    order = height.argsort(descending=True)
    area = mesh.scaled_face_normals().norm(dim=1)[order].cumsum(0)
    limit = height[order[torch.searchsorted(area, area[-1] / 3)]]
    return height - limit, normal


def removed(mesh: TriangleMesh, rng: np.random.Generator) -> TriangleMesh:
    """The mesh without a third of its surface."""
    beyond, _ = third(mesh, rng)
    return TriangleMesh(mesh.positions_world, mesh.faces[beyond < 0])


def deformed(mesh: TriangleMesh, rng: np.random.Generator) -> TriangleMesh:
    """The mesh with a third of its surface bent aside and swollen, up to a tenth of the diagonal."""
    beyond, normal = third(mesh, rng)
    vertex_beyond = torch.full((len(mesh.positions_world),), -1e9)
    vertex_beyond.scatter_reduce_(0, mesh.faces.flatten(), beyond.repeat_interleave(3), "amax")
    share = (vertex_beyond / vertex_beyond.max()).clamp(0, 1)[:, None]
    aside = torch.linalg.cross(normal, torch.from_numpy(rng.normal(size=3)).float())
    aside = aside / aside.norm()
    size = 0.1 * mesh.diagonal_m()
    bulge = mesh.vertex_normals() * (0.3 * torch.sin(6 * share))
    return TriangleMesh(mesh.positions_world + size * (share**0.5 * aside + bulge), mesh.faces)


def patch_distance(mesh: TriangleMesh, rng: np.random.Generator) -> Float[Tensor, " v"]:
    """How far each vertex lies outside random balls that together hold a third of the area, in diagonals."""
    centres = mesh.positions_world[torch.from_numpy(rng.integers(0, len(mesh.positions_world), PATCHES))]
    distance = torch.cdist(mesh.positions_world, centres) * torch.from_numpy(rng.uniform(0.7, 1.4, PATCHES)).float()
    nearest = distance.amin(1) / mesh.diagonal_m()
    of_face = nearest[mesh.faces].mean(1)
    order = of_face.argsort()
    area = mesh.scaled_face_normals().norm(dim=1)[order].cumsum(0)
    return nearest - of_face[order[torch.searchsorted(area, area[-1] / 3)]]


def torn(mesh: TriangleMesh, rng: np.random.Generator) -> TriangleMesh:
    """The mesh with holes all over."""
    return TriangleMesh(mesh.positions_world, mesh.faces[patch_distance(mesh, rng)[mesh.faces].mean(1) > 0])


def dented(mesh: TriangleMesh, rng: np.random.Generator) -> TriangleMesh:
    """The mesh with patches pushed in and out along the normals by up to a twentieth of the diagonal."""
    depth = (-patch_distance(mesh, rng)).clamp_min(0)
    wave = torch.from_numpy(rng.normal(size=3) * 15).float()
    inout = torch.sin(mesh.positions_world @ wave / mesh.diagonal_m() + float(rng.uniform(0, 2 * math.pi))).sign()
    push = 0.05 * mesh.diagonal_m() * inout * (depth / depth.max()) ** 0.5
    return TriangleMesh(mesh.positions_world + push[:, None] * mesh.vertex_normals(), mesh.faces)


def flattened(mesh: TriangleMesh, rng: np.random.Generator) -> TriangleMesh:
    """The mesh with the third beyond a plane pressed onto it, as a model closes what it does not know."""
    beyond, normal = third(mesh, rng)
    height = mesh.positions_world @ normal
    limit = height[mesh.faces].mean(1)[beyond < 0].amax()
    flat = torch.minimum(height, limit + 0.05 * (height - limit))
    return TriangleMesh(mesh.positions_world + (flat - height)[:, None] * normal, mesh.faces)
