"""Depths and silhouettes to one signed distance field (positive outside).

Every view says how far a sample lies in front of its surface or outside its outline; the object is where no
view objects, so the field is the maximum over views.  Distances are taken perpendicular to the surface (depth
difference times the cosine of incidence), which halves the error of distances along the ray.
"""

import itertools
from dataclasses import dataclass

import torch
from scipy import ndimage

from recon.arrays import Bool, Float, Tensor
from recon.errors import ObjectNotFound
from recon.observations import Observations

CHUNK_SAMPLES = 1 << 20
TOUCHING_PX, TOUCHING_VIEWS = 2.5, 3
"""A hull is touched by one outline at most places and by two along its creases; where this many pass within this
distance there is a surface that all of them graze, such as the flat bottom of a standing object."""

NO_ROOM = "The views leave no room for an object: their outlines do not meet in any point."

MIN_INCIDENCE, MIN_FLAT_INCIDENCE = 0.1, 0.02
"""Perpendicular distances are not shrunk below this cosine, where normals are least certain; on flat ground, below the
second.  A flat bottom may be seen from 2 degrees below it: claimed to be farther than it is, nothing would hold it."""

FLAT = 0.8
"""Where a surface curves out of sight the least of four neighbouring cosines is less than this share of the largest."""

APART_PX = 4.0
"""Depths of neighbours on one surface that faces the camera differ by less than so many pixel widths."""


SAME_NOISE, MIN_FACING = 3.0, 0.2
"""Views measure the same surface where their distances from it lie within so many deviations of the noise, and where
the cosine between their normals is larger than this."""

MIN_OPPOSITE = 0.7
"""Two sides belong to one wall where the cosine between their normals is less than minus this."""


@dataclass(frozen=True)
class Field:
    """What the views say about samples.

    Attributes:
        distance_m: The largest distance that a view claims; +inf means outside for certain.
        is_measured: A depth surface decided the value, or it is touched.
        is_touched: So many outlines touch that they must bound a surface.
    """

    distance_m: Float[Tensor, " n"]
    is_measured: Bool[Tensor, " n"]
    is_touched: Bool[Tensor, " n"]


def fuse(observations: Observations, positions_world: Float[Tensor, "n 3"], softness_m: float) -> Field:
    """Evaluate the fused field at arbitrary positions.

    Args:
        observations: All views.
        positions_world: Where to evaluate.
        softness_m: Views whose values differ by less than about this much share the decision.

    Returns:
        The field; samples that no view constrains have a distance of -inf.
    """
    parts = [_fuse_chunk(observations, chunk, softness_m) for chunk in positions_world.split(CHUNK_SAMPLES)]
    return Field(
        torch.cat([part.distance_m for part in parts]),
        torch.cat([part.is_measured for part in parts]),
        torch.cat([part.is_touched for part in parts]),
    )


def _fuse_chunk(observations: Observations, positions_world: Float[Tensor, "n 3"], softness_m: float) -> Field:
    pixels_px, depth_z_m = observations.cameras.project(positions_world)
    distances, measured = [], []
    touching = torch.zeros_like(depth_z_m[0])
    for view_index in range(observations.cameras.count):
        surface_m, outline_m = view_distances(observations, view_index, pixels_px[view_index], depth_z_m[view_index])
        distances.append(torch.maximum(surface_m, outline_m))
        measured.append(surface_m >= outline_m)
        metres_per_px = depth_z_m[view_index] / observations.cameras.focal_px[view_index].mean()
        touching += (outline_m.abs() < TOUCHING_PX * metres_per_px).float()
    stacked = torch.stack(distances)
    if observations.has_noise:
        stacked = _agreed(observations, stacked, pixels_px, 2 * softness_m)
    best, winner = stacked.max(0)
    is_touched = torch.isfinite(best) & (touching >= TOUCHING_VIEWS)
    is_measured = is_touched | (torch.isfinite(best) & torch.stack(measured).gather(0, winner[None])[0])
    if softness_m > 0:
        excess = torch.exp((stacked - best).nan_to_num(0.0) / softness_m)
        agreeing = torch.where(stacked > best - 4 * softness_m, excess, torch.zeros_like(excess))
        mean = (agreeing * stacked.nan_to_num(0.0, 0.0, 0.0)).sum(0) / agreeing.sum(0).clamp_min(1e-9)
        best = torch.where(torch.isfinite(best) & (best.abs() < 8 * softness_m), mean, best)
    return Field(best, is_measured, is_touched)


