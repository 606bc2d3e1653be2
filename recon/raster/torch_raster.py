"""The readable reference rasteriser: plain PyTorch, on any device.

Visibility is found without gradients (``zbuffer``); barycentrics are then computed with gradients at the pixels
that see something, and silhouettes are made differentiable by blending pixel pairs (``silhouettes``).
"""

from dataclasses import dataclass

import torch

from recon import frames
from recon.arrays import Bool, Float, Int, Tensor
from recon.raster import silhouettes
from recon.raster.barycentrics import Hits, corner_offsets, find_hits, weights_from_offsets, weights_per_px
from recon.raster.interface import Fragments
from recon.raster.textures import bilinear, trilinear
from recon.raster.zbuffer import nearest_faces
from recon.scene import CameraBatch


@dataclass(frozen=True)
class _Drawing:
    """What rasterize keeps for the calls that follow; without gradients.

    Attributes:
        hits: The pixels that see a face.
        pixels_px, depth_z_m: Projected vertices.
        positions_camera, faces, cameras: As drawn.
    """

    hits: Hits
    pixels_px: Float[Tensor, "k v 2"]
    depth_z_m: Float[Tensor, "k v"]
    positions_camera: Float[Tensor, "k v 3"]
    faces: Int[Tensor, "f 3"]
    cameras: CameraBatch


class TorchRasterizer:
    """See ``recon.raster.interface.Rasterizer``."""

    name = "torch"

    def __init__(self) -> None:
        self._edges = silhouettes.EdgeCache()

    def rasterize(
        self, positions_world: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"], cameras: CameraBatch
    ) -> Fragments:
        with torch.no_grad():
            pixels_px, depth_z_m = cameras.project(positions_world)
            face_index = nearest_faces(pixels_px, depth_z_m, faces, (cameras.height_px, cameras.width_px))
            hits = find_hits(face_index)
        positions_camera = frames.transform_points(cameras.camera_from_world, positions_world[None])
        weights = torch.cat(
            [weights_from_offsets(corner_offsets(part, positions_camera, faces, cameras)) for part in hits.passes()]
        )
        barycentrics = _scattered(weights, hits.pixel, face_index.shape)
        drawing = _Drawing(hits, pixels_px, depth_z_m, positions_camera.detach(), faces, cameras)
        return Fragments(face_index, barycentrics, drawing)

    def interpolate(
        self, attributes: Float[Tensor, "a c"], corners: Int[Tensor, "f 3"], fragments: Fragments
    ) -> Float[Tensor, "k h w c"]:
        hits = _drawing(fragments).hits
        weights = fragments.barycentrics.reshape(-1, 3).index_select(0, hits.pixel)
        values = _blend(attributes, corners.index_select(0, hits.face), weights)
        return _scattered(values, hits.pixel, fragments.face_index.shape)

    def differentiate(
        self, attributes: Float[Tensor, "a c"], corners: Int[Tensor, "f 3"], fragments: Fragments
    ) -> Float[Tensor, "k h w c 2"]:
        drawing, shape = _drawing(fragments), fragments.face_index.shape
        with torch.no_grad():
            parts = []
            for part in drawing.hits.passes():
                offsets = corner_offsets(part, drawing.positions_camera, drawing.faces, drawing.cameras)
                corner = corners.index_select(0, part.face)
                changes = [_blend(attributes, corner, change) for change in weights_per_px(offsets).unbind(2)]
                parts.append(torch.stack(changes, 2).flatten(1))
            picture = _scattered(torch.cat(parts), drawing.hits.pixel, shape)
        return picture.view(*shape, -1, 2)

    def antialias(
        self,
        colours: Float[Tensor, "k h w c"],
        fragments: Fragments,
        positions_world: Float[Tensor, "v 3"],
        faces: Int[Tensor, "f 3"],
        cameras: CameraBatch,
    ) -> Float[Tensor, "k h w c"]:
        drawing = _drawing(fragments)
        with torch.no_grad():
            edges = self._edges.of(faces)
            pairs = silhouettes.find_pairs(edges, fragments, drawing.pixels_px, drawing.depth_z_m, faces)
        return silhouettes.blend_pairs(colours, pairs, positions_world, cameras)

    def sample_texture(
        self,
        texture: Float[Tensor, "th tw c"],
        uv: Float[Tensor, "k h w 2"],
        hit_mask: Bool[Tensor, "k h w"],
        uv_per_px: Float[Tensor, "k h w 2 2"] | None = None,
    ) -> Float[Tensor, "k h w c"]:
        hit_index = torch.nonzero(hit_mask.flatten()).squeeze(1)
        uv_at_hits = uv.reshape(-1, 2).index_select(0, hit_index)
        if uv_per_px is None:
            values = bilinear(texture, uv_at_hits)
        else:
            values = trilinear(texture, uv_at_hits, uv_per_px.reshape(-1, 2, 2).index_select(0, hit_index))
        return _scattered(values, hit_index, hit_mask.shape)


def _drawing(fragments: Fragments) -> _Drawing:
    if not isinstance(fragments.backend, _Drawing):
        raise TypeError("these fragments were made by another rasteriser")
    return fragments.backend


def _scattered(values: Float[Tensor, "n c"], index: Int[Tensor, " n"], shape: torch.Size) -> Float[Tensor, "k h w c"]:
    """A picture with the values at the given flat pixels and zero elsewhere."""
    blank = values.new_zeros(shape.numel(), values.shape[1])
    return blank.index_copy(0, index, values).view(*shape, values.shape[1])


def _blend(
    attributes: Float[Tensor, "a c"], corner: Int[Tensor, "n 3"], weights: Float[Tensor, "n 3"]
) -> Float[Tensor, "n c"]:
    """Sum of corner attributes times weights.

    Gathers with index_select: its gradient adds up in a fixed order on a CPU, unlike that of advanced indexing.
    """
    blended = attributes.index_select(0, corner[:, 0]) * weights[:, :1]
    for i in (1, 2):
        blended = blended + attributes.index_select(0, corner[:, i]) * weights[:, i : i + 1]
    return blended
