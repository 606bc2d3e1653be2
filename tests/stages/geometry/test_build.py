"""The geometry stage as a whole."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree

import geometry_scenes
from recon.errors import ObjectNotFound
from recon.geometry import Geometry, build, build_geometry
from recon.geometry.build import choose_resolution
from recon.observations import observe
from recon.settings import FusionSettings

COARSE = FusionSettings(grid_resolution=48)


@cache
def built(name: str) -> Geometry:
    return build_geometry(geometry_scenes.observed(name), COARSE, 3000)


@pytest.mark.parametrize(
    ("name", "euler_number", "mean_px"), [("sphere", 2, 0.06), ("cube", 2, 0.12), ("torus", 0, 0.1), ("plate", 2, 0.15)]
)
def test_solids_are_built_closed_and_in_place(name: str, euler_number: int, mean_px: float) -> None:
    """Six views all around: a closed manifold with the right handles, about a tenth of a pixel from the truth."""
    mesh = built(name).mesh
    geometry_scenes.assert_closed_manifold(mesh)
    solid = geometry_scenes.as_trimesh(mesh)
    assert solid.euler_number == euler_number
    assert solid.volume > 0
    error_px = geometry_scenes.error_m(name, mesh) / geometry_scenes.observed(name).pixel_m
    assert error_px.mean() < mean_px
    assert error_px.max() < 1


def test_a_torus_photographed_from_the_side_keeps_its_hole() -> None:
    """Views that see into the hole from above and from below, but not through it: a torus, not a drum."""
    seen = geometry_scenes.observed("torus", "orbit6", 128, supersample=1)
    mesh = build_geometry(seen, FusionSettings(grid_resolution=96), 3000).mesh
    geometry_scenes.assert_closed_manifold(mesh)
    assert geometry_scenes.as_trimesh(mesh).euler_number == 0
    assert geometry_scenes.error_m("torus", mesh).mean() < 0.2 * seen.pixel_m


def test_the_grid_follows_the_pixels() -> None:
    """Two pixels a voxel along the longest side, an even number, within what is worth it and affordable."""
    seen = geometry_scenes.observed("sphere")
    for pixels_along, expected in ((300, 150), (1000, 192), (20, 96)):
        assert choose_resolution(seen, pixels_along * seen.pixel_m) == expected


def test_thin_walls_have_voxels_across_them() -> None:
    """A wall of as many voxels as the pixels ask for makes them half as wide; where none is thin, pixels decide."""
    seen = geometry_scenes.observed("sphere")
    voxel_m = 2 * seen.pixel_m
    assert choose_resolution(seen, 80 * voxel_m) == 96
    assert choose_resolution(seen, 80 * voxel_m, voxel_m) == 160


def test_blur_smooths_lone_surfaces_and_leaves_thin_walls() -> None:
    """A wall of 1.2 voxels stays where it is; noise on a wide one is halved."""
    z = torch.arange(40.0).expand(12, 12, 40) - 19.7
    assert torch.equal(build._blurred(z.abs() - 0.6, True) < 0, z.abs() < 0.6)
    assert not (build._blurred(z.abs() - 0.6, False) < 0).any()
    rough = z + 0.3 * torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    near = z.abs() < 0.5
    assert (build._blurred(rough, True) - z)[near].std() < 0.5 * (rough - z)[near].std()


def test_a_thin_wall_stays_under_noise() -> None:
    """A pan of 2.5 mm through a sensor with as much noise: nearly all that was seen of it is there, in one piece."""
    seen = geometry_scenes.observed_noisy("pan", 256)
    assert seen.noise_m > 0.002
    mesh = build_geometry(seen, FusionSettings(grid_resolution=144), 20_000).mesh
    geometry_scenes.assert_closed_manifold(mesh)
    points = seen.points_world()[seen.depth_mask][::5].double().numpy()
    true_m = np.abs(geometry_scenes.SOLIDS["pan"].signed_distance_m(points))
    samples = trimesh.sample.sample_surface(geometry_scenes.as_trimesh(mesh), 100_000, seed=0)[0]
    apart_m, _ = cKDTree(samples).query(points[true_m < 0.0005])
    assert np.mean(apart_m < 0.0015) > 0.97


def test_the_grid_is_the_one_asked_for() -> None:
    """48 voxels along the longest side of the measured points; as many faces as were asked for."""
    geometry = built("sphere")
    assert geometry.resolution == 48
    assert geometry.voxel_m == pytest.approx(0.2 / 48, rel=0.1)
    assert 0.9 * 3000 < len(geometry.mesh.faces) <= 1.05 * 3000


def test_outlines_alone_give_the_visual_hull() -> None:
    """Six photographs of a sphere without any depth: a closed piece that holds the sphere and little more."""
    capture = geometry_scenes.photographed("sphere")
    views = tuple(replace(view, depth=None) for view in capture.views)
    observations = observe(replace(capture, views=views), geometry_scenes.CPU)
    geometry = build_geometry(observations, COARSE, 3000)
    geometry_scenes.assert_closed_manifold(geometry.mesh)
    centre = torch.from_numpy(geometry_scenes.SOLIDS["sphere"].centre_world).float()
    radius_m = (geometry.mesh.positions_world - centre).norm(dim=1)
    assert radius_m.min() > 0.1 - geometry.voxel_m
    assert radius_m.max() < 0.1 * 1.3
    assert geometry.voxel_m < 1.3 * 0.2 / 48


def test_building_twice_gives_the_same_bits() -> None:
    """Same views, same mesh, bit for bit."""
    again = build_geometry(geometry_scenes.observed("torus"), COARSE, 3000).mesh
    assert torch.equal(again.positions_world, built("torus").mesh.positions_world)
    assert torch.equal(again.faces, built("torus").mesh.faces)


def test_outlines_that_do_not_meet_are_no_object() -> None:
    """Where every view sees background only, there is nothing to build, and the error says so."""
    seen = geometry_scenes.observed("sphere")
    nothing = torch.zeros_like(seen.depth_mask)
    empty = replace(seen, silhouette_px=torch.full_like(seen.silhouette_px, 1e3), depth_mask=nothing)
    with pytest.raises(ObjectNotFound, match="leave no room"):
        build_geometry(empty, COARSE, 3000)