def _agreed(
    observations: Observations, distances_m: Float[Tensor, "k n"], pixels_px: Float[Tensor, "k n 2"], thinnest_m: float
) -> Float[Tensor, "k n"]:
    """Every view's distance, averaged with those of the views that see the same side of the same surface.

    The largest of several noisy distances is too large, and would eat thin walls from both sides.  Who sees the other
    side of a wall says of this one that it is no nearer than walls are thick: two sides that noise moved through each
    other part again to ``thinnest_m``.
    """
    reach_m = SAME_NOISE * observations.noise_m
    near = torch.nonzero((distances_m.abs() < reach_m).sum(0) > 1).squeeze(1)
    close_m, normals = distances_m[:, near], _normals_at(observations, pixels_px[:, near])
    total, weight = close_m.clone(), torch.ones_like(close_m)
    nearness = (1 - (close_m / reach_m) ** 2).clamp_min(0) ** 2
    for first, second in itertools.combinations(range(len(close_m)), 2):
        facing = (((normals[first] * normals[second]).sum(1) - MIN_FACING) / (1 - MIN_FACING)).clamp_min(0)
        share = facing * nearness[first] * nearness[second]
        for view, other in ((first, second), (second, first)):
            total[view] += share * close_m[other].nan_to_num(0, 0, 0)
            weight[view] += share
    agreed_m = distances_m.clone()
    agreed_m[:, near] = _parted(total / weight, normals, reach_m, thinnest_m)
    return agreed_m


def _parted(
    distances_m: Float[Tensor, "k n"], normals: Float[Tensor, "k n 3"], reach_m: float, thinnest_m: float
) -> Float[Tensor, "k n"]:
    """Distances to the two sides of a wall that add up to no less than its thickness.

    Gaps wider than noise explains are slits between two walls, and stay.
    """
    excess_m = torch.zeros_like(distances_m)
    for first, second in itertools.combinations(range(len(distances_m)), 2):
        thickness_m = -distances_m[first] - distances_m[second]
        is_wall = (normals[first] * normals[second]).sum(1) < -MIN_OPPOSITE
        is_wall &= (distances_m[[first, second]].abs() < reach_m).all(0) & (thickness_m > -reach_m / 2)
        missing_m = torch.where(is_wall, (thinnest_m - thickness_m).clamp_min(0) / 2, 0.0)
        for view in (first, second):
            excess_m[view] = torch.maximum(excess_m[view], missing_m)
    return distances_m - excess_m


def _normals_at(observations: Observations, pixels_px: Float[Tensor, "k n 2"]) -> Float[Tensor, "k n 3"]:
    """Each view's normals at the nearest pixels; zero where it has none."""
    cameras = observations.cameras
    x = pixels_px[..., 0].nan_to_num(0).clamp(0, cameras.width_px - 1).long()
    y = pixels_px[..., 1].nan_to_num(0).clamp(0, cameras.height_px - 1).long()
    pixel = (y * cameras.width_px + x)[..., None].expand(-1, -1, 3)
    return observations.normals_world.flatten(1, 2).gather(1, pixel)


