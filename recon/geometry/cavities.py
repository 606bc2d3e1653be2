"""Unseen insides of hollow things: walls keep the thickness that was seen at the edge of what was seen.

Cameras around a bowl see its outside and the upper part of its inside; a smooth fill would close it like a
drum.  Where the edge of the seen free space runs along walls that were seen from both sides, and most of it
does, the free space continues behind it until it is as close to the other surfaces as the walls are thick, but
no farther than the opening is wide: what lies deep behind a narrow slit may as well be solid.  Where the walls are
evenly thick the object is a shell, and hollow however deep or narrow: a mug, a vase.  Solid objects have
no such walls along their shadows and are left alone.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from recon.arrays import Bool, Float, Int, Tensor
from recon.geometry.grid import Grid
from recon.geometry.walls import wall_thickness_m
from recon.observations import Observations

MAX_WALL_SHARE = 0.04
"""Walls are thinner than this share of the object's diagonal."""

MIN_WALL_EVIDENCE = 0.5
"""Share of the measured points along a shadow's edge that must lie on such walls."""

MIN_EDGE_POINTS = 3.5
"""Times the root of its samples: about the border of a sheet.  With fewer measured points around, an edge hangs in the
air in front of a cavity."""

MIN_OPENING = 12
"""Smaller openings, in samples, are gaps between measurements: what seemed walls around them was pierced."""

THINNEST_WALL, THINNEST_NOISY_WALL = 0.5, 1.0
"""Thinner walls, in samples, would fall through a grid twice as fine, or through its blur under noise."""

DEPTH_PER_WIDTH = 1.5
"""Behind each place of its edge a cavity reaches this many times as far as the walls are away from there."""

VESSEL_SHARE = 2 / 3
"""Where more than this share of the space between the walls is within that reach, all of it is free."""

EVEN_WALLS = 1 / 3
"""Quartiles of a shell's thickness differ by less than this share of its median; those of a clamp's parts by more than
all of it, those of a mug by 1 %, and under noise those of a vase by 17 %."""

CORNER = 1.75
"""Corners of what is wider than two walls are so many walls away from its middle, by the diagonal and a little more."""

MARGIN = 2
"""So many samples around free space its distance goes on, so that it falls through zero where the walls begin."""

BEFORE = 0.5
"""What lies before a wall by less than this, in samples, may lie in it."""

CELL = 2.0
"""Width, in samples, of the cells of a picture on whose rays measured surfaces are sought."""

CHUNK_PAIRS = 1 << 24

NEIGHBOURHOOD = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class SeenSpace:
    """What the views know about each sample of a grid.

    Attributes:
        distance: Fused signed distance in samples, positive outside.
        is_free: Some view saw through it.
        is_measured: It lies at a measured surface, or at one that outlines bound.
        is_touched: It lies at a surface that outlines bound.
    """

    distance: Float[Tensor, "x y z"]
    is_free: Bool[Tensor, "x y z"]
    is_measured: Bool[Tensor, "x y z"]
    is_touched: Bool[Tensor, "x y z"]


def continue_cavities(observations: Observations, seen: SeenSpace, grid: Grid) -> Float[Tensor, "x y z"]:
    """Signed distance, in samples, to the walls of continued cavities.

    Returns:
        Positive in the continued free space, falling through zero at its walls; -inf where nothing is continued.
    """
    nothing = torch.full_like(seen.distance, -torch.inf)
    if not observations.has_depth:
        return nothing
    seen = replace(seen, is_measured=seen.is_measured & _near_points(observations, grid))
    is_bounded = ndimage.binary_dilation((seen.is_measured | seen.is_touched).cpu().numpy(), NEIGHBOURHOOD)
    is_free, is_measured = seen.is_free.cpu().numpy(), seen.is_measured.cpu().numpy()
    frontier = is_free & ndimage.binary_dilation(~is_free & ~is_measured) & ~is_measured
    labels, _ = ndimage.label(frontier, NEIGHBOURHOOD)
    edges = _edge_walls(observations, labels, grid)
    thickness = np.where(frontier, edges.thickness[labels], np.nan)
    is_open = np.isfinite(thickness)
    if not is_open.any():
        return nothing
    depth = _depth_behind(np.isposinf(thickness), is_open & ~is_bounded, _outwards(observations, grid), seen)
    thinnest = THINNEST_NOISY_WALL if observations.has_noise else THINNEST_WALL
    wall = torch.from_numpy(thickness[is_open]).to(depth).clamp_min(thinnest)
    opening = torch.from_numpy(np.argwhere(is_open)).to(depth.device)
    reach, clearance = _space_behind(opening, wall, depth, ~seen.is_free)
    space = _filled_vessels(reach, clearance, depth - clearance, is_open, is_open & edges.is_even[labels])
    remains = ~seen.is_free & (space <= 0)
    space = torch.where(_is_needed(observations, seen, remains, grid), space.clamp_max(0), space)
    is_hollow = (space > 0).cpu().numpy()
    pieces, _ = ndimage.label(is_hollow | is_open)
    is_joined = np.isin(pieces, np.unique(pieces[is_open])) & is_hollow
    return torch.where(_around(is_joined, space.device) & ~seen.is_free, space, nothing)


