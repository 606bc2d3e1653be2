"""Solids in front of plain backgrounds, as a studio photographs them."""

import torch

import scenes
from recon.colour import linear_from_srgb, srgb_from_linear
from recon.scene import batch_cameras

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


def white_on_white(scene: scenes.Scene, brightest_srgb: float = 0.9) -> tuple[torch.Tensor, torch.Tensor]:
    """A white solid under soft light in front of brighter white (0.97); the picture and the true coverage."""
    camera = scenes.orbit6_cameras(scene, SIZE_PX)[0]
    rendered = scenes.render(scene, camera)
    cameras = batch_cameras([camera], SIZE_PX, SIZE_PX, "cpu", torch.float64)
    positions = cameras.unproject(torch.from_numpy(rendered.depth_z_m)[None])[0].numpy()
    axis = camera.world_from_camera[:3, 2].numpy()
    facing = torch.zeros(SIZE_PX, SIZE_PX)
    hit = rendered.hit_mask
    facing[torch.from_numpy(hit)] = torch.from_numpy(abs(scene.normals_world(positions[hit]) @ axis)).float()
    light = linear_from_srgb(brightest_srgb * (0.75 + 0.25 * facing)[..., None].expand(-1, -1, 3))
    alpha = rendered.alpha[..., None]
    picture = srgb_from_linear(light * alpha + linear_from_srgb(torch.full_like(light, 0.97)) * (1 - alpha))
    picture = picture + 0.003 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    return (picture.clamp(0, 1) * 255).round() / 255, rendered.alpha
