"""Edges that may change at the same time."""

import torch
from hypothesis import given
from hypothesis import strategies as st

import texture_scenes
from recon.remesh import find_edges
from recon.remesh.independent import around, choose_disjoint, ranked

MESH = texture_scenes.ball(3)
EDGES = find_edges(MESH.faces)
COUNT = len(MESH.positions_world)


def stars(edge_indices: torch.Tensor) -> list[set[int]]:
    """The faces around either end of each edge."""
    return [
        set(torch.nonzero(torch.isin(MESH.faces, EDGES.vertices[edge]).any(1))[:, 0].tolist())
        for edge in edge_indices.tolist()
    ]


@given(seed=st.integers(0, 1000), share=st.floats(0.05, 1))
def test_chosen_stars_share_no_face_and_the_first_of_all_is_chosen(seed: int, share: float) -> None:
    """Whatever the order and the candidates: disjoint stars, candidates only, and never without the least rank."""
    generator = torch.Generator().manual_seed(seed)
    cost = torch.rand(len(EDGES.vertices), generator=generator)
    is_candidate = torch.rand(len(cost), generator=generator) < share
    chosen = choose_disjoint(EDGES, MESH.faces, COUNT, is_candidate, ranked(cost))
    faces = [face for star in stars(chosen) for face in star]
    assert len(faces) == len(set(faces))
    assert is_candidate[chosen].all()
    if is_candidate.any():
        assert int(torch.where(is_candidate, cost, torch.inf).argmin()) in chosen.tolist()


def test_ranks_follow_the_values() -> None:
    """The least value has rank 0; equal values keep their order."""
    assert ranked(torch.tensor([3.0, 1.0, 2.0, 1.0])).tolist() == [3, 0, 2, 1]


def test_what_lies_around_a_vertex() -> None:
    """A vertex of a ball and its neighbours, by the faces that they share."""
    near = around(torch.tensor([0]), MESH.faces, COUNT)
    expected = MESH.faces[(MESH.faces == 0).any(1)].unique()
    assert torch.equal(torch.nonzero(near)[:, 0], expected)
