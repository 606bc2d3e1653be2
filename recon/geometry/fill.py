"""Close the surface where no view saw it, smoothly.

Between measured surfaces the field minimises its squared Laplacian (a thin-plate energy: it continues slopes,
where a membrane would flatten them), with measured values fixed and free space kept positive.  Solved
coarse to fine by projected accelerated gradient descent; every step is a handful of array operations.
"""

import torch

from recon.arrays import Bool, Float, Tensor

LAPLACIAN_NORM_SQUARED = 144.0
"""Square of the largest eigenvalue of the 7-point Laplacian with unit spacing."""


def fill_unknown(
    value: Float[Tensor, "x y z"],
    is_fixed: Bool[Tensor, "x y z"],
    lower: Float[Tensor, "x y z"],
    steps_per_level: int = 40,
) -> Float[Tensor, "x y z"]:
    """Extend fixed samples smoothly over the lattice.

    Args:
        value: Field values in units of the sample spacing; only fixed ones are kept, the others are a first guess.
        is_fixed: Samples that must not change.
        lower: Smallest allowed value per sample (-inf where anything is allowed).
        steps_per_level: Iterations on each level of the pyramid.

    Returns:
        The field, in the same unit.
    """
    if min(value.shape) >= 24:
        coarse_value, coarse_fixed, coarse_lower = _halve(value, is_fixed, lower)
        coarse = fill_unknown(coarse_value, coarse_fixed, coarse_lower, steps_per_level)
        guess = 2 * torch.nn.functional.interpolate(
            coarse[None, None], size=value.shape, mode="trilinear", align_corners=True
        )[0, 0].contiguous()
        value = torch.where(is_fixed, value, torch.maximum(guess, lower))
    return _descend(value, is_fixed, lower, steps_per_level)


def _halve(
    value: Float[Tensor, "x y z"], is_fixed: Bool[Tensor, "x y z"], lower: Float[Tensor, "x y z"]
) -> tuple[Float[Tensor, "x2 y2 z2"], Bool[Tensor, "x2 y2 z2"], Float[Tensor, "x2 y2 z2"]]:
    """The same problem on about half as many samples a side (corners kept), in units of the wider spacing."""
    size = tuple((length + 1) // 2 for length in value.shape)

    def shrink(picture: Float[Tensor, "x y z"]) -> Float[Tensor, "x2 y2 z2"]:
        return torch.nn.functional.interpolate(
            picture[None, None], size=size, mode="trilinear", align_corners=True
        )[0, 0]

    fixed_share = shrink(is_fixed.float())
    mean = shrink(torch.where(is_fixed, value, torch.zeros_like(value))) / fixed_share.clamp_min(1e-6)
    coarse_fixed = fixed_share > 0.5
    guess = shrink(value.clamp(-8, 8))
    coarse_lower = shrink(lower.clamp_min(-1e4)) / 2
    coarse_lower = torch.where(coarse_lower < -100, torch.full_like(coarse_lower, -torch.inf), coarse_lower)
    coarse_value = torch.where(coarse_fixed, mean, guess) / 2
    coarse_value = torch.where(coarse_fixed, coarse_value, torch.maximum(coarse_value, coarse_lower))
    return coarse_value, coarse_fixed, coarse_lower


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
    """Projected accelerated gradient (Nesterov 1983 with the restart of O'Donoghue and Candes 2015)."""
    moves = (~is_fixed).to(value.dtype)
    ahead, previous, momentum = value, value, 1.0
    for _ in range(step_count):
        gradient = laplacian(laplacian(ahead)) * moves
        current = torch.maximum(ahead - gradient / LAPLACIAN_NORM_SQUARED, lower)
        current = torch.where(is_fixed, value, current)
        advance = current - previous
        if float((gradient * advance).sum()) > 0:
            momentum = 1.0
        next_momentum = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = current + (momentum - 1) / next_momentum * advance
        previous, momentum = current, next_momentum
    return previous
