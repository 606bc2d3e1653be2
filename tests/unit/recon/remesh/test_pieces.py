"""Connected pieces."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from recon.remesh import connected_labels, face_components


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 80), st.integers(0, 2**31))
def test_components_agree_with_scipy(node_count: int, edge_count: int, seed: int) -> None:
    """Two nodes get one number exactly when a path joins them; numbers run from 0 without gaps."""
    pairs = np.random.default_rng(seed).integers(0, node_count, (edge_count, 2))
    graph = coo_array((np.ones(edge_count), (pairs[:, 0], pairs[:, 1])), shape=(node_count, node_count))
    count, expected = connected_components(graph, directed=False)
    labels = connected_labels(torch.from_numpy(pairs), node_count).numpy()
    assert sorted(set(labels)) == list(range(count))
    assert len(set(zip(labels, expected, strict=True))) == count


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 60), st.integers(1, 40), st.integers(0, 2**31))
def test_pieces_have_the_same_numbers_on_every_device(vertex_count: int, face_count: int, seed: int) -> None:
    """What a GPU uses numbers the pieces as the library does, by their lowest vertex."""
    faces = torch.from_numpy(np.random.default_rng(seed).integers(0, vertex_count, (face_count, 3)))
    labels = connected_labels(faces[:, [0, 1, 1, 2]].view(-1, 2), vertex_count)[faces[:, 0]]
    assert torch.equal(labels, face_components(faces, vertex_count))
