"""Pieces that no view saw."""

from dataclasses import replace
from functools import cache

import pytest
import torch

import geometry_scenes
import texture_scenes
from recon.geometry import build_geometry
from recon.geometry.phantoms import drop_phantoms
from recon.observations import Observations
from recon.scene import TriangleMesh
from recon.settings import FusionSettings

VOXEL_M = 0.003


def with_ball(mesh: TriangleMesh, radius_m: float, offset_m: tuple[float, float, float]) -> TriangleMesh:
    """The mesh and a ball beside (or inside) it, in one."""
    ball = texture_scenes.ball(2)
    centred = ball.positions_world - ball.positions_world.mean(0)
    placed = centred / centred.norm(dim=1).max() * radius_m + mesh.positions_world.mean(0) + torch.tensor(offset_m)
    faces = torch.cat([mesh.faces, ball.faces + len(mesh.positions_world)])
    return TriangleMesh(torch.cat([mesh.positions_world, placed]), faces)


def without_depth_of(observations: Observations, hidden: torch.Tensor) -> Observations:
    return replace(
        observations,
        depth_mask=observations.depth_mask & ~hidden,
        incidence=torch.where(hidden, 0.0, observations.incidence),
    )


@cache
def sphere() -> tuple[TriangleMesh, Observations]:
    observations = geometry_scenes.observed("sphere")
    return geometry_scenes.built(observations, 2000), observations


def test_the_dark_behind_the_hole_of_a_ring_is_empty() -> None:
    """Six views from the sides leave a lens of unseen space in a torus' hole: the mesh is the torus alone."""
    observations = geometry_scenes.observed("torus", "orbit6", 128)
    mesh = build_geometry(observations, FusionSettings(grid_resolution=96), 8000).mesh
    geometry_scenes.assert_closed_manifold(mesh)
    assert geometry_scenes.as_trimesh(mesh).euler_number == 0
    assert geometry_scenes.error_m("torus", mesh).max() < 0.003


@pytest.mark.parametrize("offset_m", [(0.0, 0.0, 0.0), (0.02, 0.0, 0.01)])
def test_pieces_inside_others_go(offset_m: tuple[float, float, float]) -> None:
    """A ball within the photographed one, which every view has something in front of, is dropped."""
    mesh, observations = sphere()
    kept = drop_phantoms(with_ball(mesh, 0.03, offset_m), observations, VOXEL_M)
    assert len(kept.faces) == len(mesh.faces)
    assert torch.equal(kept.positions_world[kept.faces], mesh.positions_world[mesh.faces])


def test_pieces_that_were_measured_stay() -> None:
    """Two pieces that views measured are both the object, whichever is larger."""
    mesh, observations = sphere()
    upper = mesh.positions_world[mesh.faces].mean(1)[:, 2] > mesh.positions_world[:, 2].mean()
    first, second = mesh.faces[upper], mesh.faces[~upper] + len(mesh.positions_world)
    parted = TriangleMesh(mesh.positions_world.repeat(2, 1), torch.cat([first, second]))
    assert len(drop_phantoms(parted, observations, VOXEL_M).faces) == len(mesh.faces)


def test_a_piece_in_a_hole_of_the_depth_stays() -> None:
    """Where the outline shows something that the sensor did not measure, it may be the piece."""
    mesh, observations = sphere()
    upper = mesh.positions_world[mesh.faces].mean(1)[:, 2] > mesh.positions_world[:, 2].mean()
    first, second = mesh.faces[upper], mesh.faces[~upper] + len(mesh.positions_world)
    parted = TriangleMesh(mesh.positions_world.repeat(2, 1), torch.cat([first, second]))
    is_upper = observations.points_world()[..., 2] > mesh.positions_world[:, 2].mean()
    seen = without_depth_of(observations, is_upper)
    assert len(drop_phantoms(parted, seen, VOXEL_M).faces) == len(mesh.faces)


def test_without_depth_every_piece_stays() -> None:
    """Outlines alone do not tell what was seen."""
    mesh, observations = sphere()
    both = with_ball(mesh, 0.03, (0.0, 0.0, 0.0))
    nothing = without_depth_of(observations, torch.ones_like(observations.depth_mask))
    assert drop_phantoms(both, nothing, VOXEL_M) is both


def test_something_always_stays() -> None:
    """Pieces that are all somewhere else: the one that was seen most is not thrown away."""
    mesh, observations = sphere()
    far = TriangleMesh(0.3 * (mesh.positions_world - mesh.positions_world.mean(0)), mesh.faces)
    assert len(drop_phantoms(with_ball(far, 0.005, (0.04, 0.0, 0.0)), observations, VOXEL_M).faces) > 0
