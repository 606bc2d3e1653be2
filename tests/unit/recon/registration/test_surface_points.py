"""Surfaces as points."""

import pytest
import torch

import registration_trials as trials
from recon.registration import SurfacePoints, sample_mesh


def test_samples_are_even_and_on_the_surface() -> None:
    """Points per face are proportional to area; normals and colours are those of the face."""
    mesh = trials.solid_case("toy").mesh
    colours = (mesh.positions_world - mesh.positions_world.amin(0)).clamp(0, 1)
    points = sample_mesh(mesh, 5000, seed=2, colours_srgb=colours)
    assert isinstance(points, SurfacePoints)
    assert points.colours_srgb is not None
    expected = (points.positions - mesh.positions_world.amin(0).double()).clamp(0, 1)
    torch.testing.assert_close(points.colours_srgb, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(points.normals.norm(dim=1), torch.ones(5000, dtype=torch.float64))
    scaled = mesh.scaled_face_normals().double()
    mean_height = (mesh.positions_world[mesh.faces].double().mean(1)[:, 2] * scaled.norm(dim=1)).sum()
    assert points.positions[:, 2].mean() == pytest.approx(float(mean_height / scaled.norm(dim=1).sum()), abs=3e-3)
