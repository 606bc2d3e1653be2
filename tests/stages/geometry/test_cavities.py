"""Insides of vessels go on behind what was seen of them; solids are left alone."""

from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage

import geometry_scenes
import scenes
from recon.geometry import build, cavities
from recon.geometry.cavities import DEPTH_PER_WIDTH, SeenSpace, _space_behind, continue_cavities
from recon.geometry.fusion import fuse
from recon.geometry.grid import Grid, enclosing_grid
from recon.observations import Observations, observe
from recon.scene import TriangleMesh
from recon.settings import FusionSettings


def noticed(observations: Observations, name: str, resolution: int = 48) -> tuple[SeenSpace, Grid]:
    """What views know about a solid, on a grid around it."""
    scene = geometry_scenes.SOLIDS[name]
    low, high = (torch.from_numpy(corner).float() for corner in (scene.low_world, scene.high_world))
    grid = enclosing_grid(low, high, resolution)
    field = fuse(observations, grid.positions_world(), 0.3 * grid.spacing_m)
    distance = (field.distance_m / grid.spacing_m).view(grid.shape)
    is_near = distance.abs() < 1
    is_measured, is_touched = (mask.view(grid.shape) & is_near for mask in (field.is_measured, field.is_touched))
    return SeenSpace(distance, distance > 0, is_measured, is_touched), grid


@cache
def seen_space(name: str) -> tuple[Observations, SeenSpace, Grid]:
    """What six views from the sides know about a solid."""
    observations = geometry_scenes.observed(name, "orbit6", 128, supersample=1)
    return observations, *noticed(observations, name)


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
        drum = built(128)
    true_volume_m3 = np.pi * (0.1**2 * 0.09 - 0.092**2 * 0.082)
    geometry_scenes.assert_closed_manifold(mesh)
    assert geometry_scenes.as_trimesh(mesh).euler_number == 2  # no hole in its wall
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


def test_a_mug_is_hollow_to_its_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walls of even thickness are a shell's: its whole inside becomes free, by its width alone less than two thirds."""
    observations, seen, grid = seen_space("mug")
    scene = geometry_scenes.SOLIDS["mug"]
    positions = grid.positions_world().double().numpy()
    true = torch.from_numpy(scene.signed_distance_m(positions)).view(grid.shape) / grid.spacing_m
    x, y, z = (positions - scene.centre_world + np.array([0.0125 + 0.002, 0, 0])).T
    in_cavity = torch.from_numpy((np.hypot(x, y) < 0.036) & (np.abs(z) < 0.05)).view(grid.shape)
    is_unseen = ~seen.is_free & (true > 1) & in_cavity
    assert is_unseen.sum() > 1000
    walls = continue_cavities(observations, seen, grid)
    assert (walls > 0)[is_unseen].float().mean() > 0.95
    assert (true[walls > 0] < -1).float().mean() < 0.01
    monkeypatch.setattr(cavities, "EVEN_WALLS", 0.0)
    assert (continue_cavities(observations, seen, grid) > 0)[is_unseen].float().mean() < 2 / 3


def test_a_noisy_bowl_stays_hollow() -> None:
    """With noise a voxel and a third wide, as at 512 pixels, it has its true volume to 5 %; filled it has twice."""
    observations = geometry_scenes.observed_noisy("bowl", 256)
    geometry = build.build_geometry(observations, FusionSettings(grid_resolution=144), 20_000)
    assert observations.noise_m > 1.2 * geometry.voxel_m
    scene = geometry_scenes.SOLIDS["bowl"]
    axes = [np.linspace(low, high, 96) for low, high in zip(scene.low_world, scene.high_world, strict=True)]
    positions = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    cell_m3 = np.prod([axis[1] - axis[0] for axis in axes])
    true_m3 = (scene.signed_distance_m(positions) < 0).sum() * cell_m3
    assert geometry_scenes.as_trimesh(geometry.mesh).volume == pytest.approx(true_m3, rel=0.05)


def test_walls_that_no_measured_point_is_near_do_not_count() -> None:
    """Samples in the bowl's unseen inside that only seem to be measured change nothing."""
    observations, seen, grid = seen_space("bowl")
    walls = continue_cavities(observations, seen, grid)
    deep = (walls > 5) & ~cavities._near_points(observations, grid)
    assert deep.sum() > 5000
    haunted = continue_cavities(observations, replace(seen, is_measured=seen.is_measured | deep), grid)
    assert torch.equal(haunted, walls)


@pytest.mark.parametrize("name", ["cube", "toy"])
def test_solids_are_left_alone(name: str) -> None:
    """Nothing is continued where no wall was seen from both sides, whatever stayed in the shade."""
    observations, seen, grid = seen_space(name)
    assert (continue_cavities(observations, seen, grid) == -torch.inf).all()


