"""Texture look-up: bilinear, and trilinear between levels of a mip-map.

Texture coordinates have u to the right and v up; row 0 of a texture is its top.  Beyond the border the
nearest texel counts.
"""

import torch

from recon.arrays import Float, Int, Tensor
from recon.sums import rows_at


def bilinear(texture: Float[Tensor, "th tw c"], uv: Float[Tensor, "n 2"]) -> Float[Tensor, "n c"]:
    """Blend the four texels around each coordinate; differentiable in the texture and the coordinates."""
    height, width = texture.shape[:2]
    sizes = uv.new_tensor([width, height]).expand_as(uv)
    first_texel = torch.zeros(uv.shape[0], dtype=torch.int64, device=uv.device)
    return _look_up(texture.reshape(height * width, -1), first_texel, sizes, uv)


def trilinear(
    texture: Float[Tensor, "th tw c"], uv: Float[Tensor, "n 2"], uv_per_px: Float[Tensor, "n 2 2"]
) -> Float[Tensor, "n c"]:
    """Average over a pixel's footprint by blending two levels of a mip-map (Williams 1983).

    Args:
        texture: Halved level by level with a box filter; differentiable.
        uv: Texture coordinates; differentiable.
        uv_per_px: Change of (u, v) per pixel right and per pixel down, last axis (right, down).

    Returns:
        Colours; where a pixel is smaller than a texel the same as ``bilinear``.
    """
    texels, first_texels, sizes = _mip_map(texture)
    level_count = first_texels.shape[0]
    size = uv.new_tensor([texture.shape[1], texture.shape[0]])
    level = _footprint_texels(uv_per_px * size[:, None]).log2().clamp(0, level_count - 1)
    finer = level.floor().clamp_max(max(level_count - 2, 0)).long()
    coarser = (finer + 1).clamp_max(level_count - 1)
    share = (level - finer).detach()[:, None]
    fine = _look_up(texels, first_texels[finer], sizes[finer].to(uv.dtype), uv)
    coarse = _look_up(texels, first_texels[coarser], sizes[coarser].to(uv.dtype), uv)
    return fine * (1 - share) + coarse * share


def exact_halvings(height: int, width: int) -> int:
    """How often both sides of a texture halve without a remainder: the levels of its mip-map beyond the first."""
    count = 0
    while min(height, width) > 1 and height % 2 == 0 and width % 2 == 0:
        height, width, count = height // 2, width // 2, count + 1
    return count


def _footprint_texels(texels_per_px: Float[Tensor, "n 2 2"]) -> Float[Tensor, " n"]:
    """Long axis of the ellipse that a pixel covers: the larger singular value."""
    gram = texels_per_px @ texels_per_px.transpose(1, 2)
    middle, half = (gram[:, 0, 0] + gram[:, 1, 1]) / 2, (gram[:, 0, 0] - gram[:, 1, 1]) / 2
    return (middle + torch.hypot(half, gram[:, 0, 1])).clamp_min(1e-12).sqrt()


def _mip_map(texture: Float[Tensor, "th tw c"]) -> tuple[Float[Tensor, "t c"], Int[Tensor, " l"], Int[Tensor, "l 2"]]:
    """All levels behind one another: texels, each level's first texel and its (width, height)."""
    level = texture.permute(2, 0, 1)[None]
    levels = [texture.reshape(-1, texture.shape[2])]
    sizes = [(texture.shape[1], texture.shape[0])]
    for _ in range(exact_halvings(texture.shape[0], texture.shape[1])):
        level = torch.nn.functional.avg_pool2d(level, 2)
        levels.append(level[0].flatten(1).T)
        sizes.append((level.shape[3], level.shape[2]))
    counts = torch.tensor([width * height for width, height in sizes], device=texture.device)
    return torch.cat(levels), torch.cumsum(counts, 0) - counts, torch.tensor(sizes, device=texture.device)


def _look_up(
    texels: Float[Tensor, "t c"], first_texel: Int[Tensor, " n"], sizes: Float[Tensor, "n 2"], uv: Float[Tensor, "n 2"]
) -> Float[Tensor, "n c"]:
    """Bilinear look-up in pictures that lie behind one another; ``sizes`` are (width, height)."""
    last = sizes - 1
    place = torch.stack([uv[:, 0] * sizes[:, 0], (1 - uv[:, 1]) * sizes[:, 1]], 1) - 0.5
    place = torch.minimum(place.clamp_min(0), last)
    corner = torch.minimum(place.detach().floor(), (last - 1).clamp_min(0))
    weight_x, weight_y = (place - corner)[:, :1], (place - corner)[:, 1:]
    width = sizes[:, 0].long()
    upper_left = first_texel + corner[:, 1].long() * width + corner[:, 0].long()
    right = (sizes[:, 0] > 1).long()
    down = torch.where(sizes[:, 1] > 1, width, torch.zeros_like(width))
    places = torch.cat([upper_left, upper_left + right, upper_left + down, upper_left + down + right])
    upper_start, upper_end, lower_start, lower_end = rows_at(texels, places).chunk(4)
    upper = upper_start * (1 - weight_x) + upper_end * weight_x
    lower = lower_start * (1 - weight_x) + lower_end * weight_x
    return upper * (1 - weight_y) + lower * weight_y
