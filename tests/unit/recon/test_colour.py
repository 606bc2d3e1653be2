"""sRGB encoding against the standard's own numbers."""

import pytest
import torch

from recon.colour import linear_from_srgb, srgb_from_linear


@pytest.mark.parametrize(
    ("srgb", "linear"),
    [(0.0, 0.0), (1.0, 1.0), (0.04045, 0.04045 / 12.92), (0.5, 0.21404114), (128 / 255, 0.21586050), (0.2, 0.03310477)],
)
def test_known_values(srgb: float, linear: float) -> None:
    """Both directions give IEC 61966-2-1's values."""
    found = linear_from_srgb(torch.tensor(srgb, dtype=torch.float64)).item()
    assert found == pytest.approx(linear, abs=1e-7)
    assert srgb_from_linear(torch.tensor(linear, dtype=torch.float64)).item() == pytest.approx(srgb, abs=1e-6)


def test_round_trip_keeps_every_8_bit_value() -> None:
    """Decoding and encoding again returns all 256 codes exactly."""
    codes = torch.arange(256) / 255
    assert torch.equal((srgb_from_linear(linear_from_srgb(codes)) * 255).round(), torch.arange(256.0))


def test_rises_without_a_step() -> None:
    """Monotonic, and the two pieces of the curve meet within a rounding of the standard's constants."""
    srgb = torch.linspace(0, 1, 20001, dtype=torch.float64)
    steps = linear_from_srgb(srgb).diff()
    assert steps.min() > 0
    assert steps.max() < 3 * 5e-5
    limit = torch.tensor([0.04045, 0.04045 + 1e-12], dtype=torch.float64)
    assert linear_from_srgb(limit).diff().abs().item() < 1e-7


@pytest.mark.parametrize("convert", [linear_from_srgb, srgb_from_linear])
def test_gradients_are_finite_everywhere(convert: object) -> None:
    """Black, white and both sides of the toe have the slope that finite differences show."""
    assert callable(convert)
    values = torch.tensor([0.0, 1e-4, 0.002, 0.0033, 0.03, 0.05, 0.7, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(convert, values, eps=1e-7, atol=1e-5)
