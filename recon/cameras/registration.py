"""Views without cameras and without a rig: any order, any way around the object, as far as neighbours overlap.

Patches of surface that look alike propose motions between pairs of views (random sample consensus, Fischler and Bolles
1981, over oriented pairs); a motion counts for what the whole views say about it, surfaces and outlines alike.  The
rig then grows by one view at a time, each proposal judged against all views that already stand, and is refined as a
whole by the caller.
"""

import math
from dataclasses import dataclass

import torch

from recon import frames
from recon.arrays import Bool, Float, Int, Tensor
from recon.cameras.agreement import Sources, Views, camera_normals, compare_points, targets_of
from recon.cameras.normal_equations import Weighting, point_costs
from recon.cameras.patches import Colours, Patches, describe_patches, match_patches, rigid_from_pairs
from recon.cameras.rig_state import RigState, align_rigid

_PATCH_COUNT, _JUDGE_COUNT, _TRIAL_COUNT, _SEED = 500, 250, 60_000, 0
_COLOUR_WIDTH = 0.15
"""Colours (sRGB, 0..1) that differ more belong to different places; less is light and interpolation."""
_NEAR = 0.06
"""Of the object's radius: a correspondence that a motion brings closer than this supports it."""
_PER_PAIR = 6
_PARTNERS = 8
"""Views tried against each view when there are many: the ones whose patches resemble its own the most."""
_JUDGE = Weighting(0.03, 1.0)
"""In camera distances: proposals are off by a few hundredths."""
_FACING_COSINE = 0.85
_KEPT_TRIALS = 600
_MIN_SUPPORT = 12
_TRIED_PAIRS, _WORST_PAIR_COST = 12, 2.0
"""For choosing a field of view; a cost of two is every point in front of or outside the other view."""
_CLEAR_MARGIN = 1.5
"""A second place that costs this many times as much needs no closer look."""
_SAME_PLACE = 0.2
"""Proposals closer than this (rotation entries, camera distances) are one."""


@dataclass(frozen=True)
class Growth:
    """A rig put together view by view.

    Attributes:
        world_from_camera: The world's middle lies among the views' points, +y is the pictures' mean up.
        unplaced: Views that no proposal connects to the others.
        doubt: The view whose second best place is hardly worse than its best, and that place; None without any.
    """

    world_from_camera: Float[Tensor, "k 4 4"]
    unplaced: tuple[int, ...]
    doubt: tuple[int, Float[Tensor, "4 4"]] | None


def grow_rig(state: RigState, views: Views, colours: Colours) -> Growth | None:
    """Place every view that can be placed; None when no two views go together.

    Args:
        state: Focal lengths and depth scales; poses are ignored.
        views: Depths in units of the camera distance.
        colours: What the photographs show.
    """
    patches = describe_patches(state, views, colours.at_samples, _PATCH_COUNT)
    proposals = {pair: found for pair in _promising(patches) if len(found := _propose(patches, *pair))}
    judge = _Judge(state, views, colours)
    costs = {pair: judge.pair_costs(pair, motions) for pair, motions in proposals.items()}
    if not costs:
        return None
    first, second = min(costs, key=lambda pair: float(costs[pair].min()))
    best = proposals[first, second][int(costs[first, second].argmin())]
    growing = _Growing(judge, proposals, state.count)
    growing.place(first, torch.eye(4, dtype=best.dtype, device=best.device))
    growing.place(second, frames.invert_rigid(best))
    while (option := growing.next_option()) is not None:
        growing.place(option.view, option.pose, option)
    nowhere = torch.eye(4, dtype=best.dtype, device=best.device)
    poses = torch.stack([growing.placed.get(view, nowhere) for view in range(state.count)])
    world = _world(poses, state, views)
    unplaced = tuple(view for view in range(state.count) if view not in growing.placed)
    doubt = growing.doubt
    other = None if doubt is None or doubt.other is None else (doubt.view, world @ doubt.other)
    return Growth(world @ poses, unplaced, other)


