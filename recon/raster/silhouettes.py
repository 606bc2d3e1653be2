"""Antialiasing of silhouettes, which makes them differentiable (Laine et al. 2020, section 3.5).

A pixel pair that straddles a silhouette edge is blended by where the edge crosses between the two centres.
The paper looks at the edges of the face that a pixel shows; here the edges themselves are walked row by row and
column by column, so that silhouettes made of faces smaller than a pixel are found as well.
"""

from dataclasses import dataclass, fields, replace

import torch

from recon import frames
from recon.arrays import Bool, Float, Int, Tensor
from recon.raster.interface import Fragments
from recon.raster.zbuffer import NEAR_Z_M, expand_counts, pixel_range
from recon.scene import CameraBatch
from recon.sums import rows_at, sum_rows_at

SNAP_PX = 1 / 16
"""A rasteriser may snap vertices by this much, so that a pixel whose centre an edge nearly touches shows the other
side; the pair then begins one pixel further in or out, and its coverage lies a little outside 0..1."""


@dataclass(frozen=True)
class EdgeTable:
    """Undirected edges of a mesh and the faces around them.

    Attributes:
        vertices: Lower vertex number first.
        edge_of_side: For side i of face f (corner i to corner i + 1), its edge.
        is_forward: Whether that side runs from the lower to the higher vertex number.
        face_count: Faces around every edge: 1 on a boundary, 2 inside.
    """

    vertices: Int[Tensor, "e 2"]
    edge_of_side: Int[Tensor, "f 3"]
    is_forward: Bool[Tensor, "f 3"]
    face_count: Int[Tensor, " e"]


class EdgeCache:
    """Remembers the edge table of the faces asked for last: an optimiser asks for the same ones at every step."""

    def __init__(self) -> None:
        self._faces: Tensor | None = None
        self._version = -1
        self._table: EdgeTable | None = None

    def of(self, faces: Int[Tensor, "f 3"]) -> EdgeTable:
        """The edge table; rebuilt when it is another tensor or was written to."""
        if self._table is None or self._faces is not faces or self._version != faces._version:
            self._table, self._faces, self._version = edge_table(faces), faces, faces._version
        return self._table


@dataclass(frozen=True)
class PixelPairs:
    """Neighbouring pixels with a silhouette edge between their centres.

    Attributes:
        inner_pixel, outer_pixel: Flat indices; the inner one sees the surface that ends at the edge.
        vertices: The edge.
        view: Its camera.
        line_px: The row's (column's) centre on which both pixel centres lie.
        inner_px: The inner centre along that line.
        direction: +1 where the outer pixel is to the right (below), else -1.
        axis: 0 for pixels beside one another, 1 for pixels above one another.
    """

    inner_pixel: Int[Tensor, " p"]
    outer_pixel: Int[Tensor, " p"]
    vertices: Int[Tensor, "p 2"]
    view: Int[Tensor, " p"]
    line_px: Float[Tensor, " p"]
    inner_px: Float[Tensor, " p"]
    direction: Float[Tensor, " p"]
    axis: Int[Tensor, " p"]