def _near_points(observations: Observations, grid: Grid) -> Bool[Tensor, "x y z"]:
    """Samples near measured points.

    Behind a surface that seems grazed, above all where normals are noisy, the distance perpendicular to it stays small
    far along the ray; walls would seem to hang in the air there.
    """
    x, y, z = _nearest_samples(observations.points_world()[observations.depth_mask], grid)
    holds_points = torch.zeros(grid.shape, dtype=torch.bool, device=grid.device)
    holds_points[x, y, z] = True
    return _around(holds_points.cpu().numpy(), grid.device)


def _nearest_samples(points_world: Float[Tensor, "n 3"], grid: Grid) -> tuple[Int[Tensor, " n"], ...]:
    """Index of the sample nearest to every point, by axis."""
    last = torch.tensor(grid.shape, device=grid.device) - 1
    index = ((points_world - grid.origin_world) / grid.spacing_m).round().long()
    return index.clamp_min(0).minimum(last).unbind(1)


def _around(samples: npt.NDArray[np.bool_], device: torch.device) -> Bool[Tensor, "x y z"]:
    """The samples and those within ``MARGIN`` of them."""
    return torch.from_numpy(ndimage.binary_dilation(samples, NEIGHBOURHOOD, iterations=MARGIN)).to(device)


def _filled_vessels(
    reach: Float[Tensor, "x y z"],
    clearance: Float[Tensor, "x y z"],
    wall: Float[Tensor, "x y z"],
    is_open: npt.NDArray[np.bool_],
    is_mouth: npt.NDArray[np.bool_],
) -> Float[Tensor, "x y z"]:
    """What lies within reach and before the walls.

    All before the walls where most of that is within reach, or where most of what opens on it is the mouth of a shell.
    """
    space = torch.minimum(reach, clearance)
    before_walls = (clearance > 0).cpu().numpy()
    pieces, piece_count = ndimage.label(before_walls | is_open)
    whole = np.bincount(pieces[before_walls], minlength=piece_count + 1)
    reached = np.bincount(pieces[(space > 0).cpu().numpy()], minlength=piece_count + 1)
    opening, mouth = (np.bincount(pieces[mask], minlength=piece_count + 1) for mask in (is_open, is_mouth))
    is_vessel, is_shell = ((reached > VESSEL_SHARE * whole)[pieces], (mouth > opening / 2)[pieces])
    is_its_wall = _around(is_vessel | is_shell, space.device) & (clearance <= 0)
    kept = _roomy(clearance, wall, is_open)
    roomy = torch.where(torch.from_numpy(is_shell & ~is_vessel).to(space.device), kept, clearance)
    return torch.where(torch.from_numpy(is_vessel | is_shell).to(space.device) | is_its_wall, roomy, space)


def _roomy(
    clearance: Float[Tensor, "x y z"], wall: Float[Tensor, "x y z"], is_open: npt.NDArray[np.bool_]
) -> Float[Tensor, "x y z"]:
    """What lies before the walls, without what is narrower than two of them: a shell's handle is solid."""
    is_wide = (clearance > wall).cpu().numpy() | is_open
    distance = ndimage.distance_transform_edt(~is_wide).astype(np.float32)
    return torch.minimum(clearance, CORNER * wall - torch.from_numpy(distance).to(wall))


@dataclass(frozen=True)
class EdgeWalls:
    """The walls along each labelled edge of the seen free space, by label.

    Attributes:
        thickness: In samples; +inf where the edge does not run along walls, nan where it is too short, or has too few
            points beside it, to say.
        is_even: Whether they are equally thick all along the edge.
    """

    thickness: npt.NDArray[np.float32]
    is_even: npt.NDArray[np.bool_]


