"""A textured mesh as its cameras would photograph it."""

from dataclasses import dataclass, replace

import torch

from recon.arrays import Float, Int, Tensor
from recon.colour import linear_from_srgb, srgb_from_linear
from recon.raster import Rasterizer
from recon.scene import Camera, CameraBatch, TexturedMesh, batch_cameras

SAMPLES_PER_SIDE = 3
"""Box filter of 3 x 3 samples per pixel: with 2 x 2 the PSNR of a perfect result is some tenths of a dB lower."""

TILE_PX = 680
"""Pictures are drawn in tiles of at most 2040 samples a side, which bounds memory and suits every rasteriser."""

NEAR_Z_M = 1e-4
"""As the rasterisers' near plane."""


@dataclass(frozen=True)
class Surface:
    """A textured mesh on the raster's device, with its texture in linear light, where filtering is right."""

    positions_world: Float[Tensor, "v 3"]
    faces: Int[Tensor, "f 3"]
    uv: Float[Tensor, "u 2"]
    face_uv: Int[Tensor, "f 3"]
    texture_linear: Float[Tensor, "h w 3"]
    diagonal: float


@dataclass(frozen=True)
class FirstHits:
    """What lies first behind every pixel centre.

    Attributes:
        face_index: -1 where there is nothing.
        depth_z: Along the optical axis, in world units; 0 where there is nothing.
    """

    cameras: CameraBatch
    face_index: Int[Tensor, "h w"]
    depth_z: Float[Tensor, "h w"]


def surface_on(textured: TexturedMesh, device: torch.device) -> Surface:
    """Move a mesh to a device and prepare its texture."""
    return Surface(
        textured.mesh.positions_world.detach().to(device, torch.float32),
        textured.mesh.faces.to(device),
        textured.uv.detach().to(device, torch.float32),
        textured.face_uv.to(device),
        linear_from_srgb(textured.texture_srgb.detach().to(device, torch.float32)),
        textured.mesh.diagonal_m(),
    )


@torch.no_grad()
def photograph(surface: Surface, camera: Camera, raster: Rasterizer) -> Float[Tensor, "h w 4"]:
    """Draw unlit, box-filtered in linear light: straight sRGB and coverage, at the camera's own size."""
    height_px, width_px = camera.intrinsics.height_px, camera.intrinsics.width_px
    picture = torch.zeros(height_px, width_px, 4, device=surface.faces.device)
    whole = batch_cameras([camera], height_px, width_px, surface.faces.device)
    left, top, right, bottom = _window_px(surface, whole)
    for y in range(top, bottom, TILE_PX):
        for x in range(left, right, TILE_PX):
            tile = _tile(whole, x, y, min(right - x, TILE_PX), min(bottom - y, TILE_PX))
            drawn = _draw(surface, tile, raster)
            picture[y : y + drawn.shape[0], x : x + drawn.shape[1]] = drawn
    return picture


def _draw(surface: Surface, cameras: CameraBatch, raster: Rasterizer) -> Float[Tensor, "h w 4"]:
    """One tile, with ``SAMPLES_PER_SIDE`` squared samples averaged into each pixel."""
    fragments = raster.rasterize(surface.positions_world, surface.faces, cameras)
    hit_mask = fragments.hit_mask
    uv = raster.interpolate(surface.uv, surface.face_uv, fragments)
    colours = raster.sample_texture(surface.texture_linear, uv, hit_mask)
    samples = torch.cat([colours * hit_mask[..., None], hit_mask[..., None].to(colours)], -1)
    filtered = torch.nn.functional.avg_pool2d(samples.permute(0, 3, 1, 2), SAMPLES_PER_SIDE)[0].permute(1, 2, 0)
    coverage = filtered[..., 3:]
    straight_linear = filtered[..., :3] / coverage.clamp_min(1e-6)
    straight_srgb = srgb_from_linear(straight_linear.clamp(0, 1)) * (coverage > 0)
    return torch.cat([straight_srgb, coverage], -1)


@torch.no_grad()
def first_hits(surface: Surface, camera: Camera, height_px: int, width_px: int, raster: Rasterizer) -> FirstHits:
    """Rasterise at pixel centres on any grid with the camera's field of view."""
    cameras = batch_cameras([camera], height_px, width_px, surface.faces.device)
    fragments = raster.rasterize(surface.positions_world, surface.faces, cameras)
    _, vertex_depth_z = cameras.project(surface.positions_world)
    depth_z = raster.interpolate(vertex_depth_z[0, :, None].contiguous(), surface.faces, fragments)
    return FirstHits(cameras, fragments.face_index[0].int(), depth_z[0, ..., 0])  # int: kept for every view at once


def over_white(rgba: Float[Tensor, "h w 4"]) -> Float[Tensor, "h w 3"]:
    """Composite straight sRGB on white, in sRGB as image tools do."""
    return rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:])


def _window_px(surface: Surface, cameras: CameraBatch) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels that the mesh can reach."""
    pixels_px, depth_z = cameras.project(surface.positions_world)
    if not bool((depth_z > NEAR_Z_M).all()):
        return 0, 0, cameras.width_px, cameras.height_px
    size_px = torch.tensor([cameras.width_px, cameras.height_px], device=pixels_px.device)
    low = (pixels_px[0].amin(0).floor() - 1).clamp_min(0).minimum(size_px).long().tolist()
    high = (pixels_px[0].amax(0).ceil() + 1).clamp_min(0).minimum(size_px).long().tolist()
    return low[0], low[1], high[0], high[1]


def _tile(whole: CameraBatch, left: int, top: int, width_px: int, height_px: int) -> CameraBatch:
    """A part of the picture, with several samples per pixel."""
    offset_px = torch.tensor([left, top], dtype=whole.principal_px.dtype, device=whole.device)
    return replace(
        whole,
        focal_px=whole.focal_px * SAMPLES_PER_SIDE,
        principal_px=(whole.principal_px - offset_px) * SAMPLES_PER_SIDE,
        height_px=height_px * SAMPLES_PER_SIDE,
        width_px=width_px * SAMPLES_PER_SIDE,
    )
