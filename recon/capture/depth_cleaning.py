"""Keep the depth that belongs to the object: inside its mask, and in pieces that hang together."""

from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from scipy.sparse import csgraph

from recon.arrays import Float, Tensor
from recon.capture.masks import resize_coverage
from recon.scene import DepthMap

_JUMP_FRACTION = 0.02
"""Neighbours farther apart than this share of their depth lie on different surfaces: at the usual field of view a
surface seen at 85 degrees from its normal still changes by less per pixel."""

_SPECK_FRACTION = 1e-3
"""Pieces smaller than this share of the largest are sensor noise or a renderer's stray pixels."""


def clean_depth(depth: DepthMap, coverage: Float[Tensor, "h w"]) -> DepthMap:
    """Drop depth outside the mask, and specks.

    Args:
        depth: On its own pixel grid.
        coverage: The object's coverage at the photograph's size.
    """
    height_px, width_px = depth.valid_mask.shape
    inside = resize_coverage(coverage, height_px, width_px) > 0.5
    valid = (depth.valid_mask & inside).numpy()
    kept = _drop_specks(depth.depth_z.numpy(), valid, depth.step_z)
    return replace(depth, valid_mask=torch.from_numpy(kept))


def _drop_specks(
    depth_z: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], step_z: float
) -> npt.NDArray[np.bool_]:
    """Keep the connected pieces of surface that are large enough."""
    rows, columns = np.flatnonzero(valid.any(1)), np.flatnonzero(valid.any(0))
    if not len(rows):
        return valid
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    kept = np.zeros_like(valid)
    kept[box] = _in_large_pieces(depth_z[box], valid[box], step_z)
    return kept


def _in_large_pieces(
    depth_z: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], step_z: float
) -> npt.NDArray[np.bool_]:
    """Neighbours are joined unless depth jumps between them.

    The graph's nodes are runs of joined pixels in a row, which are a hundred times fewer than pixels.
    """
    beside, *across = (_are_joined(depth_z, valid, step_z, *pair) for pair in _NEIGHBOURS)
    is_start = valid.copy()
    is_start[:, 1:] &= ~beside
    run_index = np.cumsum(is_start).reshape(valid.shape) - 1
    pairs = []
    for (one, other), joined in zip(_NEIGHBOURS[1:], across, strict=True):
        is_new = joined.copy()  # unless the pixels to the left join the same two runs
        is_new[:, 1:] &= ~joined[:, :-1] | is_start[one][:, 1:] | is_start[other][:, 1:]
        pairs.append(np.stack([run_index[one][is_new], run_index[other][is_new]]))
    edges, run_count = np.concatenate(pairs, 1), int(run_index[-1, -1]) + 1
    graph = sparse.coo_array((np.ones(edges.shape[1], np.int8), (edges[0], edges[1])), (run_count, run_count))
    labels = csgraph.connected_components(graph, directed=False)[1][run_index[valid]]
    sizes = np.bincount(labels)
    kept = np.zeros_like(valid)
    kept[valid] = (sizes >= _SPECK_FRACTION * sizes.max())[labels]
    return kept


_Region: TypeAlias = tuple[slice, slice]


def _are_joined(
    depth_z: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], step_z: float, one: _Region, other: _Region
) -> npt.NDArray[np.bool_]:
    z_one, z_other = depth_z[one], depth_z[other]
    jump_limit = np.maximum(_JUMP_FRACTION * np.minimum(z_one, z_other), 2.5 * step_z)
    joined: npt.NDArray[np.bool_] = valid[one] & valid[other] & (np.abs(z_one - z_other) <= jump_limit)
    return joined


_NEIGHBOURS = (
    ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ((slice(None, -1), slice(None, -1)), (slice(1, None), slice(1, None))),
    ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))),
)
"""Right, down and both diagonals: every neighbour pair once."""
