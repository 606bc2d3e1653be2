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
    signed = _space_behind(opening, wall, depth, ~seen.is_free)
    inside = (signed > 0).cpu().numpy()
    pieces, _ = ndimage.label(inside | is_open)
    reached = np.unique(pieces[is_open])
    around = ndimage.binary_dilation(inside & np.isin(pieces, reached), NEIGHBOURHOOD, iterations=2) & ~is_free
    return torch.where(torch.from_numpy(around).to(depth.device), signed, nothing)


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
    opening: Float[Tensor, "m 3"], wall: Float[Tensor, " m"], depth: Float[Tensor, "x y z"], is_unseen: Bool[Tensor, "x y z"]
) -> Float[Tensor, "x y z"]:
    """Signed distance of unseen samples to the border of the space that goes on behind an opening, negative beyond.

    It reaches as deep as ``DEPTH_PER_WIDTH`` says behind each sample of the opening, and no closer to the walls than they are thick.
    """
    radius = DEPTH_PER_WIDTH * (depth[opening[:, 0], opening[:, 1], opening[:, 2]] - wall)
    opening, wall, radius = opening[radius > 0], wall[radius > 0], radius[radius > 0]
    signed = torch.full_like(depth, -torch.inf)
    if len(opening) == 0:
        return signed
    unseen = torch.nonzero(is_unseen)
    low, high = opening.amin(0) - radius.max() - 2, opening.amax(0) + radius.max() + 2
    unseen = unseen[((unseen >= low) & (unseen <= high)).all(1)]
    for chunk in unseen.split(max(1, CHUNK_PAIRS // len(opening))):
        reach, nearest = (radius - torch.cdist(chunk.float(), opening.float())).max(1)
        clearance = depth[chunk[:, 0], chunk[:, 1], chunk[:, 2]] - wall[nearest]
        signed[chunk[:, 0], chunk[:, 1], chunk[:, 2]] = torch.minimum(reach, clearance)
    return signed
