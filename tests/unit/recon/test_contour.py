"""Distances to the outline of a mask."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.contour import FAR_PX, contour_distance_px, contour_distances_px


def disc(radius_px: float, size_px: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Coverage by a disc a little off the middle, and the true distance of every pixel centre."""
    y, x = torch.meshgrid(torch.arange(size_px) + 0.5, torch.arange(size_px) + 0.5, indexing="ij")
    true_px = torch.hypot(x - 0.47 * size_px, y - 0.52 * size_px) - radius_px
    return (0.5 - true_px).clamp(0, 1), true_px


@pytest.mark.parametrize("size_px", [64, 300])
def test_distances_are_right_near_the_outline_and_far_from_it(size_px: int) -> None:
    """To 0.06 pixels on average within five pixels of the outline; far away to the pixel that a crossing may be off."""
    alpha, true_px = disc(0.3 * size_px, size_px)
    error_px = (contour_distance_px(alpha) - true_px).abs()
    assert error_px[true_px.abs() < 5].mean() < 0.06
    assert error_px.max() < 1.3  # a pixel beside the contour is at most one from its crossing


def test_an_upright_edge_is_exact() -> None:
    """Left of an edge at x = 7.3 the distance is 7.3 minus the pixel's centre, right of it the other way round."""
    columns = torch.arange(20) + 0.5
    alpha = (columns - 7.3 + 0.5).clamp(0, 1).expand(12, 20)
    distance_px = contour_distance_px(alpha)
    # The contour of the interpolated coverage lies where neighbouring centres straddle one half.
    crossing_px = 6.5 + (0.5 - alpha[0, 6]) / (alpha[0, 7] - alpha[0, 6])
    assert torch.allclose(distance_px, (crossing_px - columns).expand(12, 20), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40))
def test_signs_follow_the_mask(seed: int, height: int, width: int) -> None:
    """Whatever the mask: negative exactly where it covers more than half, and never further than the picture."""
    alpha = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    distance_px = contour_distance_px(alpha)
    assert torch.equal(distance_px < 0, alpha > 0.5)
    if bool((alpha > 0.5).any()) and not bool((alpha > 0.5).all()):
        assert distance_px.abs().max() <= (height**2 + width**2) ** 0.5


def test_no_outline_is_far_away() -> None:
    """Empty masks are far outside, full ones far inside."""
    assert (contour_distance_px(torch.zeros(5, 7)) == FAR_PX).all()
    assert (contour_distance_px(torch.ones(5, 7)) == -FAR_PX).all()


def test_several_masks_get_what_each_gets_alone() -> None:
    """Masks of different sizes, at the same time and in order, bit for bit."""
    alphas = [disc(0.2 * size_px, size_px)[0] for size_px in (40, 64, 30)]
    for alpha, distance_px in zip(alphas, contour_distances_px(alphas), strict=True):
        assert torch.equal(distance_px, contour_distance_px(alpha))
