"""The robust cost of a rig and its Gauss-Newton normal equations, summed without keeping the rows."""

from dataclasses import dataclass

import torch

from recon import frames
from recon.arrays import Float, Tensor
from recon.cameras.agreement import Comparison, Views, compare
from recon.cameras.rig_state import LOCAL_COUNT, RigState


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
    """Second and first derivatives of a cost by the local steps of all views, over (view, local unknown)."""

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
    total = state.scales.new_zeros(())
    for target in range(state.count):
        costs = point_costs(compare(state, views, target, weighting.reach), weighting)
        total = total + costs.sum() - costs[target].sum()
    return float(total) / _pair_count(state, views)


def assemble(state: RigState, views: Views, weighting: Weighting) -> NormalEquations:
    """Sum the robust normal equations over all ordered pairs of views."""
    surfaces, outlines = Sums(state, views), Sums(state, views)
    total, turned = state.scales.new_zeros(()), []
    for target in range(state.count):
        comparison = compare(state, views, target, weighting.reach)
        costs = point_costs(comparison, weighting)
        total = total + costs.sum() - costs[target].sum()
        weights = _influence(comparison, weighting)
        weights[target] = 0
        slopes, on_surface = jacobian(state, views, comparison, target), comparison.on_surface
        surfaces.add(slopes, weights * on_surface, comparison.residual, target)
        outlines.add(slopes, weights * ~on_surface, comparison.residual, target)
        turned.append((1 - comparison.facing**2)[on_surface & (weights > 0)])
    between = torch.cat(turned)
    doubt = float(between.median()) if between.numel() else 0.0
    cost = float(total) / _pair_count(state, views)
    return NormalEquations(cost, surfaces.derivatives(), outlines.derivatives(), doubt)


class Sums:
    """Adds weighted residuals up, target by target, without keeping the rows."""

    def __init__(self, state: RigState, views: Views) -> None:
        self._count, self._pair_count = state.count, _pair_count(state, views)
        size = state.count * LOCAL_COUNT
        self._hessian, self._gradient = state.scales.new_zeros(size, size), state.scales.new_zeros(size)

    def add(
        self,
        found: Float[Tensor, "k n 22"],
        weights: Float[Tensor, "k n"],
        residual: Float[Tensor, "k n"],
        target: int,
    ) -> None:
        """Add the residuals of all sources against one target, with what ``jacobian`` found."""
        count = self._count
        weighted = (found * weights[..., None]).transpose(1, 2)
        blocks = (weighted @ found).view(count, 2, LOCAL_COUNT, 2, LOCAL_COUNT)
        sums = (weighted @ residual[..., None]).view(count, 2, LOCAL_COUNT)
        _scatter(self._hessian.view(count, LOCAL_COUNT, count, LOCAL_COUNT), blocks, target)
        by_view = self._gradient.view(count, LOCAL_COUNT)
        by_view += sums[:, 0]
        by_view[target] += sums[:, 1].sum(0)

    def derivatives(self) -> Derivatives:
        """Means over all samples and targets."""
        return Derivatives(self._hessian / self._pair_count, self._gradient / self._pair_count)


def _pair_count(state: RigState, views: Views) -> int:
    return state.count * (state.count - 1) * int(views.samples.depth.shape[1])


def _influence(comparison: Comparison, weighting: Weighting) -> Float[Tensor, "k n"]:
    """Weights of iteratively reweighted least squares."""
    ratio = (comparison.residual / weighting.width) ** 2
    strength = torch.where(comparison.on_surface, 1.0, weighting.silhouette)
    return strength * (comparison.on_surface | comparison.outside) / (1 + ratio) ** 2


def jacobian(state: RigState, views: Views, comparison: Comparison, target: int) -> Float[Tensor, "k n 22"]:
    """Derivatives of the residuals by the source's and then the target's local unknowns."""
    points = state.points_camera(views.samples.pixels_px, views.samples.depth)
    depth = views.samples.depth + state.offsets[:, None]
    by_point = comparison.by_point
    cameras_from_target = frames.invert_rigid(state.world_from_camera) @ state.world_from_camera[target]
    by_source = frames.transform_directions(cameras_from_target, by_point)
    along_ray = (by_source * points).sum(-1, keepdim=True)
    source = [
        torch.linalg.cross(points, by_source),
        by_source,
        along_ray,
        -(by_source[..., :2] * points[..., :2]).sum(-1, keepdim=True),
        -by_source[..., :2] * points[..., 2:],
        along_ray / depth[..., None],
    ]
    turned = torch.linalg.cross(comparison.points, by_point)
    return torch.cat([*source, -turned, -by_point, comparison.by_target], -1)


def _scatter(hessian: Float[Tensor, "k a k b"], blocks: Float[Tensor, "k 2 a 2 b"], target: int) -> None:
    sources = torch.arange(blocks.shape[0], device=blocks.device)
    hessian[sources, :, sources, :] += blocks[:, 0, :, 0, :]
    hessian[:, :, target, :] += blocks[:, 0, :, 1, :]
    hessian[target] += blocks[:, 1, :, 0, :].transpose(0, 1)
    hessian[target, :, target, :] += blocks[:, 1, :, 1, :].sum(0)