def _edge_walls(observations: Observations, labels: npt.NDArray[np.integer[Any]], grid: Grid) -> EdgeWalls:
    """Measure how thick the walls are where the seen free space ends."""
    points = observations.points_world()[observations.depth_mask]
    normals = observations.normals_world[observations.depth_mask]
    x, y, z = (axis.cpu().numpy() for axis in _nearest_samples(points, grid))
    nearby = ndimage.grey_dilation(labels, footprint=np.ones((5, 5, 5), bool))[x, y, z]
    is_along = torch.from_numpy(nearby > 0).to(points.device) & (normals.norm(dim=1) > 0.5)
    nearby = nearby[is_along.cpu().numpy()]
    longest_m = MAX_WALL_SHARE * float((points.amax(0) - points.amin(0)).norm())
    thickness_m = wall_thickness_m(observations, points[is_along], normals[is_along], longest_m, grid.spacing_m / 2)
    thickness = thickness_m.cpu().numpy() / grid.spacing_m
    is_wall = np.isfinite(thickness)
    point_count = np.bincount(nearby, minlength=labels.max() + 1)
    wall_count = np.bincount(nearby[is_wall], minlength=labels.max() + 1)
    sample_count = np.bincount(labels.ravel(), minlength=labels.max() + 1)
    found = np.where(point_count >= MIN_EDGE_POINTS * sample_count**0.5, np.inf, np.nan).astype(np.float32)
    is_even = np.zeros(len(found), bool)
    for label in np.flatnonzero(np.isinf(found) & (wall_count >= MIN_WALL_EVIDENCE * point_count)):
        thinner, median, thicker = np.quantile(thickness[(nearby == label) & is_wall], (0.25, 0.5, 0.75))
        found[label] = median if sample_count[label] >= MIN_OPENING else np.nan
        is_even[label] = thicker - thinner < EVEN_WALLS * median
    return EdgeWalls(found, is_even)


def _is_needed(
    observations: Observations, seen: SeenSpace, remains: Bool[Tensor, "x y z"], grid: Grid
) -> Bool[Tensor, "x y z"]:
    """Samples that may be all there is on a ray inside an outline: nothing else was measured on it or ``remains``.

    The view itself may have measured it, or others what lies in the same cell of its picture.  Where a view measured
    nothing of a vessel's inside, its wall remains, and what lies before it is not needed.  Coverage is eroded by a
    cell, so the borders of what gave no depth belong to it; outlines are nobody's border.
    """
    cameras = observations.cameras
    cell_px = CELL * grid.spacing_m / observations.pixel_m
    rows, columns = (int(length / cell_px) + 1 for length in (cameras.height_px, cameras.width_px))
    pixels_px, depth_z_m = cameras.project(grid.positions_world())
    x, y = (pixels_px[..., axis].nan_to_num(-1, -1, -1) for axis in (0, 1))
    is_within = (x >= 0) & (x < cameras.width_px) & (y >= 0) & (y < cameras.height_px) & (depth_z_m > 0)
    x, y = x.clamp(0, cameras.width_px - 1), y.clamp(0, cameras.height_px - 1)
    cell = (y / cell_px).long() * columns + (x / cell_px).long()
    is_surface = ((seen.is_measured & ~seen.is_free) | remains).view(-1)
    is_covered = torch.zeros(cameras.count, rows * columns, device=cell.device)
    is_covered.scatter_(1, cell[:, is_surface], 1.0)
    is_covered = -torch.nn.functional.max_pool2d(-is_covered.view(-1, rows, columns), 3, 1, 1).flatten(1)
    pixel = y.long() * cameras.width_px + x.long()
    has_depth = _eroded(observations.depth_mask, int(cell_px)).flatten(1).gather(1, pixel)
    outline_px = observations.silhouette_px.flatten(1).gather(1, pixel)
    is_bare = is_within & (outline_px < -3 * cell_px) & ~has_depth & (is_covered.gather(1, cell) == 0)
    return is_bare.any(0).view(grid.shape)


