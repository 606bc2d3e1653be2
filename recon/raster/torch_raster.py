"""The readable reference rasteriser: plain PyTorch, on any device.

Visibility is found without gradients (``zbuffer``); barycentrics are then computed with gradients at the pixels
that see something, and silhouettes are made differentiable by blending pixel pairs (``silhouettes``).
"""

from dataclasses import dataclass

import torch

from recon import frames
from recon.arrays import Bool, Float, Int, Tensor
from recon.raster import silhouettes
from recon.raster.barycentrics import Hits, corner_offsets, find_hits, weights_per_px
from recon.raster.differentiable import blend, corner_weights, interpolated, scattered, textured
from recon.raster.interface import Fragments
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
        barycentrics = scattered(corner_weights(hits, positions_world, faces, cameras), hits.pixel, face_index.shape)
        drawing = _Drawing(hits, pixels_px, depth_z_m, positions_camera, faces, cameras)
        return Fragments(face_index, barycentrics, drawing)

    def interpolate(
        self, attributes: Float[Tensor, "a c"], corners: Int[Tensor, "f 3"], fragments: Fragments
    ) -> Float[Tensor, "k h w c"]:
        return interpolated(attributes, corners, _drawing(fragments).hits, fragments.barycentrics)

    def differentiate(
        self, attributes: Float[Tensor, "a c"], corners: Int[Tensor, "f 3"], fragments: Fragments
    ) -> Float[Tensor, "k h w c 2"]:
        drawing, shape = _drawing(fragments), fragments.face_index.shape
        with torch.no_grad():
            parts = []
            for part in drawing.hits.passes():
                offsets = corner_offsets(part, drawing.positions_camera, drawing.faces, drawing.cameras)
                corner = corners.index_select(0, part.face)
                changes = [blend(attributes, corner, change) for change in weights_per_px(offsets).unbind(2)]
                parts.append(torch.stack(changes, 2).flatten(1))
            picture = scattered(torch.cat(parts), drawing.hits.pixel, shape)
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
        return textured(texture, uv, hit_mask, uv_per_px)


def _drawing(fragments: Fragments) -> _Drawing:
    if not isinstance(fragments.backend, _Drawing):
        raise TypeError("these fragments were made by another rasteriser")
    return fragments.backend
