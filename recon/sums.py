"""Sums that come out the same every time."""

import torch

from recon.arrays import Float, Int, Tensor


def sum_rows_at(index: Int[Tensor, " n"], rows: Float[Tensor, "n c"], count: int) -> Float[Tensor, "m c"]:
    """Sum rows that belong to the same place, in their order: repeated, the sums are the same bit for bit.

    A GPU's ``index_add`` adds in the order in which its threads arrive; accumulating ``index_put`` sorts first.  On a
    CPU it is the other way round.

    Args:
        index: Place of every row.
        rows: What to sum.
        count: Number of places.
    """
    total = torch.zeros((count, rows.shape[1]), dtype=rows.dtype, device=rows.device)
    if rows.device.type == "cpu":
        return total.index_add_(0, index, rows)
    return total.index_put_((index,), rows, accumulate=True)
