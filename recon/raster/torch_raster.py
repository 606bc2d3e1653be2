"""The readable reference rasteriser: plain PyTorch, on any device.

Triangles are expanded to scanlines and scanlines to pixels, all at once; a scatter-minimum over
(depth, face) keys keeps the nearest.  Edge crossings are computed from endpoints in a fixed order, so
that neighbouring triangles never leave a gap and never draw a pixel twice.
"""

import torch

from recon import frames
from recon.arrays import Bool, Float, Int, Tensor
from recon.raster.interface import Fragments
from recon.scene import CameraBatch

NEAR_Z_M = 1e-4
"""Faces that touch this plane are not drawn; no capture has its object this close."""

_NOTHING = torch.iinfo(torch.int64).max


class TorchRasterizer:
    """See ``recon.raster.interface.Rasterizer``."""

    name = "torch"

    def rasterize(
        self, positions_world: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"], cameras: CameraBatch
    ) -> Fragments:
        with torch.no_grad():
            pixels_px, depth_z_m = cameras.project(positions_world)
            face_index = torch.stack(
                [
                    _nearest_faces(pixels_px[k], depth_z_m[k], faces, cameras.height_px, cameras.width_px)
                    for k in range(cameras.count)
                ]
            )
        return Fragments(face_index, _barycentrics(face_index, positions_world, faces, cameras))

    def interpolate(
        self, attributes: Float[Tensor, "a c"], corners: Int[Tensor, "f 3"], fragments: Fragments
    ) -> Float[Tensor, "k h w c"]:
        hit_mask = fragments.hit_mask
        corner_values = attributes[corners[fragments.face_index[hit_mask]]]
        values = (corner_values * fragments.barycentrics[hit_mask][..., None]).sum(1)
        picture = values.new_zeros(*hit_mask.shape, attributes.shape[1])
        return picture.masked_scatter(hit_mask[..., None], values)

    def sample_texture(
        self, texture: Float[Tensor, "th tw c"], uv: Float[Tensor, "k h w 2"], hit_mask: Bool[Tensor, "k h w"]
    ) -> Float[Tensor, "k h w c"]:
        values = bilinear(texture, uv[hit_mask])
        picture = values.new_zeros(*hit_mask.shape, texture.shape[2])
        return picture.masked_scatter(hit_mask[..., None], values)


def bilinear(texture: Float[Tensor, "th tw c"], uv: Float[Tensor, "n 2"]) -> Float[Tensor, "n c"]:
    """Look a texture up (u right, v up, clamped at the border); differentiable in the texture."""
    height, width = texture.shape[:2]
    x = (uv[:, 0] * width - 0.5).clamp(0, width - 1)
    y = ((1 - uv[:, 1]) * height - 0.5).clamp(0, height - 1)
    left, top = x.floor().clamp_max(width - 2).long(), y.floor().clamp_max(height - 2).long()
    weight_x, weight_y = (x - left)[:, None], (y - top)[:, None]
    texels = texture.reshape(height * width, -1)
    corner = top * width + left
    upper = texels[corner] * (1 - weight_x) + texels[corner + 1] * weight_x
    lower = texels[corner + width] * (1 - weight_x) + texels[corner + width + 1] * weight_x
    return upper * (1 - weight_y) + lower * weight_y


