"""Gauss-Newton steps."""

import pytest
import torch

import texture_scenes
from recon.optimise.solver import Laplacian, Smoothness, Terms, solve_step
from recon.optimise.terms import DepthTerm, OutlineTerm
from recon.remesh import find_edges
from recon.scene import TriangleMesh

MESH = texture_scenes.ball(2)
LOOSE = Smoothness(displacement=1.0, bending=0.0, damping=1e-6, tangential=0.0)


def laplacian(mesh: TriangleMesh = MESH) -> Laplacian:
    return Laplacian(mesh.positions_world, find_edges(mesh.faces).vertices)


def pulled_by(translation: torch.Tensor) -> DepthTerm:
    """Every corner of every face is measured where the translation brings it."""
    normals = MESH.face_normals()
    blocks = torch.eye(3).expand(len(MESH.faces), 3, 3)
    residual_m = -(normals @ translation)
    return DepthTerm(normals, blocks, residual_m[:, None].expand(-1, 3), residual_m**2, 0.0)


def nothing_measured() -> DepthTerm:
    count = len(MESH.faces)
    return DepthTerm(MESH.face_normals(), torch.zeros(count, 3, 3), torch.zeros(count, 3), torch.zeros(count), 0.0)


def test_the_transposed_operator_is_the_adjoint() -> None:
    """<L a, b> = <a, L' b> for any a and b, and squared is one after the other."""
    operator = laplacian()
    a, b = torch.randn(2, len(MESH.positions_world), 3, generator=torch.Generator().manual_seed(0))
    there, back = (operator.apply(a) * b).sum(), (a * operator.apply_transposed(b)).sum()
    assert torch.isclose(there, back, rtol=1e-4, atol=1e-4)
    assert torch.equal(operator.squared(a), operator.apply_transposed(operator.apply(a)))


def test_a_translation_has_no_laplacian() -> None:
    """Neighbours' weights add up to one, so that moving everything alike costs nothing."""
    same = torch.tensor([[1.0, -2.0, 3.0]]).expand(len(MESH.positions_world), 3)
    assert laplacian().apply(same).abs().max() < 1e-5


@pytest.mark.parametrize("translation", [(0.003, 0.0, 0.0), (-0.001, 0.002, 0.004)])
def test_a_translation_is_recovered(translation: tuple[float, float, float]) -> None:
    """Measurements of a ball moved by a few millimetres give exactly that step at every vertex (to 10 um)."""
    step = solve_step(MESH, laplacian(), Terms(pulled_by(torch.tensor(translation))), LOOSE, iteration_count=100)
    assert (step - torch.tensor(translation)).abs().max() < 1e-5


def test_an_outline_moves_along_its_direction() -> None:
    """Every vertex drawn to lie 2 mm further along x goes there; damping alone holds it back."""
    count = len(MESH.positions_world)
    ends = torch.stack([torch.arange(count)] * 2, 1)
    direction = torch.tensor([[1.0, 0.0, 0.0]]).expand(count, 3)
    shares, ones = torch.full((count, 2), 0.5), torch.ones(count)
    outline = OutlineTerm(ends, shares, direction, -0.002 * ones, ones, 0.0)
    step = solve_step(MESH, laplacian(), Terms(nothing_measured(), (outline,)), LOOSE, iteration_count=100)
    assert torch.allclose(step, torch.tensor([0.002, 0.0, 0.0]).expand_as(step), atol=1e-5)


def test_no_measurement_no_step() -> None:
    """Where nothing pulls and the shape is not faired, nothing moves."""
    assert (solve_step(MESH, laplacian(), Terms(nothing_measured()), LOOSE) == 0).all()


def test_fairing_smooths_a_bump() -> None:
    """A vertex pulled out of a ball goes back towards it when the shape itself is faired."""
    bumped = MESH.positions_world.clone()
    centre = bumped.mean(0)
    bumped[0] = centre + 1.2 * (bumped[0] - centre)
    mesh = TriangleMesh(bumped, MESH.faces)
    fairing = Smoothness(displacement=0.1, bending=1.0, damping=0.1, tangential=0.0)
    step = solve_step(mesh, laplacian(mesh), Terms(replaced_normals(mesh)), fairing)
    outwards = torch.nn.functional.normalize(bumped[0] - centre, dim=0)
    assert (step[0] @ outwards).item() < -0.005


def test_fairing_does_not_slide() -> None:
    """Vertices spread unevenly over flat sides are where they should be: fairing leaves them there."""
    box = texture_scenes.box(subdivisions=3)
    centred = box.positions_world - box.positions_world.mean(0)
    half_m = centred.abs().max()
    on_side = centred.abs() > 0.999 * half_m
    is_inner = (on_side.sum(1) == 1) & (torch.where(on_side, 0.0, centred).abs() < 0.6 * half_m).all(1)
    shift_m = 0.004 * torch.randn(centred.shape, generator=torch.Generator().manual_seed(0))
    shift_m = torch.where(is_inner[:, None] & ~on_side, shift_m, 0.0)
    uneven = TriangleMesh(box.positions_world + shift_m, box.faces)
    fairing = Smoothness(displacement=0.1, bending=10.0, damping=0.1, tangential=1.0)
    step = solve_step(uneven, laplacian(uneven), Terms(), fairing)
    innermost = is_inner & (torch.where(on_side, 0.0, centred).abs() < 0.3 * half_m).all(1)
    assert innermost.sum() >= 6
    slid_m = torch.where(on_side, 0.0, step)[innermost].norm(dim=1)
    assert slid_m.max() < 1e-4


def test_fairing_keeps_the_shape_where_nothing_was_measured() -> None:
    """An unseen ball shrinks by less than a tenth of what a measured one would under nothing but fairing."""
    ball = texture_scenes.ball(4)
    outwards = torch.nn.functional.normalize(ball.positions_world - ball.positions_world.mean(0), dim=1)
    fairing = Smoothness(displacement=0.3, bending=100.0, damping=1e-2, tangential=30.0)
    count = len(ball.faces)
    faint = 1e-9 * torch.eye(3).expand(count, 3, 3)
    shrinkage_m = []
    for blocks in (torch.zeros(count, 3, 3), faint):
        depth = DepthTerm(ball.face_normals(), blocks, torch.zeros(count, 3), torch.zeros(count), 0.0)
        step = solve_step(ball, laplacian(ball), Terms(depth), fairing)
        shrinkage_m.append(-(step * outwards).sum(1).mean())
    unseen_m, measured_m = shrinkage_m
    assert measured_m > 0
    assert unseen_m.abs() < measured_m / 10


def replaced_normals(mesh: TriangleMesh) -> DepthTerm:
    empty = nothing_measured()
    return DepthTerm(mesh.face_normals(), empty.blocks, empty.pulls, empty.squares_m2, 0.0)
