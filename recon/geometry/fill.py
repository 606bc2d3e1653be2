"""Close the surface where no view saw it, smoothly.

Between measured surfaces the field minimises its squared Laplacian (a thin-plate energy: it continues slopes,
where a membrane would flatten them), with measured values fixed and free space kept positive.  Solved
coarse to fine by projected accelerated gradient descent; every step is a handful of array operations.
"""

import torch

from recon.arrays import Bool, Float, Tensor
from recon.projected_descent import descend

LAPLACIAN_NORM_SQUARED = 144.0
"""Square of the largest eigenvalue of the 7-point Laplacian with unit spacing."""


BAND_OUTSIDE, BAND_INSIDE = 2.0, 1.0
"""Measured distances are kept within this many samples of the surface.  Deeper inside they would claim that the
object is at least that thick, which is wrong where its back was not seen."""

COARSE_BAND = 0.5
"""The same inside band on coarser levels, whose samples are too wide to claim a whole one."""

FREE_MARGIN = 0.3
"""Free space keeps at least this distance, in samples, so that the fill cannot grow into it."""

FAR = 6.0
"""Distances are clamped here, in samples: beyond, only the sign matters."""

MIN_MEASURED_SHARE = 0.25
"""A sample of a coarser level is measured when this share of its finer neighbours is."""

SMALLEST_SIDE = 12

START = -1.0
"""Unseen samples start so deep inside on the coarsest level: from deep inside, few steps would not arrive where the
energy is least, and holes that were seen from both sides, but not through, would stay closed."""

STEPS, MOST_STEPS = 32, 160
"""Iterations on the finest level; twice as many on every coarser one, which cost an eighth, up to the most."""


def fill_unknown(
    distance: Float[Tensor, "x y z"],
    is_measured: Bool[Tensor, "x y z"],
    step_count: int = STEPS,
    band_inside: float = BAND_INSIDE,
) -> Float[Tensor, "x y z"]:
    """Close a field smoothly where nothing was measured.

    Args:
        distance: Signed distance in samples, positive where a view saw through, -inf where none says anything.
        is_measured: Samples whose distance is to a measured surface.
        step_count: Iterations on the finest level.

    Returns:
        A field in samples whose zero set passes through the measured surface and outside free space; its
        outermost samples are positive.
    """
    distance = distance.clamp(-2 * FAR, 2 * FAR)
    is_border = _border_like(distance)
    is_known = is_measured & (distance > -band_inside) & (distance < BAND_OUTSIDE)
    is_fixed = is_known | is_border | (distance > FAR)
    lower = torch.where(distance > 0, FREE_MARGIN, -torch.inf)
    value = torch.where(is_border, FAR, distance.clamp(-FAR, FAR))
    if min(value.shape) >= 2 * SMALLEST_SIDE:
        size = tuple((length + 1) // 2 for length in value.shape)
        coarse_measured = _resampled(is_measured.float(), size) > MIN_MEASURED_SHARE
        more_steps = min(2 * step_count, MOST_STEPS)
        coarse = fill_unknown(_resampled(distance, size) / 2, coarse_measured, more_steps, COARSE_BAND)
        start = 2 * _resampled(coarse, tuple(value.shape))
    else:
        start = value.clamp_min(START)
    value = torch.where(is_fixed, value, torch.maximum(start, lower))
    return _descend(value, is_fixed, lower, step_count)


def _resampled(field: Float[Tensor, "x y z"], size: tuple[int, ...]) -> Float[Tensor, "x2 y2 z2"]:
    """Trilinear interpolation on another number of samples over the same box."""
    return torch.nn.functional.interpolate(field[None, None], size=size, mode="trilinear", align_corners=True)[0, 0]


def _border_like(field: Float[Tensor, "x y z"]) -> Bool[Tensor, "x y z"]:
    """The outermost samples, which are outside by construction."""
    border = torch.ones_like(field, dtype=torch.bool)
    border[1:-1, 1:-1, 1:-1] = False
    return border


def laplacian(field: Float[Tensor, "x y z"]) -> Float[Tensor, "x y z"]:
    """7-point Laplacian with unit spacing and mirrored borders (symmetric, so it is its own adjoint)."""
    result = torch.zeros_like(field)
    for axis in range(3):
        difference = field.diff(dim=axis)
        size = field.shape[axis]
        result.narrow(axis, 0, size - 1).add_(difference)
        result.narrow(axis, 1, size - 1).sub_(difference)
    return result


def _descend(
    value: Float[Tensor, "x y z"], is_fixed: Bool[Tensor, "x y z"], lower: Float[Tensor, "x y z"], step_count: int
) -> Float[Tensor, "x y z"]:
    moves = (~is_fixed).to(value.dtype)

    def gradient_step(ahead: Float[Tensor, "x y z"]) -> Float[Tensor, "x y z"]:
        return laplacian(laplacian(ahead)) * moves / LAPLACIAN_NORM_SQUARED

    def project(ahead: Float[Tensor, "x y z"]) -> Float[Tensor, "x y z"]:
        return torch.where(is_fixed, value, torch.maximum(ahead, lower))

    return descend(value, gradient_step, project, step_count)
