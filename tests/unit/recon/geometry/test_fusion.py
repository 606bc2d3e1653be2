"""Views to one signed distance field."""

from dataclasses import replace

import numpy as np
import torch

import geometry_scenes
import scenes
from recon.geometry.fusion import APART_PX, MIN_INCIDENCE, fuse, object_bounds_world, view_distances
from recon.observations import Observations, observe

SPHERE = geometry_scenes.SOLIDS["sphere"]


def observations() -> Observations:
    return geometry_scenes.observed("sphere", size_px=128)


def without_depth(seen: Observations) -> Observations:
    return replace(seen, depth_mask=torch.zeros_like(seen.depth_mask), incidence=torch.zeros_like(seen.incidence))


def near_surface(count: int = 2000) -> torch.Tensor:
    """Points within a pixel's width of the sphere that some camera sees from within 55 degrees of its normal."""
    rng = np.random.default_rng(3)
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    shift_m = rng.uniform(-1, 1, (count, 1)) * observations().pixel_m
    positions = SPHERE.centre_world + normals * (0.1 + shift_m)
    return torch.from_numpy(positions).float()


def test_field_near_a_sphere_is_its_signed_distance() -> None:
    """Within a pixel of the surface the fused distance is right to a tenth of a pixel on average, and measured."""
    positions = near_surface()
    field = fuse(observations(), positions, 0.0)
    true_m = torch.from_numpy(SPHERE.signed_distance_m(positions.double().numpy())).float()
    error_px = (field.distance_m - true_m).abs() / observations().pixel_m
    assert error_px.mean() < 0.1
    assert error_px.quantile(0.98) < 0.4
    assert field.is_measured.float().mean() > 0.9


def test_field_is_the_distance_in_any_portion() -> None:
    """Samples do not influence each other: any portion of them gets the values that all of them get."""
    positions = near_surface(300)
    whole, part = fuse(observations(), positions, 1e-3), fuse(observations(), positions[100:150], 1e-3)
    assert torch.allclose(whole.distance_m[100:150], part.distance_m, atol=1e-6)
    assert torch.equal(whole.is_measured[100:150], part.is_measured)


def test_inside_and_outside_are_told_apart() -> None:
    """The centre is inside; a point well outside the sphere but within the pictures is outside."""
    centre = torch.from_numpy(SPHERE.centre_world).float()
    field = fuse(observations(), torch.stack([centre, centre + torch.tensor([0.0, 0.0, 0.16])]), 0.0)
    assert field.distance_m[0] < -0.09
    assert field.distance_m[1] > 0.05


def test_what_no_view_shows_has_no_distance() -> None:
    """Outside every picture neither the surface nor the outline says anything."""
    far = torch.tensor([[50.0, 50.0, 50.0]])
    field = fuse(observations(), far, 0.0)
    assert field.distance_m.item() == -torch.inf
    assert not field.is_measured.any()


def test_one_view_speaks_of_its_own_picture() -> None:
    """At the pixel of the nearest point the front view's surface distance is the depth difference."""
    seen = observations()
    position = torch.from_numpy(SPHERE.centre_world).float()[None] + torch.tensor([[0.0, -0.11, 0.0]])
    pixels_px, depth_z_m = seen.cameras.project(position)
    surface_m, outline_m = view_distances(seen, 0, pixels_px[0], depth_z_m[0])
    assert abs(surface_m.item() - 0.01) < 2e-4
    assert outline_m.item() < -0.05


def test_a_pixel_without_a_normal_knows_no_more_than_its_neighbourhood() -> None:
    """Within four pixel widths behind its point it may graze the surface; of what is farther behind it says nothing."""
    seen = observations()
    bare = replace(seen, incidence=torch.zeros_like(seen.incidence))
    behind_m = torch.tensor([-0.05, 2 * seen.pixel_m, 0.05])
    positions = torch.from_numpy(SPHERE.centre_world).float() + torch.tensor([0.0, -0.1, 0.0])
    positions = positions + behind_m[:, None] * torch.tensor([0.0, 1.0, 0.0])
    pixels_px, depth_z_m = seen.cameras.project(positions)
    surface_m, _ = view_distances(bare, 0, pixels_px[0], depth_z_m[0])
    reach_m = APART_PX * seen.pixel_m
    expected_m = [MIN_INCIDENCE * 0.05, -MIN_INCIDENCE * 2 * seen.pixel_m, -MIN_INCIDENCE * reach_m - (0.05 - reach_m)]
    assert torch.allclose(surface_m, torch.tensor(expected_m), atol=4e-4)


