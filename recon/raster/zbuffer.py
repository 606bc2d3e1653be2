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

from recon.arrays import Bool, Float, Int, Tensor

NEAR_Z_M = 1e-4
"""Faces that touch this plane are not drawn; no capture has its object this close."""

_FACES_PER_PASS = {"cpu": 1 << 16, "cuda": 1 << 21}
"""Bounds the memory of the scanline tables (about 250 bytes a face); small enough on a CPU to stay in its cache."""

_PIXELS_PER_PASS = {"cpu": 1 << 20, "cuda": 1 << 23}
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
    step = _FACES_PER_PASS.get(device.type, 1 << 16)
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
    crossings = _crossings(vertices, triangle[kept], line, row)
    first_column, last_column = pixel_range(crossings[0], crossings[2], width_px)
    drawn = torch.nonzero(first_column < last_column).squeeze(1)
    low_x, low_w, high_x, high_w = (values.index_select(0, drawn) for values in crossings)
    item, first_column = kept[line[drawn]], first_column[drawn]
    slope = (high_w - low_w) / (high_x - low_x)
    first_pixel = (view[item] * height_px + row[drawn]) * width_px + first_column
    first_w = low_w + (first_column + 0.5 - low_x) * slope
    return _Spans(
        last_column[drawn] - first_column, torch.stack([first_pixel, face[item]], 1), torch.stack([first_w, slope], 1)
    )


def _crossings(
    vertices: Float[Tensor, "n 3"], triangle: Int[Tensor, "t 3"], line: Int[Tensor, " m"], row: Int[Tensor, " m"]
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"], Float[Tensor, " m"], Float[Tensor, " m"]]:
    """x and 1/z where the centre line of ``row`` enters triangle ``line``, and x and 1/z where it leaves.

       top o
           |\\        Every row between top and bottom crosses the long edge, and above the middle corner the
           | \\       upper short edge, below it the lower one.
           |  o mid
           | /
    bottom o
    """
    top, middle, bottom = (vertices.index_select(0, corner) for corner in _by_height(vertices[:, 1], triangle))
    ends = torch.stack([top, middle, bottom], 1).flatten(0, 1)
    slopes = torch.stack([_slopes(top, bottom), _slopes(top, middle), _slopes(middle, bottom)], 1).flatten(0, 1)
    y_px = row.to(vertices.dtype) + 0.5
    top_px, middle_px, bottom_px = (corner[:, 1].index_select(0, line) for corner in (top, middle, bottom))
    is_below = y_px >= middle_px
    upper_px, lower_px = torch.where(is_below, middle_px, top_px), torch.where(is_below, bottom_px, middle_px)
    base = 3 * line
    long_end = base + 2 * _is_nearer_below(y_px, top_px, bottom_px)
    short_end = base + is_below + _is_nearer_below(y_px, upper_px, lower_px)
    long_x, long_w = _at_height(y_px, ends.index_select(0, long_end), slopes.index_select(0, base))
    short_x, short_w = _at_height(y_px, ends.index_select(0, short_end), slopes.index_select(0, base + 1 + is_below))
    enters_long = long_x < short_x
    return (
        torch.where(enters_long, long_x, short_x),
        torch.where(enters_long, long_w, short_w),
        torch.where(enters_long, short_x, long_x),
        torch.where(enters_long, short_w, long_w),
    )


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


def _slopes(upper: Float[Tensor, "t 3"], lower: Float[Tensor, "t 3"]) -> Float[Tensor, "t 2"]:
    """dx/dy and d(1/z)/dy of edges; the same in both faces of an edge."""
    change = lower - upper
    return change[:, ::2] / torch.where(change[:, 1:2] == 0, 1.0, change[:, 1:2])


def _is_nearer_below(
    y_px: Float[Tensor, " m"], upper_px: Float[Tensor, " m"], lower_px: Float[Tensor, " m"]
) -> Bool[Tensor, " m"]:
    """Whether the lower end of an edge is the nearer one.

    Measured from the nearer end, edges that meet in a vertex are exact there and keep their order beside it.
    """
    return y_px - upper_px > lower_px - y_px


def _at_height(
    y_px: Float[Tensor, " m"], ends: Float[Tensor, "m 3"], slopes: Float[Tensor, "m 2"]
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """x and 1/z of edges at given heights."""
    run_px = y_px - ends[:, 1]
    return ends[:, 0] + run_px * slopes[:, 0], ends[:, 2] + run_px * slopes[:, 1]


def pixel_range(
    low: Float[Tensor, " n"], high: Float[Tensor, " n"], size_px: int
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Pixels whose centres lie in [low, high): first, and one past the last."""
    return (low - 0.5).ceil_().clamp_(0, size_px).long(), (high - 0.5).ceil_().clamp_(0, size_px).long()


def _passes(spans: _Spans) -> Iterator[_Spans]:
    """Cut a list of spans into lists of bounded pixel count."""
    budget = _PIXELS_PER_PASS.get(spans.length_px.device.type, 1 << 16)
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
