"""Halving edges."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import geometry_scenes
import meshes
import texture_scenes
from recon.remesh import find_edges, split_edges
from recon.remesh.split import edge_of_sides


@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_any_choice_of_edges_leaves_the_same_closed_surface(seed: int, share: float) -> None:
    """One vertex and two faces more per split edge; closed, and the same volume and area."""
    mesh = texture_scenes.ball(2)
    edges = find_edges(mesh.faces)
    chosen = torch.rand(len(edges.vertices), generator=torch.Generator().manual_seed(seed)) < share
    split = split_edges(mesh, edges, chosen)
    geometry_scenes.assert_closed_manifold(split)
    count = int(chosen.sum())
    assert len(split.faces) == len(mesh.faces) + 2 * count
    assert len(split.positions_world) == len(mesh.positions_world) + count
    before, after = geometry_scenes.as_trimesh(mesh), geometry_scenes.as_trimesh(split)
    assert after.volume == pytest.approx(before.volume, rel=1e-6)
    assert after.area == pytest.approx(before.area, rel=1e-6)


def test_nothing_chosen_changes_nothing() -> None:
    """Without a chosen edge the very same mesh comes back."""
    mesh = meshes.box_mesh()
    edges = find_edges(mesh.faces)
    assert split_edges(mesh, edges, torch.zeros(len(edges.vertices), dtype=torch.bool)) is mesh


def test_sides_find_their_edges() -> None:
    """Every side of every face names the edge between its two corners."""
    faces = meshes.box_mesh().faces
    edges = find_edges(faces)
    found = edges.vertices[edge_of_sides(faces, edges)]
    sides = torch.stack([faces, faces.roll(-1, 1)], 2).sort(2).values
    assert torch.equal(found, sides)