def _eroded(mask: Bool[Tensor, "k h w"], reach_px: int) -> Bool[Tensor, "k h w"]:
    """Without what is no more than ``reach_px`` away from its borders, along rows and columns."""
    blank = (~mask).float()[:, None]
    for reach in ((reach_px, 0), (0, reach_px)):
        blank = torch.nn.functional.max_pool2d(blank, (2 * reach[0] + 1, 2 * reach[1] + 1), 1, reach)
    return blank[:, 0] == 0


def _depth_behind(
    is_closed: npt.NDArray[np.bool_],
    is_open: npt.NDArray[np.bool_],
    outwards: Float[Tensor, "3 x y z"],
    seen: SeenSpace,
) -> Float[Tensor, "x y z"]:
    """Distance to the surface that passes near the walls' samples: to the nearest of them, and on from it.

    A wall is no wall to what lies before it.  There, and behind gaps in what was measured, the views say how deep a
    sample lies; but where the nearest free space is an opening's, they tell how far behind the opening it is.
    """
    device, is_wall = outwards.device, seen.is_measured & (outwards != 0).any(0)
    nearest = ndimage.distance_transform_edt(
        ~(is_wall.cpu().numpy() | is_closed), return_distances=False, return_indices=True
    )
    x, y, z = index = torch.from_numpy(nearest).to(device).long()
    outwards, distance = outwards[:, x, y, z], seen.distance[x, y, z]
    here = torch.stack(torch.meshgrid(*(torch.arange(size, device=device) for size in distance.shape), indexing="ij"))
    from_wall = here - index + distance * outwards
    depth = torch.where((outwards == 0).all(0), (here - index).float().norm(dim=0) - distance, from_wall.norm(dim=0))
    is_before = is_wall[x, y, z] & ((from_wall * outwards).sum(0) > BEFORE)
    free = ndimage.distance_transform_edt(~seen.is_free.cpu().numpy(), return_distances=False, return_indices=True)
    is_behind_opening = torch.from_numpy(is_open[tuple(free)]).to(device)
    claimed = torch.where(is_behind_opening, float(sum(distance.shape)), -seen.distance)  # farther than any wall
    behind = torch.where(is_before, claimed, torch.minimum(depth, claimed))
    return torch.where(seen.is_free, depth, behind)


def _outwards(observations: Observations, grid: Grid) -> Float[Tensor, "3 x y z"]:
    """Mean direction of the normals that were measured within a sample or so; zero where none were."""
    points, normals = (
        vectors[observations.depth_mask] for vectors in (observations.points_world(), observations.normals_world)
    )
    x, y, z = _nearest_samples(points, grid)
    flat = (x * grid.shape[1] + y) * grid.shape[2] + z
    whole = (normals.T * 2**20).round().long()  # sums of integers are the same in any order, also on a GPU
    total = torch.zeros(3, math.prod(grid.shape), dtype=torch.long, device=grid.device).index_add_(1, flat, whole)
    summed = torch.nn.functional.avg_pool3d(total.float().view(1, 3, *grid.shape), 3, 1, 1)[0]
    return torch.nn.functional.normalize(summed, dim=0)


def _space_behind(
    opening: Int[Tensor, "m 3"],
    wall: Float[Tensor, " m"],
    depth: Float[Tensor, "x y z"],
    is_unseen: Bool[Tensor, "x y z"],
) -> tuple[Float[Tensor, "x y z"], Float[Tensor, "x y z"]]:
    """How far unseen samples lie within reach of an opening, and how far before the walls.

    Args:
        opening: Indices of the opening's samples.
        wall: Thickness of the walls at each.
        depth: Distance of every sample to the walls' seen sides.
        is_unseen: Where to ask.

    Returns:
        Both in samples, negative beyond the reach and in the walls, -inf where nothing was asked.
    """
    reach, clearance = torch.full((2, *depth.shape), -torch.inf, device=depth.device)
    width = depth[opening[:, 0], opening[:, 1], opening[:, 2]] - wall
    opening, wall, width = opening[width > 0].float(), wall[width > 0], width[width > 0]
    if len(opening) == 0:
        return reach, clearance
    asked = torch.nonzero(is_unseen & (depth > wall.min() - MARGIN - 1))
    for chunk in asked.split(max(1, CHUNK_PAIRS // len(opening))):
        x, y, z = chunk.unbind(1)
        reach[x, y, z], nearest = (DEPTH_PER_WIDTH * width - torch.cdist(chunk.float(), opening)).max(1)
        clearance[x, y, z] = depth[x, y, z] - wall[nearest]
    return reach, clearance
