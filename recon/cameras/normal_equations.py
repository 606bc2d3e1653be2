"""The robust cost of a rig and its Gauss-Newton normal equations, summed without keeping the rows.

How a residual between two views changes with their poses depends on nothing but the point and the direction of the
residual: moving the source one way is moving the target the other way.  So the products of rows are summed for each
pair in the target's frame, where a row has six numbers for both poses, and only the sums are turned into both views'
local unknowns.
"""

import math
from dataclasses import dataclass

import torch

from recon import frames
from recon.arrays import Float, Tensor
from recon.cameras.agreement import Comparison, Pairs, Views, compare_all
from recon.cameras.rig_state import LOCAL_COUNT, POSE_COUNT, RigState

_LENS_COUNT = LOCAL_COUNT - POSE_COUNT


@dataclass(frozen=True)
class Weighting:
    """How residuals count.

    Attributes:
        width: Residuals beyond this length lose their influence (Geman and McClure 1987).
        silhouette: Weight of a silhouette residual against a depth residual of the same length.
        hidden: Cost, in units of the largest cost, of a point that lies behind the other view's surface.
    """

    width: float
    silhouette: float = 0.2
    hidden: float = 0.3

    @property
    def reach(self) -> float:
        """Points further than this from a surface do not belong to it."""
        return 3 * self.width


@dataclass(frozen=True)
class Derivatives:
    """Second and first derivatives of a cost by the local steps of all views, over (view, local unknown); on the host.

    Local unknowns are all of ``RigState.moved``, or the first six, the pose, where only poses move.
    """

    hessian: Float[Tensor, "u u"]
    gradient: Float[Tensor, " u"]

    def __add__(self, other: "Derivatives") -> "Derivatives":
        return Derivatives(self.hessian + other.hessian, self.gradient + other.gradient)


@dataclass(frozen=True)
class NormalEquations:
    """A rig's cost and its derivatives, by what they come from.

    Attributes:
        cost: Mean over all samples and targets, 0 (perfect) to 1.
        surfaces, outlines: Of distances between surfaces, and to outlines.
        doubt: Squared sine of the angle between the normals that two views measure at one place, median.
    """

    cost: float
    surfaces: Derivatives
    outlines: Derivatives
    doubt: float

    @property
    def whole(self) -> Derivatives:
        """Of the cost."""
        return self.surfaces + self.outlines


def point_costs(comparison: Comparison, weighting: Weighting) -> Float[Tensor, "b n"]:
    """Robust cost of every sample: 0 on the surface, 1 in front of it or far outside the silhouette."""
    ratio = (comparison.residual / weighting.width) ** 2
    robust = ratio / (1 + ratio)
    unmatched = ~(comparison.on_surface | comparison.outside | comparison.in_front)
    costs = robust * comparison.on_surface + weighting.silhouette * robust * comparison.outside
    return costs + 1.0 * comparison.in_front + weighting.hidden * unmatched


def measure_cost(state: RigState, views: Views, weighting: Weighting) -> float:
    """The robust cost alone: mean over all samples and all other views."""
    costs = [point_costs(comparison, weighting).sum() for _, comparison in compare_all(state, views, weighting.reach)]
    return float(torch.stack(costs).sum()) / pair_count(state, views)


def assemble(state: RigState, views: Views, weighting: Weighting, *, with_lenses: bool = True) -> NormalEquations:
    """Sum the robust normal equations over all ordered pairs of views.

    Args:
        state: The cameras.
        views: What they show.
        weighting: How residuals count.
        with_lenses: By all local unknowns; otherwise by poses alone, for a fraction of the time.
    """
    sums = DistanceSums(state, views, weighting)
    for pairs, comparison in compare_all(state, views, weighting.reach, with_lenses=with_lenses):
        sums.add(pairs, comparison)
    return sums.equations()


class DistanceSums:
    """Adds distances to surfaces and outlines up, comparison by comparison."""

    def __init__(self, state: RigState, views: Views, weighting: Weighting) -> None:
        self._state, self._views, self._weighting = state, views, weighting
        self._sums = PairSums()
        self._costs: list[Float[Tensor, ""]] = []
        self._turned: list[Float[Tensor, " m"]] = []

    def add(self, pairs: Pairs, comparison: Comparison) -> None:
        """Add the residuals of some pairs of views."""
        self._costs.append(point_costs(comparison, self._weighting).sum())
        self._turned.append(torch.where(comparison.on_surface, 1 - comparison.facing**2, math.nan).flatten())
        slopes = [pose_slopes(comparison.points, comparison.by_point)]
        if comparison.by_target is not None:
            slopes += [self._by_source(pairs, comparison), comparison.by_target]
        rows = torch.cat([*slopes, comparison.residual[..., None]], -1)
        ratio = (comparison.residual / self._weighting.width) ** 2
        influence = 1 / (1 + ratio) ** 2
        on_surface = products(rows, influence * comparison.on_surface)
        self._sums.add(pairs, on_surface, products(rows, self._weighting.silhouette * influence * comparison.outside))

    def equations(self) -> NormalEquations:
        """Means over all samples and targets."""
        count = pair_count(self._state, self._views)
        cost, doubt = float(torch.stack(self._costs).sum()), float(torch.cat(self._turned).nanmedian())
        surfaces, outlines = self._sums.derivatives(self._state.count, count)
        return NormalEquations(cost / count, surfaces, outlines, 0.0 if math.isnan(doubt) else doubt)

    def _by_source(self, pairs: Pairs, comparison: Comparison) -> Float[Tensor, "b n 5"]:
        """Derivatives by the source's log scale, log focal length, principal point and depth offset."""
        state, samples = self._state, self._views.samples
        points = state.points_camera(samples.pixels_px, samples.depth)[pairs.sources]
        depth = (samples.depth + state.offsets[:, None])[pairs.sources]
        by_source = frames.transform_directions(frames.invert_rigid(pairs.target_from_source), comparison.by_point)
        along_ray = (by_source * points).sum(-1, keepdim=True)
        across = by_source[..., :2] * points[..., :2]
        by_principal = -by_source[..., :2] * points[..., 2:]
        return torch.cat([along_ray, -across.sum(-1, keepdim=True), by_principal, along_ray / depth[..., None]], -1)


