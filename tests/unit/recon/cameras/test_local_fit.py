"""Robust local quadratics through depth maps."""

import pytest
import torch

from recon.cameras.local_fit import estimate_noise, fit_depth


def _quadratic(size_px: int = 40) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size_px).double(), torch.arange(size_px).double(), indexing="ij")
    return 1 + 2e-3 * x - 1e-3 * y + 1e-5 * (x - 20) ** 2 + 2e-5 * (x - 20) * (y - 20)


def test_quadratic_surface_is_kept_exactly() -> None:
    """A surface that is a quadratic comes back unchanged, with its slopes."""
    depth = _quadratic()
    fit = fit_depth(depth, torch.ones_like(depth, dtype=torch.bool), 3, 1e-3)
    inner = (slice(5, -5), slice(5, -5))
    assert torch.allclose(fit.depth[inner], depth[inner], atol=1e-6)
    slope_y, slope_x = torch.gradient(depth)
    assert torch.allclose(fit.slope_x[inner], slope_x[inner], atol=1e-6)
    assert torch.allclose(fit.slope_y[inner], slope_y[inner], atol=1e-6)


def test_depth_edge_is_not_smeared() -> None:
    """Pixels beside a jump keep the depth of their own side."""
    depth = torch.ones(30, 30, dtype=torch.float64)
    depth[:, 15:] = 1.5
    fit = fit_depth(depth, torch.ones_like(depth, dtype=torch.bool), 3, 1e-3)
    assert (fit.depth - depth).abs().max() < 1e-4


def test_noise_is_averaged_away() -> None:
    """The fit is several times closer to the true surface than the measurements are."""
    depth = _quadratic()
    noise = 1e-3 * torch.randn(depth.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    fit = fit_depth(depth + noise, torch.ones_like(depth, dtype=torch.bool), 5, 1e-3)
    inner = (slice(5, -5), slice(5, -5))
    assert (fit.depth - depth)[inner].std() < 0.35 * noise[inner].std()


@pytest.mark.parametrize("noise", [2e-4, 1e-3, 4e-3])
def test_noise_is_estimated_from_the_depth_itself(noise: float) -> None:
    """The estimate is within a third of the noise that was added, whatever the slope."""
    drawn = torch.randn(64, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    depth = _quadratic(64) + noise * drawn
    found = estimate_noise(depth, torch.ones_like(depth, dtype=torch.bool), 0.0)
    assert found == pytest.approx(noise, rel=0.35)


def test_noise_is_never_less_than_rounding() -> None:
    """A coarse file format has at least its rounding error."""
    depth = torch.ones(20, 20, dtype=torch.float64)
    assert estimate_noise(depth, torch.ones_like(depth, dtype=torch.bool), 0.1) == pytest.approx(0.1 / 12**0.5)


def test_empty_depth_has_rounding_noise_only() -> None:
    """Nothing measured means nothing to estimate from."""
    assert estimate_noise(torch.zeros(9, 9), torch.zeros(9, 9, dtype=torch.bool), 0.0) == 0.0