def test_a_cavity_goes_on_under_sensor_noise() -> None:
    """Nearly all of the bowl's unseen inside becomes free though depth is noisy, and next to nothing of its walls."""
    observations = geometry_scenes.observed_noisy("bowl", 192)
    assert observations.has_noise
    seen, grid = noticed(observations, "bowl")
    walls = continue_cavities(observations, seen, grid)
    scene = geometry_scenes.SOLIDS["bowl"]
    positions = grid.positions_world().double().numpy()
    true = torch.from_numpy(scene.signed_distance_m(positions)).view(grid.shape) / grid.spacing_m
    in_cavity = torch.from_numpy(np.hypot(*(positions - scene.centre_world)[:, :2].T) < 0.092).view(grid.shape)
    is_unseen = ~seen.is_free & (true > 1) & in_cavity
    assert is_unseen.sum() > 1000
    assert (walls > 0)[is_unseen].float().mean() > 0.9
    assert (true[walls > 0] < -1).float().mean() < 0.01


def test_thin_parts_without_depth_are_not_pierced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plate whose middle gave no depth from either side, a mirror say, stays whole: outlines say that it is there."""
    seen = geometry_scenes.observed("plate", "orbit6", 128, supersample=1)
    plate = geometry_scenes.SOLIDS["plate"]
    offset_m = (seen.points_world() - torch.from_numpy(plate.centre_world).float()).norm(dim=-1)
    dull = replace(seen, depth_mask=seen.depth_mask & (offset_m > 0.03))
    space, grid = noticed(dull, "plate")
    assert (continue_cavities(dull, space, grid) <= 0).all()
    with monkeypatch.context() as patched:
        patched.setattr(cavities, "_is_needed", lambda *parts: torch.zeros(grid.shape, dtype=torch.bool))
        assert (continue_cavities(dull, space, grid) > 0).any()


@pytest.mark.parametrize("name", ["mug", "bowl"])
def test_what_no_depth_shows_of_an_inside_does_not_fill_it(name: str) -> None:
    """Holes of 15 % of the diagonal at three places of the rim: hardly any of the mesh is far from the truth."""
    solid = geometry_scenes.SOLIDS[name]
    faults = scenes.Faults(unmeasured_radius=0.15)
    capture = scenes.make_capture(solid, scenes.orbit6_cameras(solid, 128), faults, supersample=1)
    mesh = build.build_geometry(observe(capture, geometry_scenes.CPU), FusionSettings(), 8000).mesh
    geometry_scenes.assert_closed_manifold(mesh)
    area = mesh.scaled_face_normals().norm(dim=1).double()
    middles = mesh.positions_world[mesh.faces].double().mean(1)
    is_far = torch.from_numpy(np.abs(solid.signed_distance_m(middles.numpy())) > 0.04 * solid.diagonal_m)
    assert float((area * is_far).sum() / area.sum()) < 0.005


def test_what_lies_deep_behind_a_slit_is_left_to_the_fill() -> None:
    """With walls ten samples away and two thick, free space reaches twelve samples, no nearer to the walls than two."""
    is_unseen = torch.ones(5, 21, 60, dtype=torch.bool)
    depth = torch.minimum(torch.arange(21), 20 - torch.arange(21)).float()[None, :, None].expand(is_unseen.shape)
    opening, wall = torch.tensor([[2, 10, 0]]), torch.tensor([2.0])
    reach, clearance = _space_behind(opening, wall, depth, is_unseen)
    along = torch.arange(60.0)
    assert torch.allclose(reach[2, 10], DEPTH_PER_WIDTH * 8 - along)
    assert torch.allclose(clearance[2, :, 5], depth[2, :, 5] - 2)


def test_a_wall_bounds_what_lies_behind_it_alone() -> None:
    """In the shadow before a wall the views say how deep a sample lies, behind it the wall; gaps count anywhere."""
    shape = (20, 5, 5)
    distance = torch.full(shape, -30.0)
    distance[10] = 0.0
    distance[4] = -1.0
    is_wall = torch.zeros(shape, dtype=torch.bool)
    is_wall[10] = True
    outwards = torch.zeros(3, *shape)
    outwards[0, 10] = 1.0
    nothing = torch.zeros(shape, dtype=torch.bool)
    seen = SeenSpace(distance, nothing, is_wall, nothing)
    depth = cavities._depth_behind(nothing.numpy(), nothing.numpy(), outwards, seen)[:, 2, 2]
    assert depth[13] == 30
    assert depth[7] == 3
    assert depth[4] == 1


def test_cones_of_sight_through_holes_are_no_walls() -> None:
    """Hidden space between rays that passed through holes is as deep as walls are far, not as the rays are near."""
    shape = (20, 5, 5)
    distance = torch.full(shape, -1.0)
    is_free = torch.zeros(shape, dtype=torch.bool)
    is_free[14] = True
    distance[14] = 1.0
    is_wall = torch.zeros(shape, dtype=torch.bool)
    is_wall[0] = True
    outwards = torch.zeros(3, *shape)
    outwards[0, 0] = -1.0
    distance[0] = 0.0
    seen = SeenSpace(distance, is_free, is_wall, torch.zeros_like(is_wall))
    nothing = np.zeros(shape, bool)
    through_hole = cavities._depth_behind(nothing, is_free.numpy(), outwards, seen)[:, 2, 2]
    beyond_gap = cavities._depth_behind(nothing, nothing, outwards, seen)[:, 2, 2]
    assert through_hole[13] == 13
    assert beyond_gap[13] == 1


def test_a_shell_s_handle_is_solid() -> None:
    """Before walls three thick a passage that reaches two beyond them stays solid, not a wide hollow's corners."""
    clearance = torch.full((40, 40, 40), -1.0)
    inside = torch.zeros(40, 40, 40, dtype=torch.bool)
    inside[2:20, 2:38, 2:38] = True
    inside[20:38, 18:21, 18:21] = True
    clearance = torch.from_numpy(ndimage.distance_transform_edt(inside.numpy())).float().where(inside, clearance)
    is_open = np.zeros(inside.shape, bool)
    is_open[2, 20, 20] = True
    roomy = cavities._roomy(clearance, torch.full_like(clearance, 3.0), is_open)
    hollow = inside.clone()
    hollow[20:] = False
    assert (roomy[hollow] > 0).float().mean() > 0.99
    assert (roomy[26:] <= 0).all()


