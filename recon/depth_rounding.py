"""Coarsely rounded depth made smooth: of all surfaces that round to the file's codes, the one that bends least.

Eight bits leave terraces several pixels deep where the object was smooth.  A terrace says exactly how far the surface
can be from it, half a step to either side; within these bounds the squared second differences are minimised, coarse to
fine, by projected accelerated gradient descent.  Creases and steps of more than the format's own stay as they are.
"""

import torch

from recon.arrays import Bool, Float, Tensor
from recon.projected_descent import descend

ROUNDING_BENDS = 2.0
"""Rounding alone bends a plane by up to this many steps; what bends more is an edge."""

EIGENVALUE_BOUND = 32.0
"""Of the squared second differences along two axes."""

STEPS, MOST_STEPS = 30, 120
"""Iterations on the finest level; twice as many on every coarser one, which cost a quarter, up to the most."""

SMALLEST_SIDE = 16


def unround_depth(
    depth_z_m: Float[Tensor, "k h w"], mask: Bool[Tensor, "k h w"], step_m: Float[Tensor, " k"]
) -> Float[Tensor, "k h w"]:
    """The smoothest depth that rounds to a measured one.

    Args:
        depth_z_m: Along the optical axis, each in the middle of what it stands for.
        mask: Where it means something.
        step_m: Difference between neighbouring codes of each view.

    Returns:
        Depth within half a step of the given one; the given one where the mask is False.
    """
    rows, columns = (torch.nonzero(mask.any(0).any(axis)).squeeze(1) for axis in (1, 0))
    if rows.numel() == 0:
        return depth_z_m
    inner = (..., slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    smooth_z_m = depth_z_m.clone()
    smooth_z_m[inner] = _smoothest(depth_z_m[inner], mask[inner], step_m.view(-1, 1, 1), STEPS)
    return torch.where(mask, smooth_z_m, depth_z_m)


def _smoothest(
    depth: Float[Tensor, "k h w"], mask: Bool[Tensor, "k h w"], step: Float[Tensor, "k 1 1"], step_count: int
) -> Float[Tensor, "k h w"]:
    """The mean of a block rounds like its pixels: the bounds hold on every level."""
    start = depth
    if min(depth.shape[1:]) >= 2 * SMALLEST_SIDE:
        whole = torch.nn.functional.avg_pool2d(mask[:, None].float(), 2, ceil_mode=True)[:, 0] == 1
        mean = torch.nn.functional.avg_pool2d(depth[:, None], 2, ceil_mode=True)[:, 0]
        coarse = _smoothest(mean, whole, step, min(2 * step_count, MOST_STEPS))
        weight = _doubled(whole.float(), depth)
        start = torch.where(weight > 0.5, _doubled(coarse * whole, depth) / weight.clamp_min(0.5), depth)
    return _bend_least(start, depth, mask, step, step_count)


def _doubled(coarse: Float[Tensor, "k h2 w2"], fine: Float[Tensor, "k h w"]) -> Float[Tensor, "k h w"]:
    height, width = fine.shape[1:]
    doubled = torch.nn.functional.interpolate(coarse[:, None], scale_factor=2, mode="bilinear")
    return doubled[:, 0, :height, :width]


def _bend_least(
    start: Float[Tensor, "k h w"],
    depth: Float[Tensor, "k h w"],
    mask: Bool[Tensor, "k h w"],
    step: Float[Tensor, "k 1 1"],
    step_count: int,
) -> Float[Tensor, "k h w"]:
    low, high = depth - step / 2, depth + step / 2
    triples = {axis: _smooth_triples(depth, mask, step, axis) for axis in (1, 2)}

    def gradient_step(ahead: Float[Tensor, "k h w"]) -> Float[Tensor, "k h w"]:
        rows, columns = (_bending_gradient(ahead, triples[axis], axis) for axis in (1, 2))
        return (rows + columns) / EIGENVALUE_BOUND

    return descend(start.clamp(low, high), gradient_step, lambda ahead: ahead.clamp(low, high), step_count)


def _smooth_triples(
    depth: Float[Tensor, "k h w"], mask: Bool[Tensor, "k h w"], step: Float[Tensor, "k 1 1"], axis: int
) -> Bool[Tensor, "..."]:
    """Which three pixels in a row lie on one surface, as far as rounding lets one know."""
    size = mask.shape[axis]
    all_measured = mask.narrow(axis, 0, size - 2) & mask.narrow(axis, 1, size - 2) & mask.narrow(axis, 2, size - 2)
    return all_measured & (depth.diff(2, dim=axis).abs() <= (ROUNDING_BENDS + 0.01) * step)


def _bending_gradient(depth: Float[Tensor, "k h w"], triples: Bool[Tensor, "..."], axis: int) -> Float[Tensor, "k h w"]:
    """Half the gradient of the sum of squared second differences along an axis."""
    bend = depth.diff(2, dim=axis) * triples
    gradient = torch.zeros_like(depth)
    count = bend.shape[axis]
    for first, factor in ((0, 1.0), (1, -2.0), (2, 1.0)):
        gradient.narrow(axis, first, count).add_(bend, alpha=factor)
    return gradient
