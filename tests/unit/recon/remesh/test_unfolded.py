"""Folded faces are turned back, and nothing else moves."""

import torch

import geometry_scenes
import texture_scenes
from recon.remesh import folded_faces, unfold
from recon.scene import TriangleMesh

BALL = texture_scenes.ball(3)
CENTRE = torch.from_numpy(geometry_scenes.SOLIDS["sphere"].centre_world).float()
EDGE_M = (BALL.positions_world[BALL.faces[:, 0]] - BALL.positions_world[BALL.faces[:, 1]]).norm(dim=1).mean()


def crumpled() -> TriangleMesh:
    """Every tenth vertex of a ball is moved in any direction, by more than an edge."""
    generator = torch.Generator().manual_seed(0)
    count = BALL.positions_world.shape[0]
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    step = 1.5 * EDGE_M * direction * (torch.rand(count, 1, generator=generator) < 0.1)
    return TriangleMesh(BALL.positions_world + step, BALL.faces)


def test_folded_faces_are_turned_back() -> None:
    """Of dozens none is left, the mesh is a closed ball again, and its moved vertices lie nearer to it than before."""
    folded = crumpled()
    assert folded_faces(folded).sum() > 50
    flat = unfold(folded)
    assert not folded_faces(flat).any()
    geometry_scenes.assert_closed_manifold(flat)
    moved = (flat.positions_world != folded.positions_world).any(1)
    before_m, after_m = (((mesh.positions_world[moved] - CENTRE).norm(dim=1) - 0.1).abs() for mesh in (folded, flat))
    assert after_m.max() < EDGE_M
    assert after_m.mean() < before_m.mean()


def test_what_is_not_folded_keeps_its_bits() -> None:
    """Vertices away from folded faces stay exactly where they were, and a mesh without any comes back as it is."""
    folded = crumpled()
    flat = unfold(folded)
    near = torch.zeros(len(folded.positions_world), dtype=torch.bool)
    near[folded.faces[folded_faces(folded)].flatten()] = True
    for _ in range(4):
        near[folded.faces[near[folded.faces].any(1)].flatten()] = True
    assert (~near).any()
    assert torch.equal(flat.positions_world[~near], folded.positions_world[~near])
    assert unfold(BALL) is BALL
