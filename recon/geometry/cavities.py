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

MIN_OPENING_PER_WALL = 2.0
"""Openings narrower than this many wall thicknesses are crannies, which the smooth fill closes well."""

MAX_DEPTH_PER_OPENING = 1.0
"""A cavity reaches at most this many opening widths beyond what was seen of it."""

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
    if not observations.has_depth:
        return torch.full_like(seen.distance, -torch.inf)
    distance, is_measured = seen.distance.cpu().numpy(), seen.is_measured.cpu().numpy()
    is_free = seen.is_free.cpu().numpy()
    unknown = ~is_free & ~is_measured
    frontier = is_free & ndimage.binary_dilation(unknown) & ~is_measured
    labels, _ = ndimage.label(frontier, NEIGHBOURHOOD)
    result = np.full(is_free.shape, -np.inf, np.float32)
    for shadow in _shadows_along_walls(observations, labels, grid):
        own = labels == shadow.label
        opening = float(np.sqrt(own.sum()))
        if opening > MIN_OPENING_PER_WALL * shadow.wall_thickness:
            walls = (is_measured & ~is_free) | (frontier & ~own)
            clearance = _distance_to(walls, distance) - shadow.wall_thickness
            grown = _grow(own, ~is_free, clearance, MAX_DEPTH_PER_OPENING * opening)
            result = np.maximum(result, grown)
    return torch.from_numpy(result).to(seen.distance.device)


@dataclass(frozen=True)
class _Shadow:
    label: int
    wall_thickness: float


def _shadows_along_walls(
    observations: Observations, labels: npt.NDArray[np.integer[Any]], grid: Grid
) -> list[_Shadow]:
    """Edges of seen free space that run along walls of known thickness, with that thickness in samples."""
    points = observations.points_world()[observations.depth_mask]
    normals = observations.normals_world[observations.depth_mask]
    index = ((points - grid.origin_world) / grid.spacing_m).round().long().cpu().numpy()
    index = index.clip(0, np.array(labels.shape) - 1)
    nearby = ndimage.grey_dilation(labels, footprint=np.ones((5, 5, 5), bool))[index[:, 0], index[:, 1], index[:, 2]]
    along_edge = torch.from_numpy(nearby > 0).to(points.device)
    along_edge &= normals.norm(dim=1) > 0.5
    nearby = nearby[along_edge.cpu().numpy()]
    longest_m = MAX_WALL_SHARE * float((points.amax(0) - points.amin(0)).norm())
    thickness_m = wall_thickness_m(observations, points[along_edge], normals[along_edge], longest_m, grid.spacing_m)
    thickness = thickness_m.cpu().numpy() / grid.spacing_m
    is_wall = np.isfinite(thickness)
    point_count = np.bincount(nearby, minlength=labels.max() + 1)
    wall_count = np.bincount(nearby[is_wall], minlength=labels.max() + 1)
    shadows = []
    for label in range(1, labels.max() + 1):
        if DEBUG and (labels==label).sum()>20: print('   comp',label,(labels==label).sum(),point_count[label],wall_count[label],round(wall_count[label]/max(point_count[label],1),2), np.median(thickness[(nearby == label) & is_wall]) if wall_count[label] else None)
        if point_count[label] >= MIN_EDGE_POINTS and wall_count[label] >= MIN_WALL_EVIDENCE * point_count[label]:
            along = thickness[(nearby == label) & is_wall]
            shadows.append(_Shadow(label, float(np.median(along))))
    return shadows

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


def _distance_to(walls: npt.NDArray[np.bool_], distance: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Distance to the surface that passes near the walls' samples: to the nearest of them, and on from it."""
    steps, nearest = ndimage.distance_transform_edt(~walls, return_indices=True)
    return (steps - distance[tuple(nearest)]).astype(np.float32)


def _grow(
    shadow: npt.NDArray[np.bool_], inside: npt.NDArray[np.bool_], clearance: npt.NDArray[np.float32], reach: float
) -> npt.NDArray[np.float32]:
    """The clearance in and around the free space behind a shadow's edge that is connected with it."""
    within_reach = ndimage.distance_transform_edt(~shadow) < reach
    labels, _ = ndimage.label((inside & (clearance > 0) & within_reach) | shadow)
    reached = np.unique(labels[shadow])
    space = np.isin(labels, reached[reached > 0]) & inside
    around = ndimage.binary_dilation(space, NEIGHBOURHOOD, iterations=2) & inside
    return np.where(around, clearance, -np.inf).astype(np.float32)
