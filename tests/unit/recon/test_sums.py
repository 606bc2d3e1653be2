"""Sums of rows by place."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from recon.sums import SparseMatrix, rows_at, sum_rows_at

PLACES = st.lists(st.integers(0, 6), max_size=40)


def counted(places: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The places, and a different pair of numbers for each."""
    index = torch.tensor(places, dtype=torch.long)
    return index, torch.arange(2.0 * len(places), dtype=torch.float64).view(-1, 2)


@given(PLACES)
def test_every_place_gets_its_rows(places: list[int]) -> None:
    """As many as name it, each once; places that no row names stay zero."""
    index, rows = counted(places)
    expected = torch.nn.functional.one_hot(index, 7).double().T @ rows
    assert torch.equal(sum_rows_at(index, rows, 7), expected)


@given(PLACES)
def test_sums_and_look_ups_are_each_others_gradient(places: list[int]) -> None:
    """What a row adds to a sum comes back to it, and what a place lends comes back added up."""
    index, pull = counted(places)
    places_pull = torch.arange(14.0, dtype=torch.float64).view(7, 2)
    rows = torch.zeros_like(pull, requires_grad=True)
    table = torch.zeros_like(places_pull, requires_grad=True)
    (sum_rows_at(index, rows, 7) * places_pull).sum().backward()
    (rows_at(table, index) * pull).sum().backward()
    assert rows.grad is not None
    assert table.grad is not None
    assert torch.equal(rows.grad, places_pull[index])
    assert torch.equal(table.grad, sum_rows_at(index, pull, 7))


@given(st.lists(st.lists(st.integers(-3, 3), min_size=4, max_size=4), min_size=1, max_size=6))
def test_a_sparse_matrix_multiplies_as_a_dense_one(rows: list[list[int]]) -> None:
    """Also with empty rows."""
    dense = torch.tensor(rows, dtype=torch.float64)
    row, column = torch.nonzero(dense).unbind(1)
    right = torch.arange(8.0, dtype=torch.float64).view(4, 2)
    assert torch.equal(SparseMatrix(row, column, dense[row, column], (len(rows), 4)) @ right, dense @ right)
