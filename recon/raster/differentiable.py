"""What is drawn at the pixels that see a face, with gradients that come out the same every time.

Which face a pixel sees is known here, and has no gradient; both backends find it in their own way.
"""

import torch

from recon import frames
from recon.arrays import Bool, Float, Int, Tensor
from recon.raster.barycentrics import Hits, corner_offsets, weights_from_offsets
from recon.raster.textures import bilinear, trilinear
from recon.scene import CameraBatch
from recon.sums import rows_at

OUTSIDE = 1e-3
"""Weights below minus this are of a pixel outside the face, not of rounding."""


def corner_weights(
    hits: Hits, positions_world: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"], cameras: CameraBatch
) -> Float[Tensor, "n 3"]:
    """Barycentrics where a face is seen; differentiable in the positions and the cameras."""
    positions_camera = frames.transform_points(cameras.camera_from_world, positions_world[None])
    parts = [weights_from_offsets(corner_offsets(part, positions_camera, faces, cameras)) for part in hits.passes()]
    return torch.cat(parts)


def with_gradient(
    barycentrics: Float[Tensor, "k h w 3"],
    hits: Hits,
    positions_world: Float[Tensor, "v 3"],
    faces: Int[Tensor, "f 3"],
    cameras: CameraBatch,
) -> Float[Tensor, "k h w 3"]:
    """A rasteriser's barycentrics with their gradient, where the face that it found covers the pixel's centre.

    Elsewhere, since it snapped the face's corners, they stay as they are: carried on beyond a sliver, weights and
    their gradients have no bound.
    """
    found = barycentrics.flatten(0, 2)
    weights = corner_weights(hits, positions_world, faces, cameras)
    is_covered = (weights.detach() > -OUTSIDE).all(1, keepdim=True)
    weights = torch.where(is_covered, weights, found.index_select(0, hits.pixel))
    return found.index_copy(0, hits.pixel, weights).view_as(barycentrics)


def interpolated(
    attributes: Float[Tensor, "a c"], corners: Int[Tensor, "f 3"], hits: Hits, barycentrics: Float[Tensor, "k h w 3"]
) -> Float[Tensor, "k h w c"]:
    """See ``Rasterizer.interpolate``."""
    weights = barycentrics.reshape(-1, 3).index_select(0, hits.pixel)
    values = blend(attributes, corners.index_select(0, hits.face), weights)
    return scattered(values, hits.pixel, barycentrics.shape[:3])


def textured(
    texture: Float[Tensor, "th tw c"],
    uv: Float[Tensor, "k h w 2"],
    hit_mask: Bool[Tensor, "k h w"],
    uv_per_px: Float[Tensor, "k h w 2 2"] | None,
) -> Float[Tensor, "k h w c"]:
    """See ``Rasterizer.sample_texture``."""
    hit_index = torch.nonzero(hit_mask.flatten()).squeeze(1)
    uv_at_hits = uv.reshape(-1, 2).index_select(0, hit_index)
    if uv_per_px is None:
        values = bilinear(texture, uv_at_hits)
    else:
        values = trilinear(texture, uv_at_hits, uv_per_px.reshape(-1, 2, 2).index_select(0, hit_index))
    return scattered(values, hit_index, hit_mask.shape)


def scattered(values: Float[Tensor, "n c"], index: Int[Tensor, " n"], shape: torch.Size) -> Float[Tensor, "k h w c"]:
    """A picture with the values at the given flat pixels and zero elsewhere."""
    blank = values.new_zeros(shape.numel(), values.shape[1])
    return blank.index_copy(0, index, values).view(*shape, values.shape[1])


def blend(
    attributes: Float[Tensor, "a c"], corner: Int[Tensor, "n 3"], weights: Float[Tensor, "n 3"]
) -> Float[Tensor, "n c"]:
    """Sum of corner attributes times weights."""
    blended = rows_at(attributes, corner[:, 0]) * weights[:, :1]
    for i in (1, 2):
        blended = blended + rows_at(attributes, corner[:, i]) * weights[:, i : i + 1]
    return blended
