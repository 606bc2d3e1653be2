"""Measured where measured, generated where nobody looked."""

from functools import cache

import numpy as np
import torch

import geometry_scenes
import scenes
from recon.models.completion import CompletedMesh, complete_mesh
from recon.observations import Observations, observe
from recon.quality.topology import check_mesh
from recon.scene import TriangleMesh
from texture_scenes import ball

RADIUS_M = 0.1


@cache
def seen_from_above() -> Observations:
    """Six cameras all around, 35 degrees above the horizon: the lowest third of the ball is never seen."""
    scene = scenes.sphere()
    azimuths_rad = np.radians(np.arange(0, 360, 60))
    directions = np.stack([np.cos(azimuths_rad), np.sin(azimuths_rad), np.full(6, np.tan(np.radians(35)))], 1)
    cameras = [scenes.look_from(scene, direction, 96) for direction in directions]
    return observe(scenes.make_capture(scene, cameras), geometry_scenes.CPU)


def generated(scale: float) -> TriangleMesh:
    """The ball, too large or too small."""
    true = ball()
    middle = true.positions_world.mean(0)
    return TriangleMesh((true.positions_world - middle) * scale + middle, true.faces)


@cache
def completed(scale: float) -> CompletedMesh:
    return complete_mesh(generated(scale), seen_from_above(), 64, 20_000)


def test_seen_surface_is_measured_and_hidden_surface_generated() -> None:
    """A model 5 % too small: above, the measured radius; below, its own; a closed manifold all over."""
    result = completed(0.95)
    geometry_scenes.assert_closed_manifold(result.mesh)
    arms = result.mesh.positions_world - generated(1.0).positions_world.mean(0)
    radius, height = arms.norm(dim=1) / RADIUS_M, arms[:, 2] / RADIUS_M
    assert (radius[height > 0] - 1).abs().max() < 0.01
    assert (radius[height < -0.93] - 0.95).abs().max() < 0.03
    assert 0.2 < result.measured_fraction < 0.95


def test_seen_free_space_stays_free() -> None:
    """A model 20 % too large adds nothing where a camera looked through."""
    arms = completed(1.2).mesh.positions_world - generated(1.0).positions_world.mean(0)
    radius, height = arms.norm(dim=1) / RADIUS_M, arms[:, 2] / RADIUS_M
    assert radius[height > 0].max() < 1.01
    assert radius[height < -0.9].max() > 1.03


def test_a_surface_that_nearly_agrees_makes_no_tunnels() -> None:
    """A generated ball that ripples by one per cent about the true one gives a ball, not a sponge."""
    ball_mesh = generated(1.0)
    ripples = torch.sin(150 * ball_mesh.positions_world).sum(1, keepdim=True)
    rippled = ball_mesh.positions_world + 0.001 * ripples * ball_mesh.vertex_normals()
    mesh = complete_mesh(TriangleMesh(rippled, ball_mesh.faces), seen_from_above(), 96, 20_000).mesh
    assert check_mesh(mesh, flipped_face_count=0).genus == 0


def test_no_two_vertices_share_a_position() -> None:
    """Programs that merge equal positions must not glue sheets together."""
    mesh = completed(0.95).mesh
    assert len(torch.unique(mesh.positions_world, dim=0)) == len(mesh.positions_world)
