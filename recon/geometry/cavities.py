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
from recon.geometry.grid import Grid
from recon.observations import Observations

MAX_WALL_SHARE = 0.04
"""Walls are thinner than this share of the object's diagonal."""

MIN_WALL_EVIDENCE = 0.75
"""Share of the measured points along a shadow's edge that must lie on such walls."""

MIN_EDGE_POINTS = 200

MIN_OPENING_SHARE = 0.25
"""Openings narrower than this share of the diagonal are crannies, which the smooth fill closes well."""

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
    thickness = wall_thickness(observations, seen, grid)
    is_free, is_measured = seen.is_free.cpu().numpy(), seen.is_measured.cpu().numpy()
    unknown = ~is_free & ~is_measured
    frontier = is_free & ndimage.binary_dilation(unknown) & ~is_measured
    labels, _ = ndimage.label(frontier, NEIGHBOURHOOD)
    diagonal = _diagonal(observations, grid)
    result = np.full(is_free.shape, -np.inf, np.float32)
    for shadow in _shadows_along_walls(observations, thickness, labels, grid):
        opening = float(np.sqrt((labels == shadow.label).sum()))
        if opening > MIN_OPENING_SHARE * diagonal:
            walls = is_measured | (frontier & (labels != shadow.label))
            reach = MAX_DEPTH_PER_OPENING * opening
            grown = _grow(labels == shadow.label, unknown, walls, shadow.wall_thickness, reach)
            result = np.maximum(result, grown)
    return torch.from_numpy(result).to(seen.distance.device)


@dataclass(frozen=True)
class _Shadow:
    label: int
    wall_thickness: float


def _diagonal(observations: Observations, grid: Grid) -> float:
    points = observations.points_world()[observations.depth_mask]
    return float((points.amax(0) - points.amin(0)).norm()) / grid.spacing_m


def _shadows_along_walls(
    observations: Observations, thickness: Float[Tensor, " n"], labels: npt.NDArray[np.integer[Any]], grid: Grid
) -> list[_Shadow]:
    """Edges of seen free space that run along walls of known thickness, with that thickness in samples."""
    points = observations.points_world()[observations.depth_mask]
    index = ((points - grid.origin_world) / grid.spacing_m).round().long().cpu().numpy()
    index = index.clip(0, np.array(labels.shape) - 1)
    nearby = ndimage.grey_dilation(labels, footprint=np.ones((5, 5, 5), bool))[index[:, 0], index[:, 1], index[:, 2]]
    thickness_np = thickness.cpu().numpy()
    is_wall = np.isfinite(thickness_np)
    point_count = np.bincount(nearby, minlength=labels.max() + 1)
    wall_count = np.bincount(nearby[is_wall], minlength=labels.max() + 1)
    shadows = []
    for label in range(1, labels.max() + 1):
        if point_count[label] >= MIN_EDGE_POINTS and wall_count[label] >= MIN_WALL_EVIDENCE * point_count[label]:
            along = thickness_np[(nearby == label) & is_wall]
            shadows.append(_Shadow(label, float(np.median(along))))
    return shadows


def wall_thickness(observations: Observations, seen: SeenSpace, grid: Grid) -> Float[Tensor, " n"]:
    """How far behind each measured point free space begins, in samples; +inf for no free space within a wall."""
    mask = observations.depth_mask
    points, normals = observations.points_world()[mask], observations.normals_world[mask]
    last = torch.tensor(grid.shape, device=points.device) - 1
    thickness = torch.full((points.shape[0],), torch.inf, device=points.device)
    start = (points - grid.origin_world) / grid.spacing_m
    for step in torch.arange(1.0, MAX_WALL_SHARE * _diagonal(observations, grid), 0.5).tolist():
        place = (start - step * normals).round().long().clamp_min(0).minimum(last)
        behind = seen.distance[place[:, 0], place[:, 1], place[:, 2]]
        is_out = (behind > 0) & torch.isinf(thickness) & (normals.norm(dim=1) > 0.5)
        thickness = torch.where(is_out, torch.full_like(thickness, step) - behind.clamp(0, step), thickness)
    return thickness


def _grow(
    shadow: npt.NDArray[np.bool_],
    unknown: npt.NDArray[np.bool_],
    walls: npt.NDArray[np.bool_],
    thickness: float,
    reach: float,
) -> npt.NDArray[np.float32]:
    """Free space behind a shadow's edge: connected unknown samples farther than the thickness from any wall."""
    clearance = ndimage.distance_transform_edt(~walls).astype(np.float32) - thickness
    within_reach = ndimage.distance_transform_edt(~shadow) < reach
    open_space = (unknown & (clearance > 0) & within_reach) | shadow
    labels, _ = ndimage.label(open_space)
    reached = np.unique(labels[shadow])
    space = np.isin(labels, reached[reached > 0]) & unknown
    around = ndimage.binary_dilation(space, NEIGHBOURHOOD, iterations=2) & unknown
    return np.where(around, clearance, -np.inf).astype(np.float32)
