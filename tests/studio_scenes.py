"""Solids in front of plain backgrounds, as a studio photographs them."""

import torch

import scenes
from recon.colour import linear_from_srgb, srgb_from_linear

SIZE_PX = 160


def photograph(scene, background, noise=0.004, has_shadow=False):
    """A solid in front of an even colour with a slight gradient; the picture and the true coverage."""
    rendered = scenes.render(scene, scenes.orbit6_cameras(scene, SIZE_PX)[0])
    y, x = torch.meshgrid(torch.linspace(0, 1, SIZE_PX), torch.linspace(0, 1, SIZE_PX), indexing="ij")
    backdrop = torch.tensor(background) * (1 - 0.06 * y[..., None])
    if has_shadow:
        bottom = torch.nonzero(rendered.alpha.amax(1) > 0.5).max() / SIZE_PX
        backdrop = backdrop * (1 - 0.3 * torch.exp(-(((y - bottom) / 0.1) ** 2) - ((x - 0.5) / 0.3) ** 2))[..., None]
    alpha = rendered.alpha[..., None]
    # A pixel on the rim collects the light of both: it blends in linear light.
    picture = srgb_from_linear(linear_from_srgb(rendered.image_srgb) * alpha + linear_from_srgb(backdrop) * (1 - alpha))
    picture = picture + noise * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    return (picture.clamp(0, 1) * 255).round() / 255, rendered


def iou(coverage, alpha):
    return float(((coverage > 0.5) & (alpha > 0.5)).sum() / ((coverage > 0.5) | (alpha > 0.5)).sum())
