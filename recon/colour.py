"""sRGB and linear light (IEC 61966-2-1)."""

import torch

from recon.arrays import Float, Tensor


def linear_from_srgb(srgb: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Decode 0..1 sRGB to 0..1 linear light; differentiable."""
    toe = srgb / 12.92
    curve = ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, toe, curve)


def srgb_from_linear(linear: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Encode 0..1 linear light to 0..1 sRGB; differentiable."""
    toe = linear * 12.92
    curve = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, toe, curve)
