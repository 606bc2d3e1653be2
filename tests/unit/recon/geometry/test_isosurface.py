"""Marching tetrahedra: closed, manifold, outwards, and where the field is zero."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import geometry_scenes
from recon.geometry.grid import Grid, enclosing_grid
from recon.geometry.isosurface import extract_surface
from recon.remesh import face_components
from recon.scene import TriangleMesh


def meshed(name: str, resolution: int = 40) -> tuple[TriangleMesh, Grid]:
    """A solid's exact signed distance, sampled and meshed."""
    scene = geometry_scenes.SOLIDS[name]
    low, high = (torch.from_numpy(corner).float() for corner in (scene.low_world, scene.high_world))
    grid = enclosing_grid(low, high, resolution)
    distance_m = scene.signed_distance_m(grid.positions_world().double().numpy())
    return extract_surface(torch.from_numpy(distance_m).float().view(grid.shape), grid), grid


@pytest.mark.parametrize(
    ("name", "volume_m3", "euler_number"),
    [("sphere", 4 / 3 * np.pi * 0.1**3, 2), ("torus", 2 * np.pi**2 * 0.08 * 0.03**2, 0)],
)
def test_known_solids_have_their_volume_and_genus(name: str, volume_m3: float, euler_number: int) -> None:
    """A sphere and a torus come back in one closed piece with the right handles and volume (to 1 %)."""
    mesh, grid = meshed(name)
    geometry_scenes.assert_closed_manifold(mesh)
    solid = geometry_scenes.as_trimesh(mesh)
    assert int(face_components(mesh.faces, len(mesh.positions_world)).max()) == 0
    assert solid.euler_number == euler_number
    assert solid.volume == pytest.approx(volume_m3, rel=0.01)
    assert geometry_scenes.error_m(name, mesh).max() < 0.08 * grid.spacing_m


def test_faces_look_outwards() -> None:
    """Every face of a sphere has a normal that points away from its centre."""
    mesh, _ = meshed("sphere")
    centre = torch.from_numpy(geometry_scenes.SOLIDS["sphere"].centre_world).float()
    outwards = mesh.positions_world[mesh.faces].mean(1) - centre
    assert ((mesh.scaled_face_normals() * outwards).sum(1) > 0).all()


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
@settings(max_examples=40, deadline=None)
def test_any_field_gives_a_closed_manifold(seed: int, inside_share: float) -> None:
    """White noise with a positive border: however tangled, the surface is a closed manifold around its inside."""
    rng = np.random.default_rng(seed)
    field = np.ones((6, 7, 8), np.float32)
    sign = np.where(rng.random((4, 5, 6)) < inside_share, -1, 1)
    field[1:-1, 1:-1, 1:-1] = sign * rng.uniform(1e-3, 1, (4, 5, 6))
    field[2, 2, 2] = -0.5  # something is always inside
    mesh = extract_surface(torch.from_numpy(field), Grid(torch.zeros(3), 1.0, (6, 7, 8)))
    geometry_scenes.assert_closed_manifold(mesh)
    assert geometry_scenes.as_trimesh(mesh).volume > 0


def test_one_inside_sample_makes_a_small_ball() -> None:
    """A single negative sample is wrapped by a piece of genus 0 with every crossing where the field is zero."""
    field = torch.ones(3, 3, 3)
    field[1, 1, 1] = -1
    mesh = extract_surface(field, Grid(torch.zeros(3), 1.0, (3, 3, 3)))
    geometry_scenes.assert_closed_manifold(mesh)
    assert geometry_scenes.as_trimesh(mesh).euler_number == 2
    offset = (mesh.positions_world - 1).abs()
    assert torch.isclose(offset.amax(1), torch.tensor(0.5)).all()


def test_nothing_inside_gives_no_mesh() -> None:
    """A field that is positive everywhere has no surface."""
    mesh = extract_surface(torch.ones(4, 4, 4), Grid(torch.zeros(3), 1.0, (4, 4, 4)))
    assert mesh.faces.shape == (0, 3)
