"""Sums that come out the same every time."""

import torch

from recon.arrays import Float, Int, Tensor


class SumsByPlace:
    """Sums of rows that belong to the same place, in their order: repeated, they are the same bit for bit.

    A GPU's ``index_add`` adds in the order in which its threads arrive, and what follows from a last bit, such as which
    edge is an outline, may show.  There rows are sorted by place once, and one thread adds those of a place.
    """

    def __init__(self, index: Int[Tensor, " n"], count: int) -> None:
        """For rows of which these are the places, of so many."""
        self._index, self._count = index, count
        if index.device.type != "cpu":
            place, self._order = torch.sort(index, stable=True)
            self._starts = torch.searchsorted(place, torch.arange(count + 1, device=index.device))

    def add_to(self, total: Float[Tensor, "m ..."], rows: Float[Tensor, "n ..."]) -> Float[Tensor, "m ..."]:
        """Add, in place, every row to its place."""
        if rows.device.type == "cpu":
            return total.index_add_(0, self._index, rows)
        if not rows.shape[0]:
            return total
        return total.add_(torch.segment_reduce(rows[self._order], "sum", offsets=self._starts, unsafe=True))

    def of(self, rows: Float[Tensor, "n ..."]) -> Float[Tensor, "m ..."]:
        """The sums; zero for a place without rows."""
        return self.add_to(rows.new_zeros((self._count, *rows.shape[1:])), rows)


def sum_rows_at(index: Int[Tensor, " n"], rows: Float[Tensor, "n ..."], count: int) -> Float[Tensor, "m ..."]:
    """Sum rows by place, once.

    Args:
        index: Place of every row.
        rows: What to sum.
        count: Number of places.
    """
    return SumsByPlace(index, count).of(rows)
