"""Sums that come out the same every time.

A GPU's ``index_add``, the gradients of its look-ups and its sparse products add in the order in which threads arrive,
and what follows from a last bit, such as which edge is an outline, may show.  Here rows are brought into order first,
and one thread adds those of a place.  A CPU adds in order anyway.
"""

import warnings
from typing import Any

import torch

from recon.arrays import Float, Int, Tensor


class SumsByPlace:
    """Sums of rows that belong to the same place, in their order."""

    def __init__(self, index: Int[Tensor, " n"], count: int) -> None:
        """For rows of which these are the places, of so many."""
        self._index, self._count = index, count
        if index.device.type != "cpu":
            place, self._order = torch.sort(index, stable=True)
            self._starts = torch.searchsorted(place, torch.arange(count + 1, device=index.device))

    def add_to(self, total: Float[Tensor, "m ..."], rows: Float[Tensor, "n ..."]) -> Float[Tensor, "m ..."]:
        """Add, in place, every row to its place; not differentiable."""
        if rows.device.type == "cpu":
            return total.index_add_(0, self._index, rows)
        return total.add_(_sums_of_runs(rows[self._order], self._starts))

    def of(self, rows: Float[Tensor, "n ..."]) -> Float[Tensor, "m ..."]:
        """The sums, zero for a place without rows; not differentiable."""
        return self.add_to(rows.new_zeros((self._count, *rows.shape[1:])), rows)


def sum_rows_at(index: Int[Tensor, " n"], rows: Float[Tensor, "n ..."], count: int) -> Float[Tensor, "m ..."]:
    """Sum rows by place, once; differentiable.

    Args:
        index: Place of every row.
        rows: What to sum.
        count: Number of places.
    """
    total: Tensor = _Sum.apply(rows, index, count)  # type: ignore[no-untyped-call]
    return total


def rows_at(rows: Float[Tensor, "m ..."], index: Int[Tensor, " n"]) -> Float[Tensor, "n ..."]:
    """Look rows up; their gradients are summed in order."""
    found: Tensor = _LookUp.apply(rows, index)  # type: ignore[no-untyped-call]
    return found


class SparseMatrix:
    """A matrix of which most entries are zero."""

    def __init__(
        self,
        row: Int[Tensor, " e"],
        column: Int[Tensor, " e"],
        value: Float[Tensor, " e"],
        shape: tuple[int, int],
    ) -> None:
        """From entries sorted by row."""
        self._column, self._value = column, value
        self._starts = torch.nn.functional.pad(torch.bincount(row, minlength=shape[0]).cumsum(0), (1, 0))
        self._matrix: Tensor | None = None
        if value.device.type == "cpu":
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
                self._matrix = torch.sparse_csr_tensor(
                    self._starts.int(), column.int(), value, shape, check_invariants=False
                )

    def __matmul__(self, dense: Float[Tensor, "n c"]) -> Float[Tensor, "m c"]:
        if self._matrix is not None:
            return self._matrix @ dense
        return _sums_of_runs(self._value[:, None] * dense.index_select(0, self._column), self._starts)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(index)
        return SumsByPlace(index, count).of(rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, ctx.saved_tensors[0]), None, None


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.count = rows.shape[0]
        return rows.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return SumsByPlace(ctx.saved_tensors[0], ctx.count).of(gradient), None


def _sums_of_runs(rows: Float[Tensor, "n ..."], starts: Int[Tensor, " s"]) -> Float[Tensor, "m ..."]:
    """Sums of rows that follow one another; run i ends where run i + 1 starts."""
    if not rows.shape[0]:
        return rows.new_zeros((starts.shape[0] - 1, *rows.shape[1:]))
    return torch.segment_reduce(rows.contiguous(), "sum", offsets=starts, unsafe=True)
