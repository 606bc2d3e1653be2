"""Insides of vessels go on behind what was seen of them; solids are left alone."""

from functools import cache

import numpy as np
import pytest
import torch

import geometry_scenes
from recon.geometry import build
from recon.geometry.cavities import SeenSpace, continue_cavities, wall_thickness
from recon.geometry.fusion import fuse
from recon.geometry.grid import Grid, enclosing_grid
from recon.observations import Observations
from recon.scene import TriangleMesh
from recon.settings import FusionSettings


@cache
def seen_space(name: str) -> tuple[Observations, SeenSpace, Grid]:
    """What six views from the sides know about a solid."""
    observations = geometry_scenes.observed(name, "orbit6", 128, supersample=1)
    scene = geometry_scenes.SOLIDS[name]
    low, high = (torch.from_numpy(corner).float() for corner in (scene.low_world, scene.high_world))
    grid = enclosing_grid(low, high, 48)
    field = fuse(observations, grid.positions_world(), 0.3 * grid.spacing_m)
    distance = (field.distance_m / grid.spacing_m).view(grid.shape)
    is_measured = field.is_measured.view(grid.shape) & (distance.abs() < 1)
    return observations, SeenSpace(distance, distance > 0, is_measured), grid


def built(resolution: int = 96) -> TriangleMesh:
    observations = geometry_scenes.observed("bowl", "orbit6", 128, supersample=1)
    return build.build_geometry(observations, FusionSettings(grid_resolution=resolution), 3000).mesh


def nothing_continued(observations: Observations, seen: SeenSpace, grid: Grid) -> torch.Tensor:
    return torch.full(grid.shape, -torch.inf)


def test_a_bowl_is_hollow_though_its_floor_was_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six views that see the upper inside only: the bowl's error falls to a third of what a smooth fill leaves."""
    mesh = built()
    with monkeypatch.context() as patched:
        patched.setattr(build, "continue_cavities", nothing_continued)
        drum = built(64)
    true_volume_m3 = np.pi * (0.1**2 * 0.09 - 0.092**2 * 0.082)
    geometry_scenes.assert_closed_manifold(mesh)
    assert geometry_scenes.error_m("bowl", mesh).mean() < geometry_scenes.error_m("bowl", drum).mean() / 3
    assert geometry_scenes.as_trimesh(drum).volume > 2 * true_volume_m3
    assert geometry_scenes.as_trimesh(mesh).volume == pytest.approx(true_volume_m3, rel=0.2)


def test_what_is_continued_lies_in_the_cavity() -> None:
    """Samples that become free are outside the true bowl (to a sample and a half), below its rim and within it."""
    observations, seen, grid = seen_space("bowl")
    walls = continue_cavities(observations, seen, grid)
    positions = grid.positions_world()[(walls > 0).view(-1)].double().numpy()
    scene = geometry_scenes.SOLIDS["bowl"]
    offset = positions - scene.centre_world
    assert len(positions) > 500
    assert scene.signed_distance_m(positions).min() > -1.5 * grid.spacing_m
    assert np.hypot(offset[:, 0], offset[:, 1]).max() < 0.1
    assert offset[:, 2].max() < 0.045 + grid.spacing_m


@pytest.mark.parametrize("name", ["cube", "toy"])
def test_solids_are_left_alone(name: str) -> None:
    """Nothing is continued where no wall was seen from both sides, whatever stayed in the shade."""
    observations, seen, grid = seen_space(name)
    assert (continue_cavities(observations, seen, grid) == -torch.inf).all()


def test_walls_are_as_thick_as_they_are() -> None:
    """Behind the bowl's measured wall free space begins after 8 mm, to a sample; behind a cube's faces never."""
    observations, seen, grid = seen_space("bowl")
    thickness_m = wall_thickness(observations, seen, grid) * grid.spacing_m
    is_wall = thickness_m.isfinite()
    assert is_wall.sum() > 500
    assert abs(thickness_m[is_wall].median() - 0.008) < grid.spacing_m
    cube, cube_seen, cube_grid = seen_space("cube")
    solid = wall_thickness(cube, cube_seen, cube_grid).isfinite()
    assert solid.float().mean() < 0.1
