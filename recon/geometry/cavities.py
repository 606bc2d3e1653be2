"""Unseen insides of vessels: walls keep the thickness that was seen at the rim.

Cameras around a bowl see its outside and the upper part of its inside; a smooth fill would close it like a
drum.  Where the edge of the seen free space runs along walls that were seen from both sides, and nearly all of
it does, the free space continues behind it until it is as close to the other surfaces as the walls are thick.
Solid objects have no such walls along their shadows and are left alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from recon.arrays import Bool, Float, Tensor
from recon.geometry.fusion import fuse
from recon.geometry.grid import Grid
from recon.observations import Observations

MAX_WALL_SHARE = 0.04
"""Walls are thinner than this share of the object's diagonal."""

MIN_WALL_EVIDENCE = 0.5
"""Share of the measured points along a shadow's edge that must lie on such walls."""

MIN_EDGE_POINTS = 200

DEPTH_PER_WIDTH = 1.5
"""Behind each place of its edge a cavity reaches this many times as far as the walls are away from there."""

VESSEL_SHARE = 2 / 3
"""Where more than this share of the space between the walls is within that reach, all of it is free."""

MARGIN = 2
"""Samples of a wall behind its border that belong to the answer."""

CHUNK_PAIRS = 1 << 24

NEIGHBOURHOOD = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class SeenSpace:
    """What the views know about each sample of a grid.

    Attributes:
        distance: Fused signed distance in samples, positive outside.
        is_free: Some view saw through it.
        is_measured: It lies at a measured surface.
    """

    distance: Float[Tensor, "x y z"]
    is_free: Bool[Tensor, "x y z"]
    is_measured: Bool[Tensor, "x y z"]


def continue_cavities(observations: Observations, seen: SeenSpace, grid: Grid) -> Float[Tensor, "x y z"]:
    """Signed distance, in samples, to the walls of continued cavities.

    Returns:
        Positive in the continued free space, falling through zero at its walls; -inf where nothing is continued.
    """
    nothing = torch.full_like(seen.distance, -torch.inf)
    if not observations.has_depth:
        return nothing
    is_free, is_measured = seen.is_free.cpu().numpy(), seen.is_measured.cpu().numpy()
    frontier = is_free & ndimage.binary_dilation(~is_free & ~is_measured) & ~is_measured
    labels, _ = ndimage.label(frontier, NEIGHBOURHOOD)
    thickness = _wall_thickness_of_shadows(observations, labels, grid)
    is_open = np.isfinite(thickness)[labels] & frontier
    is_solid = np.isposinf(thickness)[labels] & frontier
    if not is_open.any():
        return nothing
    walls = (is_measured & ~is_free) | is_solid
    depth = _distance_to(walls, seen.distance)
    opening = torch.nonzero(torch.from_numpy(is_open).to(depth.device))
    wall = torch.from_numpy(thickness[labels[is_open]]).float().to(depth.device)
    reach, clearance = _space_behind(opening, wall, depth, ~seen.is_free)
    space = torch.minimum(reach, clearance)
    pieces, _ = ndimage.label((clearance > 0).cpu().numpy() | is_open)
    is_vessel = _mostly(pieces, (space > 0).cpu().numpy(), (clearance > 0).cpu().numpy())[pieces]
    is_in_vessel = torch.from_numpy(is_vessel).to(space.device) | (_around(is_vessel, space.device) & (clearance <= 0))
    space = torch.where(is_in_vessel, clearance, space)
    is_reached = np.isin(pieces, np.unique(pieces[is_open])) & (space > 0).cpu().numpy()
    return torch.where(_around(is_reached, space.device) & ~seen.is_free, space, nothing)


def _around(samples: npt.NDArray[np.bool_], device: torch.device) -> Bool[Tensor, "x y z"]:
    """Samples and what lies less than ``MARGIN`` from them, where distances must fall through zero."""
    return torch.from_numpy(ndimage.binary_dilation(samples, NEIGHBOURHOOD, iterations=MARGIN)).to(device)