def edge_table(faces: Int[Tensor, "f 3"]) -> EdgeTable:
    """Find the undirected edges of a mesh."""
    ahead = faces.roll(-1, 1)
    sides = torch.stack([torch.minimum(faces, ahead), torch.maximum(faces, ahead)], -1).view(-1, 2)
    stride = int(faces.max()) + 1 if faces.numel() else 1
    keys, edge_of_side, face_count = torch.unique(
        sides[:, 0] * stride + sides[:, 1], return_inverse=True, return_counts=True
    )
    vertices = torch.stack([keys // stride, keys % stride], 1)
    return EdgeTable(vertices, edge_of_side.view(-1, 3), faces < ahead, face_count)


def silhouette_sides(
    edges: EdgeTable, pixels_px: Float[Tensor, "k v 2"], depth_z_m: Float[Tensor, "k v"], faces: Int[Tensor, "f 3"]
) -> Int[Tensor, "k e"]:
    """On which side of its edge the surface lies, where all faces of the edge lie on one side.

    Returns:
        +1 where the surface lies clockwise (as seen in the picture) of the direction from the edge's first to its
        second vertex, -1 where it lies the other way, 0 where the edge is no silhouette or touches the near plane.
    """
    counts = edges.face_count.to(torch.int32)
    a, b, c = pixels_px[:, faces].unbind(2)
    is_clockwise = (b - a)[..., 0] * (c - a)[..., 1] - (b - a)[..., 1] * (c - a)[..., 0] > 0
    side = torch.where(is_clockwise[..., None] == edges.is_forward, 1, -1).to(torch.int32)
    first_edge = len(counts) * torch.arange(len(side), device=side.device)[:, None]
    places = (first_edge + edges.edge_of_side.flatten()).flatten()
    total = counts.new_zeros(len(side) * len(counts)).index_add_(0, places, side.flatten()).view(len(side), -1)
    in_front = (depth_z_m[:, edges.vertices] > NEAR_Z_M).all(2)
    return torch.where((total.abs() == counts) & in_front, total.sign(), 0).long()


def find_pairs(
    edges: EdgeTable,
    fragments: Fragments,
    pixels_px: Float[Tensor, "k v 2"],
    depth_z_m: Float[Tensor, "k v"],
    faces: Int[Tensor, "f 3"],
) -> PixelPairs:
    """All pixel pairs that straddle a visible silhouette edge; no gradients."""
    sides = silhouette_sides(edges, pixels_px, depth_z_m, faces)
    view, edge = torch.nonzero(sides, as_tuple=True)
    vertices = edges.vertices[edge]
    ends = view[:, None], vertices
    outline = _Outline(view, vertices, sides[view, edge], pixels_px[ends], 1 / depth_z_m[ends])
    beside = _crossings(0, outline, fragments.face_index.shape)
    above = _crossings(1, outline, fragments.face_index.shape)
    pairs, reach_px, edge_z_m = _joined(beside[0], above[0]), *map(torch.cat, zip(beside[1:], above[1:], strict=True))
    is_visible = _is_visible(pairs, edge_z_m, fragments, depth_z_m, faces)
    for step, is_near in ((-1, reach_px < SNAP_PX), (1, reach_px > 1 - SNAP_PX)):
        moved, is_inside = _moved(pairs, step, fragments.face_index.shape)
        takes_over = ~is_visible & is_near & is_inside
        takes_over &= _is_visible(moved, edge_z_m, fragments, depth_z_m, faces)
        pairs, is_visible = _either(takes_over, moved, pairs), is_visible | takes_over
    kept = torch.nonzero(is_visible).squeeze(1)
    return _chosen(pairs, kept[_outermost(_chosen(pairs, kept), reach_px[kept])])


def _is_visible(
    pairs: PixelPairs,
    edge_z_m: Float[Tensor, " p"],
    fragments: Fragments,
    depth_z_m: Float[Tensor, "k v"],
    faces: Int[Tensor, "f 3"],
) -> Bool[Tensor, " p"]:
    """Whether the inner pixel shows a surface, and the outer one nothing or something behind the edge."""
    face_index = fragments.face_index.flatten()
    inner_face, outer_face = face_index[pairs.inner_pixel], face_index[pairs.outer_pixel]
    outer_corners_z_m = depth_z_m[pairs.view[:, None], faces[outer_face.clamp_min(0)]]
    outer_z_m = (fragments.barycentrics.reshape(-1, 3)[pairs.outer_pixel] * outer_corners_z_m).sum(1)
    return (inner_face >= 0) & (inner_face != outer_face) & ((outer_face < 0) | (edge_z_m < outer_z_m))


def _moved(pairs: PixelPairs, step: int, shape: torch.Size) -> tuple[PixelPairs, Bool[Tensor, " p"]]:
    """The pairs one pixel further out (+1) or in (-1), and which of them are still in the picture."""
    stride = torch.where(pairs.axis == 0, 1, shape[2])
    length = torch.where(pairs.axis == 0, shape[2], shape[1])
    inner = pairs.inner_px + step * pairs.direction
    outer = inner + pairs.direction
    is_inside = (torch.minimum(inner, outer) > 0) & (torch.maximum(inner, outer) < length)
    offset = torch.where(is_inside, step * pairs.direction.long() * stride, 0)
    moved = replace(
        pairs, inner_pixel=pairs.inner_pixel + offset, outer_pixel=pairs.outer_pixel + offset, inner_px=inner
    )
    return moved, is_inside


def _either(chosen: Bool[Tensor, " p"], one: PixelPairs, other: PixelPairs) -> PixelPairs:
    """Row by row, the first where chosen, else the second."""
    columns = [(getattr(one, item.name), getattr(other, item.name)) for item in fields(PixelPairs)]
    return PixelPairs(*(torch.where(chosen if a.ndim == 1 else chosen[:, None], a, b) for a, b in columns))


def blend_pairs(
    colours: Float[Tensor, "k h w c"], pairs: PixelPairs, positions_world: Float[Tensor, "v 3"], cameras: CameraBatch
) -> Float[Tensor, "k h w c"]:
    """Blend each pair by the share of the segment between its centres that the inner surface covers.

    Differentiable in the colours, the positions and the cameras.
    """
    ends_world = rows_at(positions_world, pairs.vertices.flatten()).view(-1, 2, 3)
    ends_camera = frames.transform_points(cameras.camera_from_world.index_select(0, pairs.view), ends_world)
    focal_px = cameras.focal_px.index_select(0, pairs.view)[:, None]
    principal_px = cameras.principal_px.index_select(0, pairs.view)[:, None]
    ends_px = ends_camera[..., :2] / ends_camera[..., 2:] * focal_px + principal_px
    is_beside = (pairs.axis == 0)[:, None]
    along = torch.where(is_beside, ends_px[..., 0], ends_px[..., 1])
    across = torch.where(is_beside, ends_px[..., 1], ends_px[..., 0])
    share = (pairs.line_px - across[:, 0]) / (across[:, 1] - across[:, 0])
    crossing_px = along[:, 0] + share * (along[:, 1] - along[:, 0])
    covered = ((crossing_px - pairs.inner_px) * pairs.direction).clamp(-SNAP_PX, 1 + SNAP_PX)[:, None]
    flat = colours.flatten(0, 2)
    difference = rows_at(flat, pairs.inner_pixel) - rows_at(flat, pairs.outer_pixel)
    changed = torch.where(covered[:, 0] > 0.5, pairs.outer_pixel, pairs.inner_pixel)
    return (flat + sum_rows_at(changed, (covered - 0.5) * difference, flat.shape[0])).view_as(colours)


@dataclass(frozen=True)
class _Outline:
    """Silhouette edges of all views: camera, vertices, where the surface lies, and the projected ends."""

    view: Int[Tensor, " s"]
    vertices: Int[Tensor, "s 2"]
    side: Int[Tensor, " s"]
    ends_px: Float[Tensor, "s 2 2"]
    ends_inverse_z: Float[Tensor, "s 2"]


def _crossings(
    axis: int, outline: _Outline, shape: torch.Size
) -> tuple[PixelPairs, Float[Tensor, " p"], Float[Tensor, " p"]]:
    """Pairs along one axis that silhouette edges cross, how far from the inner centre, and at what depth.

    Only edges steeper than 45 degrees to the axis count, as in the paper: a row then sees each stretch of outline
    once, and coverages over a row add up to the covered area.
    """
    along, across = outline.ends_px[..., axis], outline.ends_px[..., 1 - axis]
    run, rise = along[:, 1] - along[:, 0], across[:, 1] - across[:, 0]
    is_steep = (rise.abs() >= run.abs()) if axis == 0 else (rise.abs() > run.abs())
    low, high = pixel_range(across.amin(1), across.amax(1), shape[1 + axis])
    edge, line = expand_counts(torch.where(is_steep, high - low, 0).clamp_min(0))
    line = line + low[edge]
    line_px = line.to(along.dtype) + 0.5
    share = (line_px - across[edge, 0]) / rise[edge]
    crossing_px = along[edge, 0] + share * run[edge]
    first = (crossing_px - 0.5).floor()
    inside = torch.nonzero((first >= 0) & (first < shape[2 - axis] - 1)).squeeze(1)
    edge, line, line_px, share, crossing_px, first = (
        values[inside] for values in (edge, line, line_px, share, crossing_px, first)
    )
    direction = (outline.side[edge] * rise[edge].sign()).to(along.dtype) * (1 if axis == 0 else -1)
    inner = first.long() + (direction < 0)
    outer = first.long() + (direction > 0)
    view = outline.view[edge]
    stride, line_stride = (1, shape[2]) if axis == 0 else (shape[2], 1)
    start = view * (shape[1] * shape[2]) + line * line_stride
    inner_pixel, outer_pixel = start + inner * stride, start + outer * stride
    inner_px = inner.to(along.dtype) + 0.5
    axes = torch.full_like(view, axis)
    pairs = PixelPairs(inner_pixel, outer_pixel, outline.vertices[edge], view, line_px, inner_px, direction, axes)
    start_w, end_w = outline.ends_inverse_z[edge].unbind(1)
    return pairs, (crossing_px - inner_px) * direction, 1 / (start_w + share * (end_w - start_w))


def _outermost(pairs: PixelPairs, reach_px: Float[Tensor, " p"]) -> Int[Tensor, " q"]:
    """Of several edges between the same two centres the one that covers most: coverage is that of their union."""
    by_reach = torch.argsort(reach_px)
    key = pairs.inner_pixel * 4 + pairs.axis * 2 + (pairs.direction > 0)
    sorted_key, order = torch.sort(key[by_reach], stable=True)
    is_last = torch.ones_like(sorted_key, dtype=torch.bool)
    is_last[:-1] = sorted_key[1:] != sorted_key[:-1]
    return by_reach[order[is_last]]


def _chosen(pairs: PixelPairs, rows: Int[Tensor, " q"]) -> PixelPairs:
    return PixelPairs(*(getattr(pairs, item.name)[rows] for item in fields(pairs)))


def _joined(one: PixelPairs, other: PixelPairs) -> PixelPairs:
    return PixelPairs(*(torch.cat([getattr(one, item.name), getattr(other, item.name)]) for item in fields(one)))
