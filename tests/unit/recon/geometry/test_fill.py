"""Closing the surface where no view saw it."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import geometry_scenes
from recon.geometry.fill import BAND_INSIDE, BAND_OUTSIDE, fill_unknown, laplacian
from recon.geometry.grid import Grid
from recon.geometry.isosurface import extract_surface

SIDE, RADIUS = 49, 15.0
GRID = Grid(torch.full((3,), -(SIDE - 1) / 2), 1.0, (SIDE, SIDE, SIDE))


def sphere_without_a_cap() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """True distance, what was seen of it (nothing around the top), and where it was measured; all in samples."""
    positions = GRID.positions_world().view(*GRID.shape, 3)
    true = positions.norm(dim=-1) - RADIUS
    is_unseen = (positions[..., 2] > 0.7 * RADIUS) & (true < 4)
    is_measured = (true.abs() < 3) & ~is_unseen
    return true, torch.where(is_unseen | (true < -3), -torch.inf, true), is_measured


def test_an_unseen_cap_is_closed_as_a_sphere() -> None:
    """The cap of a sphere that nobody saw is continued to 15 % of the radius, in one closed piece."""
    _, seen, is_measured = sphere_without_a_cap()
    mesh = extract_surface(fill_unknown(seen, is_measured), GRID)
    geometry_scenes.assert_closed_manifold(mesh)
    assert geometry_scenes.as_trimesh(mesh).euler_number == 2
    error = (mesh.positions_world.norm(dim=1) - RADIUS).abs()
    is_cap = mesh.positions_world[:, 2] > 0.7 * RADIUS
    assert error[is_cap].max() < 0.15 * RADIUS
    assert error[mesh.positions_world[:, 2] < 0.7 * RADIUS - 2].max() < 0.1


def test_holes_seen_from_both_sides_only_stay_open() -> None:
    """A ring whose hole was seen from above and from below, but not through: a ring comes out, not a drum."""
    positions = GRID.positions_world().view(*GRID.shape, 3)
    radius = positions[..., :2].norm(dim=-1)
    true = torch.hypot(radius - 16, positions[..., 2]) - 4
    is_unseen = (positions[..., 2].abs() < 5) & (radius < 12)
    is_measured = (true.abs() < 3) & ~is_unseen
    seen = torch.where(is_unseen | (true < -3), -torch.inf, true)
    mesh = extract_surface(fill_unknown(seen, is_measured), GRID)
    geometry_scenes.assert_closed_manifold(mesh)
    assert geometry_scenes.as_trimesh(mesh).euler_number == 0


def test_measured_distances_stay_as_they_are() -> None:
    """Inside the band around the surface the field is the measured one, exactly."""
    _, seen, is_measured = sphere_without_a_cap()
    filled = fill_unknown(seen, is_measured)
    band = is_measured & (seen > -BAND_INSIDE) & (seen < BAND_OUTSIDE)
    assert torch.equal(filled[band], seen[band])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_free_space_stays_free(seed: int) -> None:
    """Whatever was seen where: no sample that some view saw through ends up inside, nor does the border."""
    rng = np.random.default_rng(seed)
    distance = torch.from_numpy(rng.normal(0, 3, (26, 14, 15)).astype(np.float32))
    distance[torch.from_numpy(rng.random((26, 14, 15)) < 0.5)] = -torch.inf
    is_measured = torch.from_numpy(rng.random((26, 14, 15)) < 0.3) & distance.isfinite()
    filled = fill_unknown(distance, is_measured)
    assert filled.isfinite().all()
    assert (filled > 0)[distance > 0].all()
    filled[1:-1, 1:-1, 1:-1] = 1
    assert (filled > 0).all()


def test_the_laplacian_is_its_own_adjoint_and_ignores_constants() -> None:
    """<a, L b> = <L a, b> for any fields, and a constant has none."""
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 7, 8, 9, generator=generator, dtype=torch.float64)
    assert torch.isclose((a * laplacian(b)).sum(), (laplacian(a) * b).sum())
    assert (laplacian(torch.full((4, 5, 6), 3.0)) == 0).all()