def pair_count(state: RigState, views: Views) -> int:
    """Of all samples and other views."""
    return state.count * (state.count - 1) * int(views.samples.depth.shape[1])


def pose_slopes(points: Float[Tensor, "*rows 3"], by_point: Float[Tensor, "*rows 3"]) -> Float[Tensor, "*rows 6"]:
    """How a residual changes with a turn about the frame's origin and a shift of all its points."""
    return torch.cat([torch.linalg.cross(points, by_point), by_point], -1)


def products(rows: Float[Tensor, "*pairs n c"], weights: Float[Tensor, "*pairs n"]) -> Float[Tensor, "*pairs c c"]:
    """Weighted sums of the products of columns."""
    return (rows * weights[..., None]).transpose(-1, -2) @ rows


class PairSums:
    """Sums of products for every pair of views, by what both have in common: turned into derivatives at the end.

    All that is done where the rows are; many small products are slow on a host of many cores.
    """

    def __init__(self) -> None:
        self._pairs: list[Pairs] = []
        self._products: list[Float[Tensor, "q b c c"]] = []

    def add(self, pairs: Pairs, *found: Float[Tensor, "b c c"]) -> None:
        """Add sums over rows of (pose slopes in the target's frame, slopes by both lenses if any, residual).

        Each of the quantities ``found``, in the same order every time, gets derivatives of its own.
        """
        self._pairs.append(pairs)
        self._products.append(torch.stack(found))

    def derivatives(self, view_count: int, row_count: int) -> list[Derivatives]:
        """Of every quantity, over all views' local unknowns, divided by the number of rows."""
        found = torch.cat(self._products, 1).double() / row_count
        ends = [torch.cat([getattr(pairs, end) for pairs in self._pairs]) for end in ("sources", "targets")]
        by_local = _by_local(torch.cat([pairs.target_from_source for pairs in self._pairs]), found.shape[-1])
        local_count = by_local.shape[-1] // 2
        half = by_local.transpose(1, 2) @ found[..., :-1, :]
        parts = torch.cat([half[..., :-1] @ by_local, half[..., -1:]], -1)
        parts = parts.unflatten(-2, (2, local_count))
        pairwise = parts.new_zeros(len(found), view_count, view_count, *parts.shape[2:])
        pairwise[:, ends[0], ends[1]] = parts
        # By (quantity, view, own unknown, unknown of the source or the target or none).
        own = [pairwise[..., 0, :, :].sum(2), pairwise[..., 1, :, :].sum(1)]
        crossed = pairwise[..., 0, :, local_count:-1]
        hessian = crossed + crossed.transpose(1, 2).transpose(-1, -2)
        squares = own[0][..., :local_count] + own[1][..., local_count:-1]
        hessian.diagonal(dim1=1, dim2=2).add_(squares.movedim(1, -1))
        size = view_count * local_count
        gradient = (own[0] + own[1])[..., -1].reshape(-1, size, 1)
        both = torch.cat([hessian.transpose(2, 3).reshape(-1, size, size), gradient], -1).cpu()
        return [Derivatives(item[:, :-1], item[:, -1]) for item in both]


def _by_local(target_from_source: Float[Tensor, "b 4 4"], column_count: int) -> Float[Tensor, "b r u"]:
    """What the local unknowns of source and target do to rows of so many columns in the target's frame."""
    turn, shift = target_from_source[:, :3, :3], target_from_source[:, :3, 3]
    lens_count = _LENS_COUNT if column_count > POSE_COUNT + 1 else 0
    found = turn.new_zeros(len(turn), POSE_COUNT + 2 * lens_count, 2, POSE_COUNT + lens_count)
    found[:, :3, 0, :3] = found[:, 3:6, 0, 3:6] = turn
    found[:, 3:6, 0, :3] = frames.cross_matrix(shift) @ turn
    found[:, :POSE_COUNT, 1, :POSE_COUNT].diagonal(dim1=1, dim2=2).fill_(-1)
    for end in range(2):
        first = POSE_COUNT + end * lens_count
        found[:, first : first + lens_count, end, POSE_COUNT:].diagonal(dim1=1, dim2=2).fill_(1)
    return found.flatten(2)