def best_pair_cost(state: RigState, views: Views, colours: Colours) -> float:
    """How well the few pairs of views that go together best agree under the state's focal lengths."""
    patches = describe_patches(state, views, colours.at_samples, _PATCH_COUNT)
    judge = _Judge(state, views, colours)
    costs = []
    for pair in _promising(patches)[:_TRIED_PAIRS]:
        motions = _propose(patches, *pair)
        costs.append(float(judge.pair_costs(pair, motions).min()) if len(motions) else _WORST_PAIR_COST)
    kept = sorted(costs)[: max(2, len(costs) // 2)]
    return sum(kept) / len(kept)


@dataclass(frozen=True)
class _Option:
    """Where one view could stand, and the best distinctly different place."""

    view: int
    pose: Float[Tensor, "4 4"]
    cost: float
    other: Float[Tensor, "4 4"] | None
    margin: float


class _Growing:
    """The views that stand, and for each of the others its possible places with their costs so far."""

    def __init__(
        self, judge: "_Judge", proposals: dict[tuple[int, int], Float[Tensor, "h 4 4"]], view_count: int
    ) -> None:
        self.placed: dict[int, Float[Tensor, "4 4"]] = {}
        self.doubt: _Option | None = None
        self._judge, self._proposals = judge, proposals
        self._places: dict[int, Float[Tensor, "h 4 4"]] = {}
        self._totals: dict[int, Float[Tensor, " h"]] = {}
        self._waiting = set(range(view_count))

    def place(self, view: int, pose: Float[Tensor, "4 4"], option: _Option | None = None) -> None:
        """Let a view stand; the places of all others are judged against it too."""
        self.placed[view] = pose
        self._waiting.discard(view)
        if option is not None and option.margin < (self.doubt.margin if self.doubt else _CLEAR_MARGIN):
            self.doubt = option
        for other in sorted(self._waiting):
            if other in self._places:
                self._totals[other] = self._totals[other] + self._against(other, self._places[other], view)
            poses = self._proposed_by(view, other)
            if poses is not None:
                total = torch.stack([self._against(other, poses, standing) for standing in self.placed]).sum(0)
                known, costs = self._places.get(other), self._totals.get(other)
                self._places[other] = poses if known is None else torch.cat([known, poses])
                self._totals[other] = total if costs is None else torch.cat([costs, total])

    def next_option(self) -> _Option | None:
        """The cheapest place of any waiting view."""
        options = [self._best_place(view) for view in sorted(self._waiting) if view in self._places]
        return min(options, key=lambda option: option.cost, default=None)

    def _best_place(self, view: int) -> _Option:
        poses, costs = self._places[view], self._totals[view] / len(self.placed)
        best = int(costs.argmin())
        away = (poses - poses[best]).flatten(1).norm(dim=1) > 2 * _SAME_PLACE
        if not bool(away.any()):
            return _Option(view, poses[best], float(costs[best]), None, math.inf)
        second = int(torch.where(away, costs, torch.inf).argmin())
        return _Option(view, poses[best], float(costs[best]), poses[second], float(costs[second] / costs[best]))

    def _against(self, view: int, world_from_view: Float[Tensor, "h 4 4"], standing: int) -> Float[Tensor, " h"]:
        motions = frames.invert_rigid(self.placed[standing]) @ world_from_view
        return self._judge.pair_costs((view, standing), motions)

    def _proposed_by(self, standing: int, view: int) -> Float[Tensor, "h 4 4"] | None:
        """World poses of ``view`` that follow from the standing view's."""
        if (standing, view) in self._proposals:
            return self.placed[standing] @ frames.invert_rigid(self._proposals[standing, view])
        if (view, standing) in self._proposals:
            return self.placed[standing] @ self._proposals[view, standing]
        return None


class _Judge:
    """Costs of motions between views from surfaces, outlines and colours."""

    def __init__(self, state: RigState, views: Views, colours: Colours) -> None:
        self._state, self._views, self._colours = state, views, colours
        points = state.points_camera(views.samples.pixels_px, views.samples.depth)
        self._points = points[:, :_JUDGE_COUNT]
        self._normals = camera_normals(state, views.samples)[:, :_JUDGE_COUNT]

    def pair_costs(self, pair: tuple[int, int], second_from_first: Float[Tensor, "h 4 4"]) -> Float[Tensor, " h"]:
        """Mean cost of both views' points against the other view."""
        first, second = pair
        first_from_second = frames.invert_rigid(second_from_first)
        return self._one_way(first, second, second_from_first) + self._one_way(second, first, first_from_second)

    def _one_way(self, source: int, target: int, target_from_source: Float[Tensor, "h 4 4"]) -> Float[Tensor, " h"]:
        state = self._state
        count = len(target_from_source)
        points, normals = (field[source].expand(count, -1, -1) for field in (self._points, self._normals))
        sources = Sources(points, normals, target_from_source)
        rows = torch.full((count,), target, device=state.scales.device)
        comparison = compare_points(sources, targets_of(state, self._views, (target, target + 1), rows), _JUDGE.reach)
        seen = self._colours.look_up(target, comparison.pixels_px)
        differs = (seen - self._colours.at_samples[source, :_JUDGE_COUNT]).pow(2).sum(-1)
        colour_cost = differs / (differs + _COLOUR_WIDTH**2)
        costs: Tensor = point_costs(comparison, _JUDGE) + comparison.on_surface * colour_cost
        return costs.mean(1)


def _promising(patches: Patches) -> list[tuple[int, int]]:
    """Pairs of views worth comparing, the most alike first: all of a few views, the nearest partners among many."""
    count = patches.points.shape[0]
    alike = torch.full((count, count), -torch.inf)
    for first in range(count):
        for second in range(first + 1, count):
            nearest = torch.cdist(patches.descriptors[first], patches.descriptors[second]).min(1).values
            alike[first, second] = alike[second, first] = -float(nearest.median())
    partners = alike.topk(min(_PARTNERS, count - 1), 1).indices
    pairs = {(min(first, second), max(first, second)) for first in range(count) for second in partners[first].tolist()}
    return sorted(pairs, key=lambda pair: -float(alike[pair]))


@dataclass(frozen=True)
class _Matches:
    """Candidate correspondences between two views, each in its own camera frame; lengths in units of the radius."""

    points: tuple[Float[Tensor, "c 3"], Float[Tensor, "c 3"]]
    normals: tuple[Float[Tensor, "c 3"], Float[Tensor, "c 3"]]
    radius: float

    def supporters(self, motions: Float[Tensor, "h 4 4"]) -> Bool[Tensor, "h c"]:
        """Which correspondences each motion ``second_from_first`` brings together."""
        apart = (frames.transform_points(motions, self.points[0]) - self.points[1]).norm(dim=-1)
        facing = (frames.transform_directions(motions, self.normals[0]) * self.normals[1]).sum(-1)
        supported: Bool[Tensor, "h c"] = (apart < _NEAR * self.radius) & (facing > _FACING_COSINE)
        return supported

    def congruent(self, drawn: Int[Tensor, "t 2"]) -> Bool[Tensor, " t"]:
        """Pairs of correspondences whose lengths and angles are alike in both views, and that are long enough."""
        first, second = (self._shape(side, drawn) for side in (0, 1))
        tolerance = torch.tensor([_NEAR, 0.25, 0.25, 0.25], dtype=first.dtype, device=first.device)
        is_firm = (first[:, 0] > 0.5) & (first[:, 1:3].abs().amax(1) < 0.95)
        return is_firm & ((first - second).abs() < tolerance).all(1)

    def _shape(self, side: int, drawn: Int[Tensor, "t 2"]) -> Float[Tensor, "t 4"]:
        """Length of each pair in one view, and the cosines between it, its two normals and each other."""
        points, normals = self.points[side], self.normals[side]
        apart = points[drawn[:, 1]] - points[drawn[:, 0]]
        length = apart.norm(dim=1)
        along = apart / length.clamp_min(1e-9)[:, None]
        ends = [(normals[drawn[:, end]] * along).sum(1) for end in (0, 1)]
        between = (normals[drawn[:, 0]] * normals[drawn[:, 1]]).sum(1)
        return torch.stack([length / self.radius, *ends, between], 1)

    def refitted(self, motion: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
        """Least squares over the supporters, twice."""
        for _ in range(2):
            near = self.supporters(motion[None])[0]
            if int(near.sum()) < _MIN_SUPPORT:
                break
            motion = align_rigid(self.points[0][near], self.points[1][near])
        return motion


def _propose(patches: Patches, first: int, second: int) -> Float[Tensor, "h 4 4"]:
    """A few distinct motions ``second_from_first`` with the most support among the correspondences."""
    pairs = match_patches(patches.descriptors[first], patches.descriptors[second])
    rows = ((first, pairs[:, 0]), (second, pairs[:, 1]))
    points, normals = (tuple(field[view][row] for view, row in rows) for field in (patches.points, patches.normals))
    matches = _Matches((points[0], points[1]), (normals[0], normals[1]), patches.radius)
    generator = torch.Generator().manual_seed(_SEED)
    drawn = torch.randint(0, len(pairs), (_TRIAL_COUNT, 2), generator=generator).to(pairs.device)
    drawn = drawn[matches.congruent(drawn)][:_KEPT_TRIALS]
    ends = [(points[side][drawn], normals[side][drawn]) for side in (0, 1)]
    motions = rigid_from_pairs(ends[0], ends[1])
    support = matches.supporters(motions).sum(1)
    kept: list[Float[Tensor, "4 4"]] = []
    for row in support.argsort(descending=True).tolist():
        if int(support[row]) < _MIN_SUPPORT or len(kept) == _PER_PAIR:
            break
        if all(float((motions[row] - other).norm()) > _SAME_PLACE for other in kept):
            kept.append(matches.refitted(motions[row]))
    return torch.stack(kept) if kept else motions[:0]


def _world(poses: Float[Tensor, "k 4 4"], state: RigState, views: Views) -> Float[Tensor, "4 4"]:
    """The motion that puts the middle of all points at the origin and the pictures' mean up at +y."""
    points = state.points_camera(views.samples.pixels_px, views.samples.depth)
    middle = frames.transform_points(poses, points).flatten(0, 1).median(0).values
    up = torch.nn.functional.normalize(-poses[:, :3, 1].mean(0), dim=0)
    towards = poses[0, :3, 3] - middle
    front = torch.nn.functional.normalize(towards - up * (towards @ up), dim=0)
    world = torch.eye(4, dtype=poses.dtype, device=poses.device)
    world[:3, :3] = torch.stack([torch.linalg.cross(up, front), up, front])
    world[:3, 3] = -world[:3, :3] @ middle
    return world
