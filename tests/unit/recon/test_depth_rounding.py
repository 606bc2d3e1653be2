"""Terraces of a coarse file format become the surface that was rounded, edges stay."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.depth_rounding import unround_depth

SIZE_PX, STEP_M = 128, 0.004


def rounded(depth_z_m: torch.Tensor, step_m: float = STEP_M) -> torch.Tensor:
    """What a format with such a step keeps of a depth: the middle of its interval."""
    return ((depth_z_m / step_m).floor() + 0.5) * step_m


def half_ball() -> tuple[torch.Tensor, torch.Tensor]:
    """Depth of a ball of 0.2 m, half a metre away, seen in parallel rays 4 mm apart, and where it is."""
    reach = (torch.arange(SIZE_PX) - SIZE_PX / 2 + 0.5) * 0.0035
    square = reach[:, None] ** 2 + reach[None] ** 2
    mask = square < 0.195**2
    return torch.where(mask, 0.5 - (0.04 - square).clamp_min(0).sqrt(), 0.0)[None], mask[None]


def test_a_ball_loses_its_terraces() -> None:
    """Steps wider than a pixel: the median error falls to less than a quarter, the mean to less than a third."""
    depth, mask = half_ball()
    coarse = torch.where(mask, rounded(depth), depth)
    smooth = unround_depth(coarse, mask, torch.tensor([STEP_M]))
    before, after = (coarse - depth).abs()[mask], (smooth - depth).abs()[mask]
    assert after.median() < before.median() / 4
    assert after.mean() < before.mean() / 3


def test_the_two_sides_of_an_edge_stay_apart() -> None:
    """Two slanted planes 30 steps apart, and a crease: beside them the error is no more than within the planes."""
    row, column = torch.meshgrid(torch.arange(SIZE_PX), torch.arange(SIZE_PX), indexing="ij")
    depth = 0.5 + 0.0007 * row + 0.0003 * column
    depth[:, SIZE_PX // 2 :] += 30.3 * STEP_M
    coarse = rounded(depth)
    smooth = unround_depth(coarse[None], torch.ones(1, SIZE_PX, SIZE_PX, dtype=torch.bool), torch.tensor([STEP_M]))[0]
    beside = slice(SIZE_PX // 2 - 3, SIZE_PX // 2 + 3)
    assert (smooth - depth)[:, beside].abs().mean() < (coarse - depth)[:, beside].abs().mean() / 3


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), height=st.integers(3, 70), width=st.integers(3, 70))
def test_the_result_rounds_to_what_was_given(seed: int, height: int, width: int) -> None:
    """Of any size and with any gaps: no pixel moves by more than half a step, and none outside the mask."""
    generator = np.random.default_rng(seed)
    depth = torch.from_numpy(generator.integers(100, 110, (2, height, width)) * STEP_M).float()
    mask = torch.from_numpy(generator.random((2, height, width)) < 0.8)
    step_m = torch.tensor([STEP_M, 0.0])
    smooth = unround_depth(depth, mask, step_m)
    assert (smooth - depth).abs().max() <= STEP_M / 2 + 1e-6
    assert torch.equal(smooth[~mask], depth[~mask])
    assert torch.equal(smooth[1], depth[1])