def test_a_bottom_seen_from_two_degrees_below_is_where_it_is() -> None:
    """At the cosine .04 of incidence, distances before and behind flat ground are right to a tenth."""
    cube = geometry_scenes.SOLIDS["cube"]
    half_m = float(np.ptp([cube.low_world, cube.high_world], axis=0)[2] / 2)
    far_m = float(np.linalg.norm(scenes.orbit_camera(cube, 0, 0).position_world.numpy() - cube.centre_world))
    below_deg = -float(np.degrees(np.arcsin(half_m / far_m + np.sin(np.radians(2.3)))))
    cameras = [scenes.orbit_camera(cube, azimuth_deg, below_deg, 256) for azimuth_deg in (0, 120, 240)]
    seen = observe(scenes.make_capture(cube, cameras, supersample=1), torch.device("cpu"))
    true_m = torch.tensor([-0.5, 0.5, 1.0]) * seen.pixel_m
    bottom = torch.from_numpy(cube.centre_world).float() - torch.tensor([0.0, 0.0, half_m])
    field = fuse(seen, bottom - true_m[:, None] * torch.tensor([0.0, 0.0, 1.0]), 0.0)
    assert field.is_measured.all()
    assert torch.allclose(field.distance_m, true_m, atol=0.1 * seen.pixel_m)


def test_bounds_hold_the_object_tightly() -> None:
    """The box of the measured points encloses the sphere and is at most a tenth wider."""
    low, high = object_bounds_world(observations())
    assert (low.numpy() < SPHERE.low_world).all()
    assert (high.numpy() > SPHERE.high_world).all()
    assert (high - low).max() < 1.1 * 0.2


def test_outlines_alone_bound_the_object() -> None:
    """Without any depth the box follows from the silhouettes, and is the object's to a quarter."""
    hidden = without_depth(observations())
    low, high = object_bounds_world(hidden)
    assert (low.numpy() < SPHERE.low_world + 1e-3).all()
    assert (high.numpy() > SPHERE.high_world - 1e-3).all()
    assert (high - low).max() < 1.25 * 0.2


def test_what_stands_out_of_the_measured_points_is_within_the_bounds() -> None:
    """No depth image shows the upper third of a ball: the box follows its outlines there, and nowhere else."""
    seen = observations()
    is_low = seen.points_world()[..., 2] < SPHERE.low_world[2] + 0.13
    low, high = object_bounds_world(replace(seen, depth_mask=seen.depth_mask & is_low))
    assert (low.numpy() < SPHERE.low_world).all()
    assert (high.numpy() > SPHERE.high_world).all()
    assert (high - low).max() < 1.25 * 0.2


def test_two_opposite_views_with_holes_have_bounds() -> None:
    """Parallel axes meet nowhere; the box is that of the measured points and what holes may hide beside them."""
    toy = geometry_scenes.SOLIDS["toy"]
    faults = scenes.Faults(unmeasured_radius=0.15)
    for pair in ((0, 1), (2, 3), (4, 5)):
        cameras = [scenes.cube6_cameras(toy, 128)[index] for index in pair]
        seen = observe(scenes.make_capture(toy, cameras, faults, supersample=1), torch.device("cpu"))
        low, high = object_bounds_world(seen)
        points = seen.points_world()[seen.depth_mask]
        assert ((low < points.amin(0)) & (high > points.amax(0))).all()
        assert (high - low).max() < 3 * toy.diagonal_m


def noisy_plate(deeper_m: float) -> tuple[Observations, torch.Tensor]:
    """A plate of 4 mm, with every depth larger by as much, and points all over its middle."""
    seen = geometry_scenes.observed("plate", size_px=128)
    deeper = torch.where(seen.depth_mask, seen.depth_z_m + deeper_m, 0.0)
    middle = torch.from_numpy(geometry_scenes.SOLIDS["plate"].centre_world).float()
    size_m = geometry_scenes.SOLIDS["plate"].high_world - geometry_scenes.SOLIDS["plate"].low_world
    spread = torch.linspace(-0.3, 0.3, 21)
    places = torch.stack(torch.meshgrid(spread, spread, spread, indexing="ij"), -1).reshape(-1, 3)
    flat = torch.from_numpy(size_m > 2 * size_m.min()) * torch.from_numpy(size_m)
    return replace(seen, depth_z_m=deeper, noise_m=0.003), (middle + places * flat).float()


def test_sides_of_a_wall_that_noise_moved_through_each_other_part_again() -> None:
    """A plate of 4 mm whose sides are both seen 2.5 mm too deep is a voxel thick; one with a gap of 10 mm is none."""
    observations, middle = noisy_plate(0.0025)
    assert observations.has_noise
    assert (fuse(replace(observations, noise_m=0.0), middle, 1e-3).distance_m > 0).all()
    inside = fuse(observations, middle, 1e-3).distance_m
    assert ((inside < -0.0005) & (inside > -0.0015)).float().mean() > 0.95
    gone, middle = noisy_plate(0.007)
    assert (fuse(gone, middle, 1e-3).distance_m > 0).all()


def test_noise_of_several_views_averages_out() -> None:
    """Distances near a ball through a noisy sensor: no bias outwards that the largest of all views' would have."""
    seen = geometry_scenes.observed_noisy("sphere", 128)
    positions = near_surface()
    true_m = torch.from_numpy(SPHERE.signed_distance_m(positions.double().numpy())).float()
    bias_m = (fuse(seen, positions, 0.0).distance_m - true_m).mean()
    largest_m = (fuse(replace(seen, noise_m=0.0), positions, 0.0).distance_m - true_m).mean()
    assert bias_m.abs() < 0.7 * largest_m
