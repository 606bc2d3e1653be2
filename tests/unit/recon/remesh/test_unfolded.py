"""Vertices move without turning faces over."""

import torch

import geometry_scenes
import texture_scenes
from recon.remesh import folded_faces, move_without_folds
from recon.scene import TriangleMesh

BALL = texture_scenes.ball(3)


def scattering() -> torch.Tensor:
    """Steps as long as edges in any direction, for every tenth vertex."""
    generator = torch.Generator().manual_seed(0)
    ends = BALL.positions_world[BALL.faces]
    edge_m = (ends[:, 0] - ends[:, 1]).norm(dim=1).mean()
    count = BALL.positions_world.shape[0]
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    return 1.5 * edge_m * direction * (torch.rand(count, 1, generator=generator) < 0.1)


def test_steps_that_would_fold_faces_are_shortened() -> None:
    """Of dozens of faces that whole steps would turn over none does; vertices farther off make their whole step."""
    step = scattering()
    whole = TriangleMesh(BALL.positions_world + step, BALL.faces)
    moved = move_without_folds(BALL, step)
    assert folded_faces(whole).sum() > 50
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
    folded = TriangleMesh(BALL.positions_world + scattering(), BALL.faces)
    shift = torch.tensor([0.25, -0.5, 0.125])
    assert folded_faces(folded).any()
    moved = move_without_folds(folded, shift.expand_as(folded.positions_world))
    assert torch.allclose(moved.positions_world, folded.positions_world + shift, atol=1e-6)