def _expand(counts: Int[Tensor, " n"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """For item i repeated counts[i] times: which item each row belongs to, and its position 0, 1, ... there."""
    item = torch.repeat_interleave(torch.arange(counts.shape[0], device=counts.device), counts)
    starts = torch.cumsum(counts, 0) - counts
    return item, torch.arange(item.shape[0], device=counts.device) - starts[item]


def _nearest_faces(
    pixels_px: Float[Tensor, "v 2"], depth_z_m: Float[Tensor, " v"], faces: Int[Tensor, "f 3"], height_px: int, width_px: int
) -> Int[Tensor, "h w"]:
    """Z-buffer of one camera: the face at every pixel centre, or -1."""
    in_front = (depth_z_m[faces] > NEAR_Z_M).all(1)
    face_of = torch.nonzero(in_front).squeeze(1)
    triangle = faces[face_of]
    corner_y = pixels_px[triangle, 1]
    first_row = (corner_y.amin(1) - 0.5).ceil().clamp(0, height_px).long()
    last_row = (corner_y.amax(1) - 0.5).ceil().clamp(0, height_px).long()  # half-open
    row_item, row_offset = _expand((last_row - first_row).clamp_min(0))
    row = first_row[row_item] + row_offset
    low_x, high_x = _scanline_span(pixels_px, triangle[row_item], row.to(pixels_px.dtype) + 0.5)
    first_column = (low_x - 0.5).ceil().clamp(0, width_px).long()
    last_column = (high_x - 0.5).ceil().clamp(0, width_px).long()
    span_item, span_offset = _expand((last_column - first_column).clamp_min(0))
    column = first_column[span_item] + span_offset
    pixel_row = row[span_item]
    drawn = row_item[span_item]

    # 1/z is affine over the screen: evaluate the face's plane, relative to its first corner for precision.
    origin_px = pixels_px[triangle[:, 0]]
    edges_px = pixels_px[triangle[:, 1:]] - origin_px[:, None]
    inverse_z = 1 / depth_z_m[triangle]
    rise = inverse_z[:, 1:] - inverse_z[:, :1]
    determinant = edges_px[:, 0, 0] * edges_px[:, 1, 1] - edges_px[:, 0, 1] * edges_px[:, 1, 0]
    determinant = torch.where(determinant.abs() < 1e-20, torch.full_like(determinant, 1e-20), determinant)
    slope_x = (rise[:, 0] * edges_px[:, 1, 1] - rise[:, 1] * edges_px[:, 0, 1]) / determinant
    slope_y = (rise[:, 1] * edges_px[:, 0, 0] - rise[:, 0] * edges_px[:, 1, 0]) / determinant
    offset_x = column + 0.5 - origin_px[drawn, 0]
    offset_y = pixel_row + 0.5 - origin_px[drawn, 1]
    inverse = inverse_z[drawn, 0] + slope_x[drawn] * offset_x + slope_y[drawn] * offset_y
    nearest, farthest = inverse_z.amax(1)[drawn], inverse_z.amin(1)[drawn]
    depth_key = (1 / inverse.clamp(farthest, nearest)).float().view(torch.int32).long()

    keys = (depth_key << 32) | face_of[drawn]
    buffer = torch.full((height_px * width_px,), _NOTHING, dtype=torch.int64, device=faces.device)
    buffer.scatter_reduce_(0, pixel_row * width_px + column, keys, "amin")
    return torch.where(buffer == _NOTHING, -1, buffer & 0xFFFFFFFF).view(height_px, width_px)


def _scanline_span(
    pixels_px: Float[Tensor, "v 2"], triangle: Int[Tensor, "m 3"], y_px: Float[Tensor, " m"]
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Where a horizontal line enters and leaves each triangle; an empty span where it misses."""
    low_x = torch.full_like(y_px, torch.inf)
    high_x = torch.full_like(y_px, -torch.inf)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        one, two = triangle[:, start], triangle[:, end]
        upper, lower = torch.minimum(one, two), torch.maximum(one, two)  # the same order in both faces of an edge
        upper_px, lower_px = pixels_px[upper], pixels_px[lower]
        crosses = (upper_px[:, 1] <= y_px) != (lower_px[:, 1] <= y_px)
        run = lower_px[:, 1] - upper_px[:, 1]
        share = (y_px - upper_px[:, 1]) / torch.where(crosses, run, torch.ones_like(run))
        x = upper_px[:, 0] + share * (lower_px[:, 0] - upper_px[:, 0])
        low_x = torch.where(crosses, torch.minimum(low_x, x), low_x)
        high_x = torch.where(crosses, torch.maximum(high_x, x), high_x)
    return low_x, high_x


def _barycentrics(
    face_index: Int[Tensor, "k h w"], positions_world: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"], cameras: CameraBatch
) -> Float[Tensor, "k h w 3"]:
    """Perspective-correct weights at hit pixels.

    A corner p of the face is sheared to q = p.xy - slope * p.z, its offset from the pixel's ray; the weights
    are the areas that the ray's foot spans with the other two corners.  Small differences are formed first,
    so single precision is enough for faces of a pixel's size.
    """
    hit_mask = face_index >= 0
    view_index, row, column = torch.nonzero(hit_mask, as_tuple=True)
    positions_camera = frames.transform_points(cameras.camera_from_world, positions_world[None])
    flat = positions_camera.flatten(0, 1)
    corners = flat[faces[face_index[hit_mask]] + (view_index * positions_world.shape[0])[:, None]]
    centre_px = torch.stack([column, row], 1).to(flat.dtype) + 0.5
    slope = (centre_px - cameras.principal_px[view_index]) / cameras.focal_px[view_index]
    offset = corners[..., :2] - slope[:, None] * corners[..., 2:]
    a, b, c = offset.unbind(1)
    weights = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], 1)
    total = weights.sum(1, keepdim=True)
    weights = weights / torch.where(total.abs() < 1e-30, torch.ones_like(total), total)
    picture = weights.new_zeros(*face_index.shape, 3)
    return picture.masked_scatter(hit_mask[..., None], weights)


def _cross(a: Float[Tensor, "n 2"], b: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
