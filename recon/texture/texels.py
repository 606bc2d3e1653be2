"""Where every texel lies on the surface."""

from dataclasses import dataclass

import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.raster.zbuffer import expand_counts
from recon.scene import TriangleMesh
from recon.texture.atlas import GUTTER_PX, Atlas
from recon.texture.scanlines import covered_texels

_CHUNK = 1 << 19
"""Texels handled at a time: bounds memory, and stays in the cache."""


@dataclass(frozen=True)
class Texels:
    """The texels of an atlas that mean something, in row-major order.

    Attributes:
        index: Row times texture side plus column.
        is_inside: The texel's centre lies in a face; the others are the gutter, which repeats the chart's border.
        face: The face under the centre, in the gutter the nearest one.
        barycentrics: Position in that face.
        positions_world, normals_world: The surface there (normals are smooth and of unit length).
        size_px: Side of the square texture.
    """

    index: Int[Tensor, " n"]
    is_inside: Bool[Tensor, " n"]
    face: Int[Tensor, " n"]
    barycentrics: Float[Tensor, "n 3"]
    positions_world: Float[Tensor, "n 3"]
    normals_world: Float[Tensor, "n 3"]
    size_px: int

    @property
    def count(self) -> int:
        return int(self.index.shape[0])

    def image(self, values: Float[Tensor, "n c"], outside: float = 0.0) -> Float[Tensor, "h w c"]:
        """Values laid out as a picture."""
        flat = values.new_full((self.size_px**2, values.shape[1]), outside)
        return flat.index_copy(0, self.index, values).view(self.size_px, self.size_px, -1)

    def slots(self) -> Int[Tensor, " t"]:
        """For every texel of the picture its row here, -1 outside."""
        slot = torch.full((self.size_px**2,), -1, dtype=torch.int64, device=self.index.device)
        return slot.index_copy(0, self.index, torch.arange(self.count, device=self.index.device))


def locate_texels(mesh: TriangleMesh, atlas: Atlas) -> Texels:
    """Find the surface point of every texel in a chart or its gutter."""
    size = atlas.size_px
    face_image = _face_image(atlas)
    reached = _add_outlines(face_image, atlas)
    for _ in range(GUTTER_PX):
        reached = _spread(reached)
    index = torch.nonzero(reached.view(-1) >= 0).squeeze(1)
    face = reached.view(-1)[index]
    is_inside = face_image.view(-1)[index] >= 0
    centre_px = torch.stack([index % size, index // size], 1).to(atlas.corners_px.dtype) + 0.5
    weights = torch.cat(
        [
            _barycentrics(points_px, atlas.corners_px[atlas.face_corners[faces]])
            for points_px, faces in zip(centre_px.split(_CHUNK), face.split(_CHUNK), strict=True)
        ]
    )
    positions = interpolate_corners(mesh.positions_world, mesh.faces, face, weights)
    normals = interpolate_corners(mesh.vertex_normals(), mesh.faces, face, weights)
    normals = torch.nn.functional.normalize(normals, dim=1, eps=1e-20)
    return Texels(index, is_inside, face, weights, positions, normals, size)


def interpolate_corners(
    values: Float[Tensor, "v c"],
    corners: Int[Tensor, "f 3"],
    face: Int[Tensor, " n"],
    barycentrics: Float[Tensor, "n 3"],
) -> Float[Tensor, "n c"]:
    """Mix vertex values at points of faces."""
    parts = [
        (values[corners[faces]] * weights[..., None]).sum(1)
        for faces, weights in zip(face.split(_CHUNK), barycentrics.split(_CHUNK), strict=True)
    ]
    return torch.cat(parts)


def _face_image(atlas: Atlas) -> Int[Tensor, "h w"]:
    """The face under every texel centre, -1 where there is none."""
    face, row, column = covered_texels(atlas.corners_px, atlas.face_corners)
    flat = torch.full((atlas.size_px**2,), -1, dtype=torch.int64, device=face.device)
    return flat.scatter_reduce(0, row * atlas.size_px + column, face, "amax").view(atlas.size_px, atlas.size_px)


def _add_outlines(face_image: Int[Tensor, "h w"], atlas: Atlas) -> Int[Tensor, "h w"]:
    """Also name the texels that a chart's outline crosses, so that the thinnest chart has some."""
    start = atlas.face_corners.reshape(-1)
    end = atlas.face_corners.roll(-1, 1).reshape(-1)
    key = torch.minimum(start, end) * atlas.corners_px.shape[0] + torch.maximum(start, end)
    _, edge, count = torch.unique(key, return_inverse=True, return_counts=True)
    border = torch.nonzero(count[edge] == 1).squeeze(1)
    from_px, to_px = atlas.corners_px[start[border]], atlas.corners_px[end[border]]
    step_count = (2 * (to_px - from_px).norm(dim=1)).ceil().long() + 1
    item, step = expand_counts(step_count)
    share = (step + 0.5) / step_count[item]
    point = torch.lerp(from_px[item], to_px[item], share[:, None]).floor().long().clamp(0, atlas.size_px - 1)
    flat = face_image.view(-1)
    place = point[:, 1] * atlas.size_px + point[:, 0]
    crossed = torch.full_like(flat, -1).scatter_reduce(0, place, border[item] // 3, "amax")
    return torch.where(flat >= 0, flat, crossed).view_as(face_image)


def _spread(face_image: Int[Tensor, "h w"]) -> Int[Tensor, "h w"]:
    """Give every empty texel beside a filled one its neighbour's face; edge neighbours go before diagonal ones."""
    padded = torch.nn.functional.pad(face_image[None], (1, 1, 1, 1), value=-1)[0]
    height, width = face_image.shape
    result = face_image
    for y, x in ((1, 0), (1, 2), (0, 1), (2, 1), (0, 0), (0, 2), (2, 0), (2, 2)):
        neighbour = padded[y : y + height, x : x + width]
        result = torch.where(result >= 0, result, neighbour)
    return result


def _barycentrics(points: Float[Tensor, "n 2"], corners: Float[Tensor, "n 3 2"]) -> Float[Tensor, "n 3"]:
    """Affine weights of points in triangles; points outside are brought to the border."""
    offset = corners - points[:, None]
    a, b, c = offset.unbind(1)
    weights = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], 1)
    total = weights.sum(1, keepdim=True)
    weights = (weights / torch.where(total.abs() < 1e-20, torch.full_like(total, 1e-20), total)).clamp_min(0)
    return weights / weights.sum(1, keepdim=True).clamp_min(1e-20)


def _cross(a: Float[Tensor, "n 2"], b: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
