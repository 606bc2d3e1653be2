"""Levenberg-Marquardt over any linear subset of a rig's unknowns, coarse to fine."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from recon.arrays import Float, Tensor
from recon.cameras.agreement import Views
from recon.cameras.normal_equations import Weighting, assemble
from recon.cameras.rig_state import LOCAL_COUNT, RigState

ROTATION, TRANSLATION, SCALE, OFFSET = slice(0, 3), slice(3, 6), slice(6, 7), slice(10, 11)
"""Unknowns that every view has for itself: where they lie in its step."""
FOCAL, PRINCIPAL = slice(7, 8), slice(8, 10)
"""Unknowns of lenses, which views usually share."""


def free_unknowns(
    count: int, *parts: slice, common_scale: bool = False, common_lens: bool = True
) -> Float[Tensor, "u p"]:
    """Basis of the steps that a refinement may take.

    Args:
        count: Number of views.
        parts: Any of the constants above.
        common_scale: All views also share one depth scale (instead of SCALE, one for each).
        common_lens: All views share FOCAL and PRINCIPAL, if these may change; otherwise every view has its own.
    """
    per_view, shared = torch.zeros(LOCAL_COUNT, dtype=torch.float64), torch.zeros(LOCAL_COUNT, dtype=torch.float64)
    for part in parts:
        (shared if common_lens and part in (FOCAL, PRINCIPAL) else per_view)[part] = 1
    if common_scale:
        shared[SCALE] = 1
    own = torch.diag(per_view.repeat(count))[:, per_view.repeat(count) > 0]
    return torch.cat([own, torch.diag(shared)[:, shared > 0].repeat(count, 1)], 1)


def settle(
    state: RigState,
    views: Views,
    weighting: Weighting,
    basis: Float[Tensor, "u p"],
    widths: Sequence[float],
    *,
    ridge: float = 1e-7,
) -> RigState:
    """Take one Gauss-Newton step per width, whatever the cost does.

    Near the solution the cost is not smooth (points come into view and leave it), which stalls a descent that must
    never climb; iteratively reweighted Gauss-Newton walks through.
    """
    for width in widths:
        agreement = assemble(state, views, replace(weighting, width=width)).whole
        hessian = basis.T @ agreement.hessian @ basis
        stiff = hessian + torch.diag(ridge * hessian.diagonal() + 1e-9 * hessian.diagonal().max() + 1e-30)
        step = -(basis @ torch.linalg.solve(stiff, basis.T @ agreement.gradient)).view(state.count, LOCAL_COUNT)
        state = state.moved(step.to(state.scales.device))
    return state
