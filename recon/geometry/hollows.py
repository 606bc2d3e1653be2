"""Hollows that nobody can reach."""

import torch
from scipy import ndimage

from recon.arrays import Bool, Int, Tensor


def enclosed(is_outside: Bool[Tensor, "x y z"]) -> Bool[Tensor, "x y z"]:
    """Outside samples that no path from sample to sample joins to the border, all of which is outside."""
    if is_outside.device.type != "cpu":
        return is_outside & ~joined_to_border(is_outside)
    labels, _ = ndimage.label(is_outside.numpy())  # one core counts at once what many reach in rounds
    return is_outside & torch.from_numpy(labels != labels[0, 0, 0])


def joined_to_border(is_outside: Bool[Tensor, "x y z"]) -> Bool[Tensor, "x y z"]:
    """Outside samples that a path does join to it, by array operations only.

    What reaches a part of a run, a row of samples without a gap, reaches all of it; so along each axis in turn, until
    nothing more is reached.
    """
    runs = [_runs(is_outside, axis) for axis in range(3)]
    before, reached = torch.zeros_like(is_outside), torch.zeros_like(is_outside)
    reached[0, 0, 0] = True
    while not torch.equal(before, reached):
        before = reached
        for run in runs:
            is_run_reached = torch.zeros(is_outside.numel() + 1, dtype=torch.bool, device=reached.device)
            is_run_reached.index_fill_(0, run[reached], True)
            reached = is_outside & is_run_reached[run]
    return reached


def _runs(is_outside: Bool[Tensor, "x y z"], axis: int) -> Int[Tensor, "x y z"]:
    """A number for every run of outside samples along an axis; what is inside has that of the run after it."""
    order = [other for other in range(3) if other != axis] + [axis]
    rows = is_outside.permute(order)
    begins = ~rows
    begins[..., 0] = True
    number = torch.cumsum(begins.reshape(-1), 0).view(rows.shape)
    return number.permute([order.index(axis) for axis in range(3)])
