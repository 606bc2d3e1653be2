"""Thickness of walls that were seen from both sides."""

import pytest
import torch

import geometry_scenes
from recon.geometry.walls import thin_wall_m, wall_thickness_m


def thickness_behind(name: str) -> torch.Tensor:
    observations = geometry_scenes.observed(name, "orbit6", 128, supersample=1)
    is_surface = observations.depth_mask & (observations.incidence > 0)
    points, normals = observations.points_world()[is_surface], observations.normals_world[is_surface]
    return wall_thickness_m(observations, points, normals, 0.012, 0.004)


def test_walls_are_as_thick_as_they_are() -> None:
    """Behind the bowl's measured wall free space begins after 8 mm, to a tenth; behind a cube's faces never."""
    thickness_m = thickness_behind("bowl")
    is_wall = thickness_m.isfinite()
    assert is_wall.sum() > 500
    assert abs(thickness_m[is_wall].median() - 0.008) < 0.0008
    assert thickness_behind("cube").isfinite().float().mean() < 0.1


def test_a_thin_wall_is_found_at_any_noise() -> None:
    """The pan's wall of 2.5 mm, to 15 %, though a pixel's noise is as wide; a ball has no wall."""
    seen = geometry_scenes.observed_noisy("pan", 256)
    assert 4 * seen.pixel_m > 0.005
    assert thin_wall_m(seen, 4 * seen.pixel_m) == pytest.approx(0.0025, rel=0.15)
    ball = geometry_scenes.observed_noisy("sphere", 128)
    assert thin_wall_m(ball, 4 * ball.pixel_m) == torch.inf
