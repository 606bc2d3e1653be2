"""Which face does every pixel centre see?  Plain PyTorch, on any device.

Triangles are expanded to scanlines and scanlines to pixels, all at once; a scatter-maximum over
(inverse depth, face) keys keeps the nearest.  Both faces of an edge compute the same crossings, so that
neighbouring triangles leave no gap and draw no pixel twice.  Inverse depth is interpolated along
the edges and then along the scanline: it is affine over the screen, and so it cannot leave the face's own range.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch

from recon.arrays import Float, Int, Tensor

NEAR_Z_M = 1e-4
"""Faces that touch this plane are not drawn; no capture has its object this close."""

_FACES_PER_PASS = {"cpu": 1 << 16, "cuda": 1 << 22}
"""Bounds the memory of the scanline tables (about 250 bytes a face); small enough on a CPU to stay in its cache."""

_PIXELS_PER_PASS = {"cpu": 1 << 20, "cuda": 1 << 25}
"""Bounds the memory of the pixel lists (about 70 bytes a pixel)."""

_EMPTY = -1


@dataclass(frozen=True)
class _Spans:
    """Runs of pixels that one face covers in one row.

    Attributes:
        length_px: Number of pixels, at least 1.
        start: Flat index of the first pixel, and the face.
        inverse_z: At the first pixel's centre, and its change per pixel.
    """

    length_px: Int[Tensor, " s"]
    start: Int[Tensor, "s 2"]
    inverse_z: Float[Tensor, "s 2"]


def nearest_faces(
    pixels_px: Float[Tensor, "k v 2"],
    depth_z_m: Float[Tensor, "k v"],
    faces: Int[Tensor, "f 3"],
    size_px: tuple[int, int],
) -> Int[Tensor, "k h w"]:
    """The nearest face at every pixel centre, or -1; both sides of a face are drawn.

    Args:
        pixels_px: Projected vertices.
        depth_z_m: Their depths; a face with a corner nearer than ``NEAR_Z_M`` is left out.
        faces: Corners of every face.
        size_px: Height and width of the picture.
    """
    height_px, width_px = size_px
    view_count, device = pixels_px.shape[0], faces.device
    is_drawable = (depth_z_m > NEAR_Z_M) & pixels_px.isfinite().all(-1)
    inverse_z = torch.where(is_drawable, 1 / depth_z_m, -1.0)
    vertices = torch.cat([pixels_px, inverse_z[..., None]], -1).flatten(0, 1)
    buffer = torch.full((view_count * height_px * width_px,), _EMPTY, dtype=torch.int64, device=device)
    item_count = view_count * faces.shape[0]
    step = _FACES_PER_PASS.get(device.type, 1 << 22)
    for first in range(0, item_count, step):
        items = torch.arange(first, min(first + step, item_count), device=device)
        spans = _spans(items, vertices, faces, pixels_px.shape[1], size_px)
        for part in _passes(spans):
            item, offset = expand_counts(part.length_px)
            start, depth = part.start.index_select(0, item), part.inverse_z.index_select(0, item)
            # The bits of positive floats order like the floats.
            nearness = (depth[:, 0] + depth[:, 1] * offset).clamp_min(1e-30).float().view(torch.int32).long()
            buffer.scatter_reduce_(0, start[:, 0] + offset, (nearness << 32) | start[:, 1], "amax")
    return torch.where(buffer == _EMPTY, -1, buffer & 0xFFFFFFFF).view(view_count, height_px, width_px)


def _spans(
    items: Int[Tensor, " i"],
    vertices: Float[Tensor, "n 3"],
    faces: Int[Tensor, "f 3"],
    vertex_count: int,
    size_px: tuple[int, int],
) -> _Spans:
    """Scan-convert (view, face) pairs, numbered view * face_count + face; ``vertices`` are (x, y, 1/z) per view."""
    height_px, width_px = size_px
    view, face = items // faces.shape[0], items % faces.shape[0]
    triangle = faces.index_select(0, face) + (view * vertex_count)[:, None]
    a, b, c = (vertices.index_select(0, triangle[:, corner]) for corner in range(3))
    low, high = torch.minimum(torch.minimum(a, b), c), torch.maximum(torch.maximum(a, b), c)
    first_column, last_column = pixel_range(low[:, 0], high[:, 0], width_px)
    first_row, last_row = pixel_range(low[:, 1], high[:, 1], height_px)
    kept = torch.nonzero((low[:, 2] > 0) & (first_column < last_column) & (first_row < last_row)).squeeze(1)
    first_row = first_row[kept]
    line, row = expand_counts(last_row[kept] - first_row)
    row += first_row.index_select(0, line)
    low_xw, high_xw = _crossings(vertices, triangle[kept], line, row)
    first_column, last_column = pixel_range(low_xw[:, 0], high_xw[:, 0], width_px)
    drawn = torch.nonzero(first_column < last_column).squeeze(1)
    low_x, low_w = low_xw[drawn].unbind(1)
    high_x, high_w = high_xw[drawn].unbind(1)
    item, first_column = kept[line[drawn]], first_column[drawn]
    slope = (high_w - low_w) / (high_x - low_x)
    first_pixel = (view[item] * height_px + row[drawn]) * width_px + first_column
    first_w = low_w + (first_column + 0.5 - low_x) * slope
    return _Spans(
        last_column[drawn] - first_column, torch.stack([first_pixel, face[item]], 1), torch.stack([first_w, slope], 1)
    )


def _crossings(
    vertices: Float[Tensor, "n 3"], triangle: Int[Tensor, "t 3"], line: Int[Tensor, " m"], row: Int[Tensor, " m"]
) -> tuple[Float[Tensor, "m 2"], Float[Tensor, "m 2"]]:
    """(x, 1/z) where the centre line of ``row`` enters and leaves triangle ``line``.

       top o
           |\\        Every row between top and bottom crosses the long edge, and above the middle corner the
           | \\       upper short edge, below it the lower one.
           |  o mid
           | /
    bottom o
    """
    top, middle, bottom = _by_height(vertices[:, 1].contiguous(), triangle)
    edges = torch.stack(
        [_edge_line(vertices, *ends) for ends in ((top, bottom), (top, middle), (middle, bottom))], 1
    ).flatten(0, 1)
    y_px = row.to(vertices.dtype) + 0.5
    is_below = y_px >= vertices[:, 1].index_select(0, middle).index_select(0, line)
    first = _at_height(edges.index_select(0, 3 * line), y_px)
    second = _at_height(edges.index_select(0, 3 * line + 1 + is_below), y_px)
    is_ordered = first[:, :1] < second[:, :1]
    return torch.where(is_ordered, first, second), torch.where(is_ordered, second, first)


def _by_height(
    heights: Float[Tensor, " n"], triangle: Int[Tensor, "t 3"]
) -> tuple[Int[Tensor, " t"], Int[Tensor, " t"], Int[Tensor, " t"]]:
    """The corners in rising order; three exchanges are much faster than a sort of three."""
    corners = [*triangle.unbind(1)]
    keys = [heights.index_select(0, corner) for corner in corners]
    for i, j in ((0, 1), (1, 2), (0, 1)):
        is_ordered = keys[i] <= keys[j]
        keys[i], keys[j] = torch.minimum(keys[i], keys[j]), torch.maximum(keys[i], keys[j])
        corners[i], corners[j] = (
            torch.where(is_ordered, corners[i], corners[j]),
            torch.where(is_ordered, corners[j], corners[i]),
        )
    return corners[0], corners[1], corners[2]


def _edge_line(
    vertices: Float[Tensor, "n 3"], upper: Int[Tensor, " t"], lower: Int[Tensor, " t"]
) -> Float[Tensor, "t 8"]:
    """Edges as upper (x, y, 1/z), lower (x, y, 1/z), dx/dy, d(1/z)/dy."""
    start, end = vertices.index_select(0, upper), vertices.index_select(0, lower)
    change = end - start
    rise = torch.where(change[:, 1:2] == 0, 1.0, change[:, 1:2])
    return torch.cat([start, end, change[:, ::2] / rise], 1)


def _at_height(edges: Float[Tensor, "m 8"], y_px: Float[Tensor, " m"]) -> Float[Tensor, "m 2"]:
    """(x, 1/z) of edge lines at given heights.

    Both faces of an edge compute the very same numbers.  Measured from the nearer end, lines that meet in a vertex
    are exact there and keep their order beside it.
    """
    y = y_px[:, None]
    is_upper = y - edges[:, 1:2] <= edges[:, 4:5] - y
    near = torch.where(is_upper, edges[:, :3], edges[:, 3:6])
    return near[:, ::2] + (y - near[:, 1:2]) * edges[:, 6:]


def pixel_range(
    low: Float[Tensor, " n"], high: Float[Tensor, " n"], size_px: int
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Pixels whose centres lie in [low, high): first, and one past the last."""
    return (low - 0.5).ceil_().clamp_(0, size_px).long(), (high - 0.5).ceil_().clamp_(0, size_px).long()


def _passes(spans: _Spans) -> Iterator[_Spans]:
    """Cut a list of spans into lists of bounded pixel count."""
    budget = _PIXELS_PER_PASS.get(spans.length_px.device.type, 1 << 22)
    total = torch.cumsum(spans.length_px, 0)
    pixel_count = int(total[-1]) if total.numel() else 0
    if pixel_count <= budget:
        yield spans
        return
    limits = torch.arange(budget, pixel_count + budget, budget, device=total.device)
    cuts = [0, *torch.searchsorted(total, limits, right=True).tolist()]
    cuts[-1] = total.shape[0]
    for first, last in pairwise(cuts):
        yield _Spans(spans.length_px[first:last], spans.start[first:last], spans.inverse_z[first:last])


def expand_counts(counts: Int[Tensor, " n"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """For item i repeated counts[i] times: which item each row belongs to, and its position 0, 1, ... there."""
    item = torch.repeat_interleave(counts)
    starts = torch.cumsum(counts, 0) - counts
    return item, torch.arange(item.shape[0], device=counts.device) - starts.index_select(0, item)
