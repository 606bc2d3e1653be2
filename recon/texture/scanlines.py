"""Scan conversion of flat triangles: every texel that each triangle covers, overlapping or not."""

import torch

from recon.arrays import Float, Int, Tensor
from recon.raster.zbuffer import expand_counts


def covered_texels(
    positions_px: Float[Tensor, "u 2"], face_corners: Int[Tensor, "f 3"]
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Every (face, row, column) whose texel centre a triangle covers.

    Two triangles that share an edge by its corners' numbers never share a texel along it and leave none out.
    """
    corner_y = positions_px[face_corners, 1]
    first_row = (corner_y.amin(1) - 0.5).ceil().long()
    last_row = (corner_y.amax(1) - 0.5).ceil().long()  # half-open
    line_face, line = expand_counts(last_row - first_row)
    row = first_row[line_face] + line
    low_x, high_x = _crossings(positions_px, face_corners[line_face], row.to(positions_px.dtype) + 0.5)
    first_column, last_column = (low_x - 0.5).ceil().long(), (high_x - 0.5).ceil().long()
    span, step = expand_counts(last_column - first_column)
    return line_face[span], row[span], first_column[span] + step


def _crossings(
    positions_px: Float[Tensor, "u 2"], triangle: Int[Tensor, "m 3"], y_px: Float[Tensor, " m"]
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Where horizontal lines enter and leave triangles; an empty span where they miss."""
    ahead = triangle.roll(-1, 1)
    upper, lower = positions_px[torch.minimum(triangle, ahead)], positions_px[torch.maximum(triangle, ahead)]
    y = y_px[:, None]
    crosses = (upper[..., 1] <= y) != (lower[..., 1] <= y)
    run = lower[..., 1] - upper[..., 1]
    x = upper[..., 0] + (y - upper[..., 1]) / torch.where(crosses, run, torch.ones_like(run)) * (lower - upper)[..., 0]
    is_hit = crosses.any(1)
    low = torch.where(crosses, x, torch.inf).amin(1)
    high = torch.where(crosses, x, -torch.inf).amax(1)
    return torch.where(is_hit, low, 0.0), torch.where(is_hit, high, 0.0)
