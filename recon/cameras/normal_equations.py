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
class NormalEquations:
    """A rig's cost and, for its improvement, second and first derivatives by the local steps of all views.

    Attributes:
        cost: Mean over all samples and targets, 0 (perfect) to 1.
        hessian, gradient: Over (view, local unknown).
    """

    cost: float
    hessian: Float[Tensor, "u u"]
    gradient: Float[Tensor, " u"]


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
    count = state.count
    size = count * LOCAL_COUNT
    hessian, gradient = state.scales.new_zeros(size, size), state.scales.new_zeros(size)
    by_view = gradient.view(count, LOCAL_COUNT)
    points = state.points_camera(views.samples.pixels_px, views.samples.depth)
    depth = views.samples.depth + state.offsets[:, None]
    total = state.scales.new_zeros(())
    for target in range(count):
        comparison = compare(state, views, target, weighting.reach)
        costs = point_costs(comparison, weighting)
        total = total + costs.sum() - costs[target].sum()
        weights = _influence(comparison, weighting)
        weights[target] = 0
        jacobian = _jacobian(state, comparison, points, depth, target)
        weighted = (jacobian * weights[..., None]).transpose(1, 2)
        blocks = (weighted @ jacobian).view(count, 2, LOCAL_COUNT, 2, LOCAL_COUNT)
        sums = (weighted @ comparison.residual[..., None]).view(count, 2, LOCAL_COUNT)
        _scatter(hessian.view(count, LOCAL_COUNT, count, LOCAL_COUNT), blocks, target)
        by_view += sums[:, 0]
        by_view[target] += sums[:, 1].sum(0)
    pair_count = _pair_count(state, views)
    return NormalEquations(float(total) / pair_count, hessian / pair_count, gradient / pair_count)


def _pair_count(state: RigState, views: Views) -> int:
    return state.count * (state.count - 1) * int(views.samples.depth.shape[1])


def _influence(comparison: Comparison, weighting: Weighting) -> Float[Tensor, "k n"]:
    """Weights of iteratively reweighted least squares."""
    ratio = (comparison.residual / weighting.width) ** 2
    strength = torch.where(comparison.on_surface, 1.0, weighting.silhouette)
    return strength * (comparison.on_surface | comparison.outside) / (1 + ratio) ** 2


def _jacobian(
    state: RigState,
    comparison: Comparison,
    points: Float[Tensor, "k n 3"],
    depth: Float[Tensor, "k n"],
    target: int,
) -> Float[Tensor, "k n 22"]:
    """Derivatives of the residuals by the source's and then the target's local unknowns."""
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
