"""Lay charts flat and pack them into a square.

The packing is the horizon ("Tetris") method of Lévy et al. 2002, section 5: charts fall, highest first, onto a
skyline, each where it wastes least.  Charts keep their true outline in columns of a few texels,
so concave neighbours nest.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.scene import TriangleMesh
from recon.texture.charts import Charts
from recon.texture.scanlines import covered_texels

_ANGLE_COUNT = 32
_SKYLINE_COLUMNS = 1500
_WIDTH_TRIALS = 5
_FAR = 1 << 30


@dataclass(frozen=True)
class Layout:
    """Chart corners on a flat plane, in texels.

    Attributes:
        vertex_of_corner: Mesh vertex of every row of ``positions_px``.
        chart_of_corner: Chart of every row.
        positions_px: x right, y down; each chart's own box starts at (0, 0) before packing.
        face_corners: For every face corner its row.
    """

    vertex_of_corner: Int[Tensor, " u"]
    chart_of_corner: Int[Tensor, " u"]
    positions_px: Float[Tensor, "u 2"]
    face_corners: Int[Tensor, "f 3"]


def project_charts(mesh: TriangleMesh, charts: Charts, texels_per_metre: float) -> Layout:
    """Project every chart along its direction and turn it so that its bounding box is small and upright."""
    vertex_count = mesh.positions_world.shape[0]
    key = charts.chart_of_face[:, None] * vertex_count + mesh.faces
    unique, corner = torch.unique(key, return_inverse=True)
    chart, vertex = unique // vertex_count, unique % vertex_count
    axis_x, axis_y = _plane_axes(charts.direction_world)
    position = mesh.positions_world[vertex]
    flat = torch.stack([(position * axis_x[chart]).sum(1), (position * axis_y[chart]).sum(1)], 1) * texels_per_metre
    angles = torch.arange(_ANGLE_COUNT, device=flat.device, dtype=flat.dtype) * (torch.pi / _ANGLE_COUNT)
    low, high = _bounds(_turn(flat, angles[:, None]), chart, charts.count)
    sizes = high - low  # angles, charts, 2
    area = sizes.prod(2) + torch.where(sizes[..., 0] > sizes[..., 1], torch.inf, 0.0)
    turned = _turn(flat, angles[area.argmin(0)][chart])
    low, _ = _bounds(turned, chart, charts.count)
    return Layout(vertex, chart, turned - low[chart], corner)


def _plane_axes(direction: Float[Tensor, "m 3"]) -> tuple[Float[Tensor, "m 3"], Float[Tensor, "m 3"]]:
    """Image axes (right, down) of parallel projections along directions that point towards the eye.

    A front-facing triangle keeps its orientation: counter-clockwise with y up is clockwise with y down.
    """
    helper = torch.zeros_like(direction).scatter(1, direction.abs().argmin(1, keepdim=True), 1.0)
    right = torch.nn.functional.normalize(torch.linalg.cross(helper, direction), dim=1)
    return right, -torch.linalg.cross(direction, right)


def _turn(points: Float[Tensor, "u 2"], angle_rad: Float[Tensor, "*a #u"]) -> Float[Tensor, "*a u 2"]:
    sine, cosine = angle_rad.sin(), angle_rad.cos()
    x, y = points.unbind(-1)
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], -1)


def _bounds(
    points: Float[Tensor, "*a u 2"], group: Int[Tensor, " u"], count: int
) -> tuple[Float[Tensor, "*a m 2"], Float[Tensor, "*a m 2"]]:
    index = group[:, None].expand(points.shape)
    low = points.new_full((*points.shape[:-2], count, 2), torch.inf).scatter_reduce(-2, index, points, "amin")
    high = points.new_full((*points.shape[:-2], count, 2), -torch.inf).scatter_reduce(-2, index, points, "amax")
    return low, high


def find_hidden_faces(mesh: TriangleMesh, charts: Charts, layout: Layout) -> Bool[Tensor, " f"]:
    """Faces that lie under another face of their own chart in its projection, by a texel or more."""
    face, row, column = covered_texels(layout.positions_px, layout.face_corners)
    chart = charts.chart_of_face[face]
    height, width = int(row.max()) + 1, int(column.max()) + 1
    key, order = torch.sort((chart * height + row) * width + column, stable=True)
    repeated = torch.nonzero(key[1:] == key[:-1]).squeeze(1)
    pair = torch.stack([face[order[repeated]], face[order[repeated + 1]]], 1)
    centroid = mesh.positions_world[mesh.faces[pair]].mean(2)
    elevation = (centroid * charts.direction_world[charts.chart_of_face[pair]]).sum(2)
    hidden = torch.zeros_like(charts.chart_of_face, dtype=torch.bool)
    hidden[pair.gather(1, elevation.argmin(1, keepdim=True))[:, 0]] = True
    return hidden


def pack_charts(layout: Layout, gutter_px: int) -> tuple[Layout, int]:
    """Place the charts without overlap; returns them with the side of the square that holds them, in texels."""
    corner_area = layout.positions_px[layout.face_corners]
    edge, other = corner_area[:, 1] - corner_area[:, 0], corner_area[:, 2] - corner_area[:, 0]
    side = float((edge[:, 0] * other[:, 1] - edge[:, 1] * other[:, 0]).abs().sum() / 2) ** 0.5
    column_px = 1 + int(side // _SKYLINE_COLUMNS)
    outlines = _chart_outlines(layout, gutter_px, column_px)
    area = sum(float((high - low).sum()) * column_px for low, high in outlines)
    width = max(area**0.5, max(len(low) for low, _ in outlines) * column_px)
    best_side, best_offsets = 0, np.zeros((0, 2), np.float32)
    for _ in range(_WIDTH_TRIALS):
        columns = int(width / column_px) + 1
        offsets, height = _drop(outlines, columns)
        side_px = max(columns * column_px, int(np.ceil(height)))
        if not best_side or side_px < best_side:
            best_side, best_offsets = side_px, offsets * np.array([column_px, 1], np.float32)
        if abs(height - width) < 0.01 * width:
            break
        width = max((width * height) ** 0.5, max(len(low) for low, _ in outlines) * column_px)
    shift = torch.from_numpy(best_offsets).to(layout.positions_px)[layout.chart_of_corner]
    shift[:, 0] += -(-gutter_px // column_px) * column_px
    shift[:, 1] += gutter_px
    return replace(layout, positions_px=layout.positions_px + shift), best_side


def _chart_outlines(layout: Layout, gutter_px: int, column_px: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """First and last row of each chart in every column, widened by the gutter on all sides."""
    face, row, column = covered_texels(layout.positions_px, layout.face_corners)
    corner_column, corner_row = layout.positions_px.floor().long().unbind(1)
    chart = torch.cat([layout.chart_of_corner[layout.face_corners[face, 0]], layout.chart_of_corner])
    column = torch.cat([column, corner_column]) // column_px
    row = torch.cat([row, corner_row])
    count = int(layout.chart_of_corner.max()) + 1
    widths = torch.zeros(count, dtype=torch.int64, device=row.device).scatter_reduce(0, chart, column + 1, "amax")
    starts = widths.cumsum(0) - widths
    slot = starts[chart] + column
    low = torch.full((int(widths.sum()),), _FAR, device=row.device).scatter_reduce(0, slot, row, "amin")
    high = torch.zeros_like(low).scatter_reduce(0, slot, row + 1, "amax")
    splits = starts.cpu().numpy()[1:]
    lows = np.split(low.cpu().numpy().astype(np.float32), splits)
    highs = np.split(high.cpu().numpy().astype(np.float32), splits)
    reach = -(-gutter_px // column_px)
    return [_widen(*outline, gutter_px, reach) for outline in zip(lows, highs, strict=True)]


def _widen(low: np.ndarray, high: np.ndarray, gutter_px: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Grow an outline by the gutter in rows and by ``reach`` columns, so that it starts at column and row zero."""
    low = np.pad(low, 2 * reach, constant_values=np.float32(_FAR))
    high = np.pad(high, 2 * reach, constant_values=np.float32(0))
    low = np.lib.stride_tricks.sliding_window_view(low, 2 * reach + 1).min(1)
    high = np.lib.stride_tricks.sliding_window_view(high, 2 * reach + 1).max(1) + 2 * gutter_px
    return np.minimum(low, high), high


def _drop(outlines: list[tuple[np.ndarray, np.ndarray]], column_count: int) -> tuple[np.ndarray, float]:
    """Let the charts fall onto the skyline, highest first; offsets (column, row) and the height used."""
    skyline = np.zeros(column_count, np.float32)
    offsets = np.zeros((len(outlines), 2), np.float32)
    order = sorted(range(len(outlines)), key=lambda index: (-float(outlines[index][1].max()), index))
    for index in order:
        low, high = outlines[index]
        column, row = _resting_place(skyline, low)
        skyline[column : column + len(low)] = row + high
        offsets[index] = column, row
    return offsets, float(skyline.max())


def _resting_place(skyline: np.ndarray, low: np.ndarray) -> tuple[int, float]:
    """Column and row where a chart comes to lie low and loses little room below itself."""
    ground = np.lib.stride_tricks.sliding_window_view(skyline, len(low)).T  # a row per column of the chart
    row = np.maximum((ground - low[:, None]).max(0), 0)
    total = np.concatenate([[0.0], np.cumsum(skyline, dtype=np.float64)])
    room = low.mean(dtype=np.float64) - (total[len(low) :] - total[: -len(low)]) / len(low)
    column = int((2 * row + room).argmin())
    return column, float(row[column])
