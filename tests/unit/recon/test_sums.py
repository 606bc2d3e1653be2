"""Sums of rows by place."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from recon.sums import sum_rows_at


@given(st.lists(st.integers(0, 6), max_size=40))
def test_every_place_gets_its_rows(places: list[int]) -> None:
    """As many as name it, each once; places that no row names stay zero."""
    index = torch.tensor(places, dtype=torch.long)
    rows = torch.arange(2.0 * len(places), dtype=torch.float64).view(-1, 2)
    expected = torch.nn.functional.one_hot(index, 7).double().T @ rows
    assert torch.equal(sum_rows_at(index, rows, 7), expected)
