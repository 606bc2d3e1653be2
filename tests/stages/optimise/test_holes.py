"""Which part of a surface no depth image measured."""

from dataclasses import replace

import geometry_scenes
import texture_scenes
from recon.observations import Observations
from recon.optimise import find_holes

RASTER = texture_scenes.rasterizer()
MESH = texture_scenes.ball(4)
UP = MESH.positions_world[:, 2] - MESH.positions_world[:, 2].mean()
RADIUS_M = 0.1
LOWEST_M = 0.5 * RADIUS_M
"""Of the cap without depth, above the middle."""


def without_the_top(above_m: float) -> Observations:
    """Six views all around a ball; no depth image shows what lies higher above its middle."""
    seen = geometry_scenes.observed("sphere", size_px=128)
    height_m = seen.points_world()[..., 2] - MESH.positions_world[:, 2].mean()
    return replace(seen, depth_mask=seen.depth_mask & (height_m < above_m))


def test_a_measured_surface_has_no_holes() -> None:
    """Complete depth: nothing is missing; the few vertices without depth lie between the views."""
    holes = find_holes(MESH, without_the_top(1.0), RASTER)
    assert holes.share == 0
    assert holes.is_measured.float().mean() > 0.98


def test_the_hole_is_where_depth_is_missing() -> None:
    """A cap of a quarter of a ball's height is a quarter of its area, less the four pixels that its rim may close."""
    seen = without_the_top(LOWEST_M)
    holes = find_holes(MESH, seen, RASTER)
    rim_m = 6 * seen.pixel_m
    assert 0.25 - rim_m / (2 * RADIUS_M) < holes.share <= 0.25
    assert not holes.is_measured[UP - 2 * seen.pixel_m > LOWEST_M].any()
    assert holes.is_measured[UP + 2 * seen.pixel_m < LOWEST_M].float().mean() > 0.98


def test_depth_of_another_surface_measures_nothing() -> None:
    """A surface five pixels outside the mesh is another one, unless noise explains it."""
    seen = without_the_top(1.0)
    nearer_m = 5 * seen.pixel_m / seen.incidence.clamp_min(0.2)
    apart = replace(seen, depth_z_m=seen.depth_z_m - nearer_m)
    assert find_holes(MESH, apart, RASTER).is_measured.float().mean() < 0.02
    assert find_holes(MESH, replace(apart, noise_m=2 * seen.pixel_m), RASTER).is_measured.float().mean() > 0.9


def test_without_depth_all_that_is_seen_is_unmeasured() -> None:
    """No depth image at all: the whole of the drawn surface, and no vertex is measured."""
    seen = without_the_top(-1.0)
    holes = find_holes(MESH, seen, RASTER)
    assert holes.share == 1
    assert not holes.is_measured.any()
