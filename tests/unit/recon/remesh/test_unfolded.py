"""Vertices move without turning faces over, and folded faces are turned back."""

import torch

import geometry_scenes
import texture_scenes
from recon.remesh import folded_faces, move_without_folds, unfold
from recon.scene import TriangleMesh

BALL = texture_scenes.ball(3)
CENTRE = torch.from_numpy(geometry_scenes.SOLIDS["sphere"].centre_world).float()
EDGE_M = (BALL.positions_world[BALL.faces[:, 0]] - BALL.positions_world[BALL.faces[:, 1]]).norm(dim=1).mean()


def scattering() -> torch.Tensor:
    """Steps as long as edges in any direction, for every tenth vertex."""
    generator = torch.Generator().manual_seed(0)
    count = BALL.positions_world.shape[0]
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    return 1.5 * EDGE_M * direction * (torch.rand(count, 1, generator=generator) < 0.1)


def crumpled() -> TriangleMesh:
    return TriangleMesh(BALL.positions_world + scattering(), BALL.faces)


def test_steps_that_would_fold_faces_are_shortened() -> None:
    """Of dozens of faces that whole steps would turn over none does; vertices farther off make their whole step."""
    step = scattering()
    moved = move_without_folds(BALL, step)
    assert folded_faces(crumpled()).sum() > 50
    assert not folded_faces(moved).any()
    turned = (moved.scaled_face_normals() * BALL.scaled_face_normals()).sum(1) < 0
    assert not turned.any()
    geometry_scenes.assert_closed_manifold(moved)
    made = (moved.positions_world - BALL.positions_world).norm(dim=1) / step.norm(dim=1).clamp_min(1e-12)
    assert 0 < made[step.norm(dim=1) > 0].min() < 0.6
    assert made.max() <= 1 + 1e-4


def test_harmless_steps_are_made_whole() -> None:
    """What turns no face over is moved exactly as asked, even where faces were folded before."""
    step = 0.01 * (BALL.positions_world - BALL.positions_world.mean(0))
    assert torch.equal(move_without_folds(BALL, step).positions_world, BALL.positions_world + step)
    folded = crumpled()
    shift = torch.tensor([0.25, -0.5, 0.125])
    assert folded_faces(folded).any()
    moved = move_without_folds(folded, shift.expand_as(folded.positions_world))
    assert torch.allclose(moved.positions_world, folded.positions_world + shift, atol=1e-6)


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
