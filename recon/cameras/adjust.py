"""Levenberg-Marquardt over any linear subset of a rig's unknowns, coarse to fine."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from recon.arrays import Float, Tensor
from recon.cameras.agreement import Views
from recon.cameras.normal_equations import Weighting, assemble, measure_cost
from recon.cameras.rig_state import LOCAL_COUNT, RigState

ROTATION, TRANSLATION, SCALE, OFFSET = slice(0, 3), slice(3, 6), slice(6, 7), slice(10, 11)
"""Unknowns that every view has for itself: where they lie in its step."""
FOCAL, PRINCIPAL = slice(7, 8), slice(8, 10)
"""Unknowns that all views share."""


def free_unknowns(count: int, *parts: slice, common_scale: bool = False) -> Float[Tensor, "u p"]:
    """Basis of the steps that a refinement may take.

    Args:
        count: Number of views.
        parts: Any of the constants above.
        common_scale: All views also share one depth scale (instead of SCALE, one for each).
    """
    per_view, shared = torch.zeros(LOCAL_COUNT, dtype=torch.float64), torch.zeros(LOCAL_COUNT, dtype=torch.float64)
    for part in parts:
        (shared if part in (FOCAL, PRINCIPAL) else per_view)[part] = 1
    if common_scale:
        shared[SCALE] = 1
    own = torch.diag(per_view.repeat(count))[:, per_view.repeat(count) > 0]
    return torch.cat([own, torch.diag(shared)[:, shared > 0].repeat(count, 1)], 1)


def adjust(
    state: RigState, views: Views, weighting: Weighting, basis: Float[Tensor, "u p"], step_count: int
) -> tuple[RigState, float]:
    """Lower the robust cost by at most ``step_count`` damped Gauss-Newton steps (Levenberg 1944, Marquardt 1963).

    Directions that no residual observes (the common rigid motion, or the common scale) stay where they are.

    Returns:
        The best state and its cost.
    """
    basis = basis.to(state.scales.device)
    agreement = assemble(state, views, weighting)
    damping = 1e-4
    for _ in range(step_count):
        hessian = basis.T @ agreement.hessian @ basis
        slope = basis.T @ agreement.gradient
        moved = False
        while damping < 1e4 and not moved:
            stiff = hessian + torch.diag(damping * hessian.diagonal() + 1e-12 * hessian.diagonal().max() + 1e-30)
            step = -(basis @ torch.linalg.solve(stiff, slope)).view(state.count, LOCAL_COUNT)
            candidate = state.moved(step)
            cost = measure_cost(candidate, views, weighting)
            moved = cost < agreement.cost
            damping = max(damping / 10, 1e-9) if moved else damping * 10
        if not moved:
            break
        gain = agreement.cost - cost
        state, agreement = candidate, assemble(candidate, views, weighting)
        if gain < 1e-6 * agreement.cost:
            break
    return state, agreement.cost


def settle(
    state: RigState, views: Views, weighting: Weighting, basis: Float[Tensor, "u p"], widths: Sequence[float]
) -> RigState:
    """Take one Gauss-Newton step per width, whatever the cost does.

    Near the solution the cost is not smooth (points come into view and leave it), which stalls a descent that must
    never climb; iteratively reweighted Gauss-Newton walks through.
    """
    basis = basis.to(state.scales.device)
    for width in widths:
        agreement = assemble(state, views, replace(weighting, width=width))
        hessian = basis.T @ agreement.hessian @ basis
        stiff = hessian + torch.diag(1e-7 * hessian.diagonal() + 1e-9 * hessian.diagonal().max() + 1e-30)
        step = -(basis @ torch.linalg.solve(stiff, basis.T @ agreement.gradient)).view(state.count, LOCAL_COUNT)
        state = state.moved(step)
    return state
