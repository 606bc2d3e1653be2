"""Keep the depth that belongs to the object: inside its mask, and in pieces that hang together."""

from dataclasses import replace

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
    """Connected pieces of surface, neighbours being joined unless depth jumps between them."""
    node_count = int(valid.sum())
    if not node_count:
        return valid
    node_index = np.full(valid.shape, -1, np.int64)
    node_index[valid] = np.arange(node_count)
    pairs = []
    for from_slice, to_slice in _NEIGHBOURS:
        z_from, z_to = depth_z[from_slice], depth_z[to_slice]
        jump_limit = np.maximum(_JUMP_FRACTION * np.minimum(z_from, z_to), 2.5 * step_z)
        joined = valid[from_slice] & valid[to_slice] & (np.abs(z_from - z_to) <= jump_limit)
        pairs.append(np.stack([node_index[from_slice][joined], node_index[to_slice][joined]]))
    edges = np.concatenate(pairs, 1)
    graph = sparse.coo_array((np.ones(edges.shape[1], np.int8), (edges[0], edges[1])), (node_count, node_count))
    labels = csgraph.connected_components(graph, directed=False)[1]
    sizes = np.bincount(labels)
    kept = np.zeros_like(valid)
    kept[valid] = (sizes >= _SPECK_FRACTION * sizes.max())[labels]
    return kept


_NEIGHBOURS = (
    ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ((slice(None, -1), slice(None, -1)), (slice(1, None), slice(1, None))),
    ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))),
)
"""Right, down and both diagonals: every neighbour pair once."""
