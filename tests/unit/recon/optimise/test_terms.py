"""What depths and outlines pull on a mesh."""

from dataclasses import replace

import pytest
import torch

import geometry_scenes
import texture_scenes
from recon.observations import Observations
from recon.optimise import terms
from recon.optimise.terms import DepthTerm, OutlineTerm, _value_and_gradient, depth_term, outline_term
from recon.remesh import find_edges
from recon.scene import TriangleMesh

RASTER = texture_scenes.rasterizer()


def ball(radius_m: float) -> TriangleMesh:
    unit = texture_scenes.ball(4)
    centre = torch.from_numpy(geometry_scenes.SOLIDS["sphere"].centre_world).float()
    return TriangleMesh((unit.positions_world - centre) * (radius_m / 0.1) + centre, unit.faces)


def seen() -> Observations:
    return geometry_scenes.observed("sphere", size_px=128)


def depth_of(mesh: TriangleMesh, observations: Observations, reach_m: float = 0.01) -> DepthTerm:
    fragments = RASTER.rasterize(mesh.positions_world, mesh.faces, observations.cameras)
    return depth_term(mesh, fragments, observations, RASTER, reach_m)


def outline_of(mesh: TriangleMesh, observations: Observations, reach_m: float = 0.01) -> OutlineTerm:
    fragments = RASTER.rasterize(mesh.positions_world, mesh.faces, observations.cameras)
    return outline_term(mesh, find_edges(mesh.faces), fragments, observations, reach_m)


@pytest.mark.parametrize("shift_m", [0.002, -0.002])
def test_depth_residual_is_the_distance_between_the_surfaces(shift_m: float) -> None:
    """A ball 2 mm too large (small) is off by 2 mm and pulled inwards (outwards) at every vertex with weight."""
    term = depth_of(ball(0.1 + shift_m), seen())
    weight = term.blocks.sum((1, 2))
    assert term.cost == pytest.approx(0.002, rel=0.1)
    assert weight.sum() > 1000
    mean_residual_m = term.pulls.sum() / weight.sum()
    assert mean_residual_m.item() == pytest.approx(shift_m, rel=0.1)


def test_depth_blocks_are_symmetric_and_positive() -> None:
    """Each face's matrix is a sum of squares."""
    blocks = depth_of(ball(0.1), seen()).blocks
    assert torch.allclose(blocks, blocks.transpose(1, 2), atol=1e-5)
    assert torch.linalg.eigvalsh(blocks).min() > -1e-4


def test_another_surface_does_not_pull() -> None:
    """A ball 20 mm too small lies beyond a reach of 5 mm: it has a hundredth of the weight of the true one."""
    far, near = depth_of(ball(0.08), seen(), 0.005), depth_of(ball(0.1), seen(), 0.005)
    assert far.blocks.sum() < 0.01 * near.blocks.sum()


def test_without_depth_nothing_pulls() -> None:
    """Views that measured nothing leave every block at zero."""
    blind = replace(seen(), depth_mask=torch.zeros_like(seen().depth_mask))
    assert (depth_of(ball(0.1), blind).blocks == 0).all()


@pytest.mark.parametrize("shift_m", [0.003, -0.003])
def test_outline_residual_is_the_distance_between_the_outlines(shift_m: float) -> None:
    """A ball 3 mm too large (small) has outline samples 3 mm outside (inside) the photographed outline."""
    term = outline_of(ball(0.1 + shift_m), seen())
    assert len(term.residuals_m) > 300
    assert term.residuals_m.median().item() == pytest.approx(shift_m, abs=4e-4)


def test_bumps_behind_the_outline_are_not_drawn_to_it() -> None:
    """On a rough ball only the outermost edges count: they lie beyond the outline of the smooth one, the rest within.

    Drawn to the outline with them, the rest would make the ball thicker.
    """
    mesh = ball(0.1)
    noise_m = 3e-4 * torch.randn(len(mesh.positions_world), 1, generator=torch.Generator().manual_seed(0))
    rough = TriangleMesh(mesh.positions_world + noise_m * mesh.vertex_normals(), mesh.faces)
    with_all_m = _residuals_m(rough, terms.HIDDEN_PX * 100)
    outermost_m = _residuals_m(rough, terms.HIDDEN_PX)
    assert with_all_m.mean() < 0
    assert outermost_m.mean() > with_all_m.mean() + 5e-5
    assert len(outermost_m) > 100


def _residuals_m(mesh: TriangleMesh, hidden_px: float) -> torch.Tensor:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(terms, "HIDDEN_PX", hidden_px)
        return outline_of(mesh, seen()).residuals_m


def test_outlines_count_by_their_precision_under_noise() -> None:
    """A fifth of a pixel against the noise of depth, squared: a pixel of noise makes 25 of it, two a hundred."""
    clean = outline_of(ball(0.1), seen()).weights.max()
    for noise_px, expected in ((1.0, 25.0), (1.5, 56.25), (2.0, 100.0), (9.0, 100.0)):
        noisy = replace(seen(), noise_m=noise_px * seen().pixel_m)
        weights = outline_of(ball(0.1), noisy).weights.max()
        assert (weights / clean).item() == pytest.approx(expected / terms.OUTLINE_WEIGHT, rel=1e-3)


def test_outline_directions_point_away_from_the_object_across_the_view() -> None:
    """Directions are unit vectors that lead outwards; the shares of an edge's ends add up to one."""
    mesh = ball(0.1)
    term = outline_of(mesh, seen())
    centre = mesh.positions_world.mean(0)
    samples = (mesh.positions_world[term.ends] * term.shares[..., None]).sum(1)
    outwards = torch.nn.functional.normalize(samples - centre, dim=1)
    assert torch.allclose(term.directions_world.norm(dim=1), torch.ones(len(samples)), atol=1e-5)
    assert ((outwards * term.directions_world).sum(1) > 0.8).all()
    assert torch.allclose(term.shares.sum(1), torch.ones(len(samples)))


def test_hidden_creases_are_not_drawn_to_the_outline() -> None:
    """A rough cube: bumps on its receding sides make silhouette edges inside the outline, and they do not count.

    camera        ________     the side recedes; a bump on it shows a silhouette
      <     ____/  ^ bump |    edge to the camera, hidden behind the front's rim
    """
    observations = geometry_scenes.observed("cube")
    box = texture_scenes.box(subdivisions=4)
    noise = 5e-4 * torch.randn(box.positions_world.shape, generator=torch.Generator().manual_seed(0))
    rough = TriangleMesh(box.positions_world + noise, box.faces)
    term = outline_of(rough, observations, reach_m=4 * observations.pixel_m)
    assert len(term.residuals_m) > 200
    inside_px = -term.residuals_m / observations.pixel_m
    assert inside_px.max() < 1
    assert (inside_px > 0.5).float().mean() < 0.05


def test_a_slanted_picture_is_read_exactly() -> None:
    """Between pixels of an affine picture the value is exact, and the gradient everywhere its slope."""
    y_px, x_px = torch.meshgrid(torch.arange(12) + 0.5, torch.arange(20) + 0.5, indexing="ij")
    pictures = torch.stack([3 * x_px - 2 * y_px, x_px + y_px])
    view_index = torch.arange(2).repeat(200)
    position_px = 2 + torch.rand(400, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([16.0, 8.0])
    value, gradient = _value_and_gradient(pictures, view_index, position_px)
    slopes = torch.tensor([[3.0, -2.0], [1.0, 1.0]])[view_index]
    torch.testing.assert_close(gradient, slopes)
    torch.testing.assert_close(value, (slopes * position_px).sum(1))
