"""Cube rigs: six cameras at one distance that look at the origin along the axes, in any order and turned in any way.

The pose of one camera relative to another depends only on the rotation between them, one of the cube's 24.  So every
pair of views is compared once under each of these, and any assignment of views to faces is scored by summing entries
of that table: all 122 880 distinct ones in a moment.
"""

import itertools
from dataclasses import dataclass, replace

import torch

from recon import frames
from recon.arrays import Float, Int, Tensor
from recon.cameras.agreement import Sources, Views, camera_normals, compare_points, targets_of
from recon.cameras.normal_equations import Weighting, point_costs
from recon.cameras.rig_state import RigState
from recon.cameras.surfaces import Surface

VIEW_COUNT = 6
FACE_AXES = torch.tensor([[0, 0, 1], [0, 0, -1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=torch.float64)
"""Where the cameras stand: +z, -z, +x, -x, +y, -y."""
_NEAREST, _FARTHEST = 0.01, 0.99
"""Quantiles that stand for a view's nearest point and outermost points: robust to stray pixels."""


def cube_rotations() -> Float[Tensor, "24 3 3"]:
    """``world_from_camera`` rotations, four turns of each face in the order of ``FACE_AXES``."""
    origin = torch.zeros(3, dtype=torch.float64)
    faces = itertools.product(FACE_AXES, FACE_AXES)
    rotations = [frames.look_at(axis, origin, up)[:3, :3] for axis, up in faces if abs(float(axis @ up)) < 0.5]
    return torch.stack(rotations).round()


def rig_poses(rotations: Float[Tensor, "k 3 3"]) -> Float[Tensor, "k 4 4"]:
    """Cameras at distance 1 that look at the origin with the given rotations."""
    world_from_camera = torch.eye(4, dtype=rotations.dtype).repeat(len(rotations), 1, 1)
    world_from_camera[:, :3, :3] = rotations
    world_from_camera[:, :3, 3] = -rotations[:, :, 2]
    return world_from_camera


@dataclass(frozen=True)
class Reaches:
    """How near and how wide each view sees the object, at depth scale 1.

    Attributes:
        nearest: Smallest depth code.
        outwards: Extent towards the image's +x, -x, +y, -y (rows of ``_IMAGE_AXES``).
    """

    nearest: Float[Tensor, " k"]
    outwards: Float[Tensor, "k 4"]


_IMAGE_AXES = torch.tensor([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=torch.float64)


def measure_reaches(surfaces: tuple[Surface, ...], focal_px: float) -> Reaches:
    """Extents of the measured surfaces for a shared focal length and centred principal points."""
    nearest, outwards = [], []
    for surface in surfaces:
        rows = torch.nonzero(surface.usable.cpu())
        depth = surface.depth.cpu()[rows[:, 0], rows[:, 1]]
        centre_px = torch.tensor([surface.width_px / 2, surface.height_px / 2], dtype=torch.float64)
        lateral = (rows.flip(1) + 0.5 - centre_px) / focal_px * depth[:, None]
        nearest.append(depth.quantile(_NEAREST))
        outwards.append((lateral @ _IMAGE_AXES[:, :2].T).quantile(_FARTHEST, dim=0))
    return Reaches(torch.stack(nearest), torch.stack(outwards))


def pair_scales(
    reaches: Reaches, first: int, second: int, rotations: Float[Tensor, "r 3 3"]
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """Depth scales of two views that look along different axes.

    The nearest point of one is as far from the origin as the other sees the object reach towards it:
    ``s1 near1 = 1 - s2 out2`` and the same with the views exchanged.

    Args:
        reaches: Of all views.
        first, second: The two views.
        rotations: ``second_from_first``.
    """
    out_second = _outward(reaches, second, -rotations[:, :, 2])
    out_first = _outward(reaches, first, -rotations[:, 2, :])
    near_first, near_second = reaches.nearest[first], reaches.nearest[second]
    determinant = near_first * near_second - out_first * out_second
    return (near_second - out_second) / determinant, (near_first - out_first) / determinant


def _outward(reaches: Reaches, view: int, directions: Float[Tensor, "r 3"]) -> Float[Tensor, " r"]:
    """Extent that a view sees towards camera directions; zero along its own axis."""
    return ((directions @ _IMAGE_AXES.T).round().clamp_min(0) * reaches.outwards[view]).sum(1)


def pair_costs(views: Views, focal_px: float, width: float) -> Float[Tensor, "k k 24"]:
    """Cost of every pair of views, both ways together, for every rotation between them.

    Entry (i, j, r) holds ``cube_rotations()[r]`` as j_from_i; infinite where both would look the same way.
    """
    rotations = cube_rotations()
    reaches = measure_reaches(views.surfaces, focal_px)
    looks_aside = rotations[:, 2, 2].abs() < 0.5
    looks_back = rotations[:, 2, 2] < -0.5
    costs = torch.full((VIEW_COUNT, VIEW_COUNT, len(rotations)), torch.inf, dtype=torch.float64)
    aside: list[list[Float[Tensor, " r"]]] = [[] for _ in range(VIEW_COUNT)]
    pairs = list(itertools.combinations(range(VIEW_COUNT), 2))
    weighting = Weighting(width, silhouette=1.0)
    for first, second in pairs:
        turns = rotations[looks_aside]
        scales = pair_scales(reaches, first, second, turns)
        aside[first].append(scales[0])
        aside[second].append(scales[1])
        costs[first, second, looks_aside] = _two_way_cost(views, (first, second), turns, scales, focal_px, weighting)
    typical = torch.stack([torch.cat(items).median() for items in aside])
    for first, second in pairs:
        turns = rotations[looks_back]
        scales = (typical[first].expand(len(turns)), typical[second].expand(len(turns)))
        costs[first, second, looks_back] = _two_way_cost(views, (first, second), turns, scales, focal_px, weighting)
    return costs


def _two_way_cost(
    views: Views,
    pair: tuple[int, int],
    second_from_first: Float[Tensor, "r 3 3"],
    scales: tuple[Float[Tensor, " r"], Float[Tensor, " r"]],
    focal_px: float,
    weighting: Weighting,
) -> Float[Tensor, " r"]:
    first, second = pair
    forward = _one_way_cost(views, (first, second), second_from_first, scales, focal_px, weighting)
    turned = second_from_first.transpose(1, 2)
    backward = _one_way_cost(views, (second, first), turned, (scales[1], scales[0]), focal_px, weighting)
    plausible = (scales[0] > 0) & (scales[1] > 0)
    return torch.where(plausible, forward + backward, 2.0)


def _one_way_cost(
    views: Views,
    pair: tuple[int, int],
    target_from_source: Float[Tensor, "r 3 3"],
    scales: tuple[Float[Tensor, " r"], Float[Tensor, " r"]],
    focal_px: float,
    weighting: Weighting,
) -> Float[Tensor, " r"]:
    source, target = pair
    device = views.samples.depth.device
    state = centred_state(views, torch.eye(4, dtype=torch.float64).repeat(VIEW_COUNT, 1, 1), focal_px)
    points = state.points_camera(views.samples.pixels_px, views.samples.depth)[source]
    normals = camera_normals(state, views.samples)[source]
    transforms = torch.eye(4, dtype=torch.float64).repeat(len(target_from_source), 1, 1)
    transforms[:, :3, :3] = target_from_source
    transforms[:, :3, 3] = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64) - target_from_source[:, :, 2]
    scale_source, scale_target = (item.to(device) for item in scales)
    sources = Sources(
        points * scale_source[:, None, None], normals.expand(len(transforms), -1, -1), transforms.to(device)
    )
    rows = torch.full((len(transforms),), target, device=device)
    targets = replace(targets_of(state, views, (target, target + 1), rows), scales=scale_target)
    return point_costs(compare_points(sources, targets, weighting.reach), weighting).mean(1).cpu()


def centred_state(views: Views, world_from_camera: Float[Tensor, "k 4 4"], focal_px: float) -> RigState:
    """Unknowns with unit scales, one focal length and centred principal points."""
    device = views.samples.depth.device
    count = len(views.surfaces)
    sizes_px = [[surface.width_px / 2, surface.height_px / 2] for surface in views.surfaces]
    ones = torch.ones(count, dtype=torch.float64, device=device)
    return RigState(
        world_from_camera.to(device),
        ones,
        torch.zeros_like(ones),
        torch.full((count, 2), focal_px, dtype=torch.float64, device=device),
        torch.tensor(sizes_px, dtype=torch.float64, device=device),
    )


def every_assignment() -> Int[Tensor, "a 6"]:
    """All ways to put six views on the faces, as rows of ``cube_rotations``; view 0 is on +z, unturned."""
    orders = torch.tensor(list(itertools.permutations(range(1, VIEW_COUNT))))
    turns = torch.tensor(list(itertools.product(range(4), repeat=VIEW_COUNT - 1)))
    rows = (orders[:, None] * 4 + turns).flatten(0, 1)
    return torch.cat([torch.zeros(len(rows), 1, dtype=rows.dtype), rows], 1)


def score_assignments(assignments: Int[Tensor, "a 6"], costs: Float[Tensor, "k k 24"]) -> Float[Tensor, " a"]:
    """Mean pair cost of every assignment."""
    rotations = cube_rotations()
    relative = torch.einsum("bji,ajk->abik", rotations, rotations).flatten(2)
    # index[a, b] is the row of b_from_a among the 24 rotations.
    index = torch.cdist(relative.flatten(0, 1), rotations.flatten(1)).argmin(1).view(24, 24)
    total = torch.zeros(len(assignments), dtype=torch.float64)
    for first, second in itertools.combinations(range(VIEW_COUNT), 2):
        total += costs[first, second][index[assignments[:, first], assignments[:, second]]]
    return total / (VIEW_COUNT * (VIEW_COUNT - 1))


def is_consistent_with_names(assignments: Int[Tensor, "a 6"], names: list[str]) -> Tensor:
    """Assignments that a photographer could mean by front, back, left, right, top and bottom.

    Opposite names stand opposite, and the four side views have the top view's side of the object upwards.  Which side
    is left, and how top and bottom are turned, differs between tools.
    """
    rotations = cube_rotations()[assignments]
    centres, ups = -rotations[..., 2], -rotations[..., 1]
    at = {name: names.index(name) for name in names}

    def are(first: Tensor, second: Tensor, cosine: float) -> Tensor:
        return ((first * second).sum(-1) - cosine).abs() < 0.5

    fits = torch.ones(len(assignments), dtype=torch.bool)
    for name, opposite in (("front", "back"), ("left", "right"), ("top", "bottom")):
        fits &= are(centres[:, at[name]], centres[:, at[opposite]], -1.0)
    for name in ("front", "back", "left", "right"):
        fits &= are(ups[:, at[name]], centres[:, at["top"]], 1.0)
    return fits