def _mostly(
    pieces: npt.NDArray[np.integer[Any]], part: npt.NDArray[np.bool_], whole: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Which labelled pieces consist mostly of a part of them."""
    count = pieces.max() + 1
    return np.bincount(pieces[part], minlength=count) > VESSEL_SHARE * np.bincount(pieces[whole], minlength=count)


def _wall_thickness_of_shadows(
    observations: Observations, labels: npt.NDArray[np.integer[Any]], grid: Grid
) -> npt.NDArray[np.float32]:
    """Thickness, in samples, of the walls along each labelled edge of seen free space; +inf where it is no such edge, nan where too few points say."""
    points = observations.points_world()[observations.depth_mask]
    normals = observations.normals_world[observations.depth_mask]
    index = ((points - grid.origin_world) / grid.spacing_m).round().long().cpu().numpy()
    index = index.clip(0, np.array(labels.shape) - 1)
    nearby = ndimage.grey_dilation(labels, footprint=np.ones((5, 5, 5), bool))[index[:, 0], index[:, 1], index[:, 2]]
    along_edge = torch.from_numpy(nearby > 0).to(points.device) & (normals.norm(dim=1) > 0.5)
    nearby = nearby[along_edge.cpu().numpy()]
    longest_m = MAX_WALL_SHARE * float((points.amax(0) - points.amin(0)).norm())
    thickness_m = wall_thickness_m(observations, points[along_edge], normals[along_edge], longest_m, grid.spacing_m)
    thickness = thickness_m.cpu().numpy() / grid.spacing_m
    is_wall = np.isfinite(thickness)
    point_count = np.bincount(nearby, minlength=labels.max() + 1)
    wall_count = np.bincount(nearby[is_wall], minlength=labels.max() + 1)
    found = np.where(point_count >= MIN_EDGE_POINTS, np.inf, np.nan).astype(np.float32)
    for label in np.flatnonzero(np.isinf(found) & (wall_count >= MIN_WALL_EVIDENCE * point_count)):
        found[label] = np.median(thickness[(nearby == label) & is_wall])
        if DEBUG: print('   open',label,(labels==label).sum(),point_count[label],round(wall_count[label]/max(point_count[label],1),2),found[label])
    return found


DEBUG=False


def wall_thickness_m(
    observations: Observations,
    points_world: Float[Tensor, "n 3"],
    normals_world: Float[Tensor, "n 3"],
    longest_m: float,
    step_m: float,
) -> Float[Tensor, " n"]:
    """How far behind each point of the surface free space begins; +inf for no free space within ``longest_m``."""
    thickness_m = torch.full_like(points_world[:, 0], torch.inf)
    for depth_m in torch.arange(step_m / 2, longest_m, step_m / 2).tolist():
        behind_m = fuse(observations, points_world - depth_m * normals_world, 0.0).distance_m
        is_out = (behind_m > 0) & torch.isinf(thickness_m)
        thickness_m = torch.where(is_out, depth_m - behind_m.clamp(0, depth_m), thickness_m)
    return thickness_m


def _distance_to(walls: npt.NDArray[np.bool_], distance: Float[Tensor, "x y z"]) -> Float[Tensor, "x y z"]:
    """Distance to the surface that passes near the walls' samples: to the nearest of them, and on from it."""
    steps, nearest = ndimage.distance_transform_edt(~walls, return_indices=True)
    steps, nearest = torch.from_numpy(steps).to(distance), torch.from_numpy(nearest).to(distance.device).long()
    return steps - distance[nearest[0], nearest[1], nearest[2]]


def _space_behind(
    opening: Float[Tensor, "m 3"],
    wall: Float[Tensor, " m"],
    depth: Float[Tensor, "x y z"],
    is_unseen: Bool[Tensor, "x y z"],
) -> tuple[Float[Tensor, "x y z"], Float[Tensor, "x y z"]]:
    """How far unseen samples lie within reach of an opening, and how far before the walls that bound the space there.

    Args:
        opening: Samples of the opening.
        wall: Thickness of the walls at each.
        depth: Distance to the walls' seen sides.
        is_unseen: Where to ask.

    Returns:
        Both in samples, negative beyond the reach and in the walls, -inf where nothing was asked.
    """
    reach, clearance = torch.full((2, *depth.shape), -torch.inf, device=depth.device)
    width = depth[opening[:, 0], opening[:, 1], opening[:, 2]] - wall
    opening, wall, width = opening[width > 0].float(), wall[width > 0], width[width > 0]
    if len(opening) == 0:
        return reach, clearance
    for chunk in torch.nonzero(is_unseen & (depth > wall.min() - MARGIN - 1)).split(max(1, CHUNK_PAIRS // len(opening))):
        x, y, z = chunk.unbind(1)
        reach[x, y, z], nearest = (DEPTH_PER_WIDTH * width - torch.cdist(chunk.float(), opening)).max(1)
        clearance[x, y, z] = depth[x, y, z] - wall[nearest]
    return reach, clearance
