"""Hollows that nobody can reach."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.geometry.hollows import enclosed, joined_to_border


def samples(seed: int, inside_share: float) -> torch.Tensor:
    """Random ones within a border that is outside."""
    is_outside = torch.ones(9, 11, 10, dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    is_outside[1:-1, 1:-1, 1:-1] = torch.rand(7, 9, 8, generator=generator) > inside_share
    return is_outside


def test_a_hollow_is_found_and_a_dent_is_not() -> None:
    """Of two chambers in a block, the one with a bent way out is reached."""
    is_outside = torch.ones(9, 9, 9, dtype=torch.bool)
    is_outside[1:8, 1:8, 1:8] = False
    is_outside[2, 2, 2] = is_outside[5, 5, 5] = is_outside[5, 5, 6] = is_outside[5, 6, 6] = is_outside[5, 7, 6] = True
    assert enclosed(is_outside).nonzero().tolist() == [[2, 2, 2]]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.2, 0.9))
def test_both_ways_of_searching_agree(seed: int, inside_share: float) -> None:
    """Every outside sample is either enclosed or joined to the border."""
    is_outside = samples(seed, inside_share)
    reached = joined_to_border(is_outside)
    assert torch.equal(enclosed(is_outside), is_outside & ~reached)
    assert not (reached & ~is_outside).any()