def test_gaps_of_a_few_samples_are_no_openings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a bowl's opening eleven samples along its wall say nothing, twelve how thick the wall is."""
    observations, seen, grid = seen_space("bowl")
    free, measured = seen.is_free.numpy(), seen.is_measured.numpy()
    labels, _ = ndimage.label(free & ndimage.binary_dilation(~free & ~measured) & ~measured, cavities.NEIGHBOURHOOD)
    opening = int(np.flatnonzero(np.isfinite(cavities._edge_walls(observations, labels, grid).thickness))[0])
    along_wall = np.argwhere((labels == opening) & ndimage.binary_dilation(measured))
    monkeypatch.setattr(cavities, "MIN_EDGE_POINTS", 1)
    for count, is_known in ((cavities.MIN_OPENING - 1, False), (cavities.MIN_OPENING, True)):
        gap = np.zeros_like(labels)
        gap[tuple(along_wall[:count].T)] = 1
        assert np.isfinite(cavities._edge_walls(observations, gap, grid).thickness[1]) == is_known


@pytest.mark.parametrize("resolution", [24, 48, 72])
def test_an_edge_needs_as_many_points_as_its_border_has_samples(resolution: int) -> None:
    """Whatever the grid: half as many around a bowl's opening say nothing of it, half as many again something."""
    observations = geometry_scenes.observed("bowl", "orbit6", 128, supersample=1)
    seen, grid = noticed(observations, "bowl", resolution)
    free, measured = seen.is_free.numpy(), seen.is_measured.numpy()
    labels, _ = ndimage.label(free & ndimage.binary_dilation(~free & ~measured) & ~measured, cavities.NEIGHBOURHOOD)
    opening = labels == np.argmax(np.bincount(labels[labels > 0]))
    around = opening_points(observations, opening, grid)
    border = cavities.MIN_EDGE_POINTS * opening.sum() ** 0.5
    assert around.sum() > 2 * border
    for share, is_known in ((0.5, False), (1.5, True)):
        keep = torch.rand(around.shape, generator=torch.Generator().manual_seed(0)) < share * border / around.sum()
        thinned = replace(observations, depth_mask=observations.depth_mask & (keep | ~around))
        thickness = cavities._edge_walls(thinned, opening.astype(np.int32), grid).thickness[1]
        assert np.isnan(thickness) != is_known


def opening_points(observations: Observations, opening: npt.NDArray[np.bool_], grid: Grid) -> torch.Tensor:
    """Pixels whose points have a normal and lie within two samples of an opening."""
    near = ndimage.binary_dilation(opening, np.ones((5, 5, 5), bool))
    x, y, z = (axis.numpy() for axis in cavities._nearest_samples(observations.points_world().flatten(0, 2), grid))
    has_normal = observations.normals_world.norm(dim=-1) > 0.5
    return torch.from_numpy(near[x, y, z]).view_as(has_normal) & has_normal & observations.depth_mask