def view_distances(
    observations: Observations, view_index: int, pixels_px: Float[Tensor, "n 2"], depth_z_m: Float[Tensor, " n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """One view's signed distances to its depth surface and to its outline.

    Returns:
        Distance in front of the measured surface, -inf where nothing was measured; distance outside the outline,
        -inf where the sample does not project into the picture.
    """
    cameras = observations.cameras
    height, width = cameras.height_px, cameras.width_px
    x, y = pixels_px[:, 0] - 0.5, pixels_px[:, 1] - 0.5
    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1) & (depth_z_m > 0)
    left, top = x.clamp(0, width - 2).floor(), y.clamp(0, height - 2).floor()
    share_x, share_y = (x - left).clamp(0, 1), (y - top).clamp(0, 1)
    corner = (top * width + left).long()

    outline = observations.silhouette_px[view_index].reshape(-1)
    outline_px = _bilinear([outline[corner + step] for step in (0, 1, width, width + 1)], share_x, share_y)
    metres_per_px = depth_z_m / cameras.focal_px[view_index].mean()
    minus_infinity = torch.full_like(depth_z_m, -torch.inf)
    outline_m = torch.where(inside, outline_px * metres_per_px, minus_infinity)

    nearest = ((y + 0.5).clamp(0, height - 1).floor() * width + (x + 0.5).clamp(0, width - 1).floor()).long()
    depth = observations.depth_z_m[view_index].reshape(-1)
    mask = observations.depth_mask[view_index].reshape(-1)
    incidence = observations.incidence[view_index].reshape(-1)
    corners = [depth[corner + step] for step in (0, 1, width, width + 1)]
    spread = torch.stack(corners).amax(0) - torch.stack(corners).amin(0)
    around = torch.stack([incidence[corner + step] for step in (0, 1, width, width + 1)])
    is_flat = around.amin(0) > FLAT * around.amax(0)
    has_normal = incidence[nearest] > 0
    cosine = torch.maximum(incidence[nearest], torch.where(is_flat, MIN_FLAT_INCIDENCE, MIN_INCIDENCE))
    is_connected = (spread < APART_PX * metres_per_px / cosine) & has_normal
    valid = [mask[corner + step] for step in (0, 1, width, width + 1)]
    is_connected = is_connected & torch.stack(valid).all(0)
    # Across a step, or on a strip a few pixels wide, only what lies before all neighbours is surely free.
    first_z_m = torch.stack(
        [torch.where(good, z, depth[nearest]) for good, z in zip(valid, corners, strict=True)]
    ).amin(0)
    surface_z_m = torch.where(is_connected, _bilinear(corners, share_x, share_y), first_z_m)
    has_depth = inside & mask[nearest]
    ahead_m = surface_z_m - depth_z_m
    # How far it goes on behind a pixel without a normal nobody knows: no farther than neighbours may lie apart.
    reach_m = torch.where(has_normal, torch.inf, APART_PX * metres_per_px)
    along_m = torch.maximum(ahead_m, -reach_m) * cosine + (ahead_m + reach_m).clamp_max(0)
    surface_m = torch.where(has_depth, along_m, minus_infinity)
    return surface_m, outline_m


def _bilinear(
    corners: list[Float[Tensor, " n"]], share_x: Float[Tensor, " n"], share_y: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    upper = corners[0] + share_x * (corners[1] - corners[0])
    lower = corners[2] + share_x * (corners[3] - corners[2])
    return upper + share_y * (lower - upper)


def object_bounds_world(observations: Observations) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """A box that holds every measured point, and what the outlines allow where depth images have holes.

    Without any depth, the box that all silhouettes can fill.
    """
    if not observations.has_depth:
        return silhouette_bounds_world(observations)
    points = observations.points_world()[observations.depth_mask]
    low, high = points.amin(0), points.amax(0)
    margin = 0.03 * (high - low).max()
    low, high = low - margin, high + margin
    holes_px = _hole_widths_px(observations)
    if float(holes_px.max()) * observations.pixel_m <= float(margin):
        return low, high
    return _with_what_holes_hide(observations, holes_px, low, high)


def _hole_widths_px(observations: Observations) -> Float[Tensor, "k h w"]:
    """Twice the distance to the nearest measured pixel, 0 outside holes: a surface strays no farther from them."""
    widths_px = torch.zeros_like(observations.depth_z_m)
    for view_index, hole_mask in enumerate(observations.hole_mask):
        depth_mask = observations.depth_mask[view_index]
        if not bool(depth_mask.any()):
            widths_px[view_index][hole_mask] = torch.inf
        elif bool(hole_mask.any()):
            distance_px = torch.from_numpy(ndimage.distance_transform_edt(~depth_mask.cpu().numpy()))
            widths_px[view_index] = 2 * distance_px.to(widths_px) * hole_mask
    return widths_px


def _with_what_holes_hide(
    observations: Observations, holes_px: Float[Tensor, "k h w"], low: Float[Tensor, " 3"], high: Float[Tensor, " 3"]
) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """The box of the measured points, and of what outlines allow behind holes within a hole's width of it.

    Sought as far as the box's own diagonal around, then once more where something was found, with finer steps.

    Args:
        observations: All views.
        holes_px: Width of the hole at each pixel.
        low, high: The box that holds every measured point.
    """
    reach_m = torch.minimum(holes_px.max() * observations.pixel_m, (high - low).norm())
    found_low, found_high = low - reach_m, high + reach_m
    for _ in range(2):
        positions, cell = _lattice(found_low, found_high)
        behind = positions[_is_behind_holes(observations, holes_px, positions, (low, high), cell)]
        found_low = torch.cat([behind - cell, low[None]]).amin(0)
        found_high = torch.cat([behind + cell, high[None]]).amax(0)
    return found_low, found_high


def _is_behind_holes(
    observations: Observations,
    holes_px: Float[Tensor, "k h w"],
    positions_world: Float[Tensor, "n 3"],
    box: tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]],
    cell: Float[Tensor, ""],
) -> Bool[Tensor, " n"]:
    """Positions outside the box that may be object, and are seen in a hole no narrower than their distance from it."""
    outside_m = torch.maximum(box[0] - positions_world, positions_world - box[1]).clamp_min(0).norm(dim=1)
    may_be_object = (fuse(observations, positions_world, 0.0).distance_m < cell) & (outside_m > 0)
    may_be_object &= _picture_share(observations, positions_world) > 0.5
    is_behind = torch.zeros_like(may_be_object)
    pixels_px, depth_z_m = observations.cameras.project(positions_world)
    height, width = holes_px.shape[1:]
    for view_index, focal_px in enumerate(observations.cameras.focal_px[:, 0]):
        x, y = pixels_px[view_index].nan_to_num(-1).floor().long().unbind(1)
        is_within = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (depth_z_m[view_index] > 0)
        hole_m = holes_px[view_index, y.clamp(0, height - 1), x.clamp(0, width - 1)] * depth_z_m[view_index] / focal_px
        is_behind |= is_within & (outside_m < hole_m)
    return is_behind.logical_and_(may_be_object)


def silhouette_bounds_world(observations: Observations) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """The box of the visual hull, found on a coarse grid about the point that all cameras look at.

    Only what at least half of the pictures take in can be the object: elsewhere too few outlines speak, and space
    that no camera sees would count as filled.

    Raises:
        ObjectNotFound: The outlines do not meet.
    """
    world_from_camera = torch.linalg.inv(observations.cameras.camera_from_world)
    centres, axes = world_from_camera[:, :3, 3], world_from_camera[:, :3, 2]
    projector = torch.eye(3, device=axes.device) - axes[:, :, None] * axes[:, None, :]
    target = torch.linalg.solve(projector.sum(0), (projector @ centres[..., None]).sum(0))[:, 0]
    reach = float((centres - target).norm(dim=1).median())
    low, high = target - 0.9 * reach, target + 0.9 * reach
    for _ in range(3):
        positions, cell = _lattice(low, high)
        is_inside = fuse(observations, positions, 0.0).distance_m < cell
        inside = positions[is_inside & (_picture_share(observations, positions) >= 0.5)]
        if inside.shape[0] == 0:
            raise ObjectNotFound(NO_ROOM)
        low, high = inside.amin(0) - cell, inside.amax(0) + cell
    return low, high


def _lattice(low: Float[Tensor, " 3"], high: Float[Tensor, " 3"]) -> tuple[Float[Tensor, "n 3"], Float[Tensor, ""]]:
    """Positions that divide each side of a box into 64, and the longest distance between neighbours along an axis."""
    steps = torch.linspace(0, 1, 65, device=low.device)
    positions = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    return low + positions * (high - low), (high - low).max() / 64


def _picture_share(observations: Observations, positions_world: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """Share of the views whose pictures take in each position."""
    cameras = observations.cameras
    pixels_px, depth_z_m = cameras.project(positions_world)
    size_px = torch.tensor([cameras.width_px, cameras.height_px], device=pixels_px.device)
    is_within = ((pixels_px > 0.5) & (pixels_px < size_px - 0.5)).all(-1) & (depth_z_m > 0)
    return is_within.float().mean(0)
