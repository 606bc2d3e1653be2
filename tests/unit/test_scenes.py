"""The analytic scenes themselves: what they claim to know is true, and their faults are of the stated size."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import scenes
from recon.scene import batch_cameras

SCENES = {scene.name: scene for scene in scenes.every_scene()}


def surface_points(view):
    """World points of a view's measured depth."""
    batch = batch_cameras([view.posed_camera], view.height_px, view.width_px, "cpu", torch.float64)
    return batch.unproject(view.depth.depth_z.double()[None])[0][view.depth.valid_mask].numpy()


@pytest.mark.parametrize("name", SCENES)
def test_rendered_depth_lies_on_the_surface(name):
    """Every measured pixel of every solid is within a tenth of a micrometre of the true surface."""
    scene = SCENES[name]
    for view in scenes.make_capture(scene, scenes.orbit6_cameras(scene, 48)[:2], supersample=1).views:
        points = surface_points(view)
        assert len(points) > 20
        assert np.abs(scene.signed_distance_m(points)).max() < 1.5e-7


@pytest.mark.parametrize("name", SCENES)
def test_distances_are_distances(name):
    """A point stepped along the normal by a few millimetres is that far from the surface, or nearer at a corner."""
    scene = SCENES[name]
    points = scene.sample_surface(200, seed=1)
    assert np.abs(scene.signed_distance_m(points)).max() < 1e-9
    outside = scene.signed_distance_m(points + 0.003 * scene.normals_world(points))
    assert (outside <= 0.003 + 1e-9).all()
    assert np.median(outside) == pytest.approx(0.003, abs=1e-5)


@pytest.mark.parametrize("name", SCENES)
def test_bounds_hold_the_solid_tightly(name):
    """Surface samples lie inside the stated bounds and come near each of their six sides."""
    scene = SCENES[name]
    points = scene.sample_surface(4000)
    assert (points >= scene.low_world - 1e-9).all()
    assert (points <= scene.high_world + 1e-9).all()
    assert np.abs(points.min(0) - scene.low_world).max() < 0.02 * scene.diagonal_m
    assert np.abs(points.max(0) - scene.high_world).max() < 0.02 * scene.diagonal_m


def test_coverage_is_a_box_filter():
    """The mean alpha of a sphere's picture is the area of its silhouette in closed form, to 0.2 %."""
    scene = scenes.sphere()
    camera = scenes.orbit6_cameras(scene, 128)[0]
    alpha = scenes.render(scene, camera, 5).alpha
    distance_m = 3 * scene.diagonal_m
    radius_px = camera.intrinsics.focal_x_px * 0.1 / np.sqrt(distance_m**2 - 0.1**2)
    assert float(alpha.sum()) == pytest.approx(np.pi * radius_px**2, rel=0.002)


def test_the_orbit_turns_in_steps_of_sixty_degrees():
    """Six cameras look at the middle from elevations +20 and -10, 60 degrees apart, the first along +y."""
    scene = scenes.toy()
    offsets = [camera.position_world.numpy() - scene.centre_world for camera in scenes.orbit6_cameras(scene)]
    elevations = [np.degrees(np.arcsin(offset[2] / np.linalg.norm(offset))) for offset in offsets]
    azimuths = [np.degrees(np.arctan2(offset[0], -offset[1])) % 360 for offset in offsets]
    np.testing.assert_allclose(elevations, [20, -10] * 3, atol=1e-9)
    np.testing.assert_allclose(np.round(azimuths, 6) % 360, [0, 60, 120, 180, 240, 300], atol=1e-5)


def test_sensor_noise_has_the_stated_size():
    """Away from edges the axial error is 1.5 mm times the squared distance over 0.75 m, in steps of 1 mm."""
    scene = scenes.cube()
    cameras = scenes.cube6_cameras(scene, 128)[:1]
    clean = scenes.make_capture(scene, cameras, supersample=1).views[0].depth
    noisy = scenes.make_capture(scene, cameras, scenes.Faults(has_sensor_noise=True), supersample=1).views[0].depth
    both = clean.valid_mask & noisy.valid_mask
    error_m = (noisy.depth_z - clean.depth_z)[both]
    spread_m = float(error_m[error_m.abs() < 6e-3].square().mean().sqrt())
    assert spread_m == pytest.approx(1.5e-3 * (float(clean.depth_z[both].median()) / 0.75) ** 2, rel=0.15)
    steps = noisy.depth_z[both].double() * 1000
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert 0.01 < float((clean.valid_mask & ~noisy.valid_mask).sum() / clean.valid_mask.sum()) < 0.3


def test_misplaced_cameras_are_off_by_the_stated_amount():
    """A pose fault turns each camera by exactly 2 degrees and moves what it looks at by exactly 5 mm."""
    scene = scenes.toy()
    cameras = scenes.orbit6_cameras(scene, 16)
    capture = scenes.make_capture(scene, cameras, scenes.Faults(turn_deg=2.0, shift_m=0.005), supersample=1)
    for true, view in zip(cameras, capture.views, strict=True):
        stated_from_true = view.camera.world_from_camera @ torch.linalg.inv(true.world_from_camera)
        angle = torch.arccos(((stated_from_true[:3, :3].trace() - 1) / 2).clamp(-1, 1))
        assert float(angle.rad2deg()) == pytest.approx(2.0, abs=1e-6)
        centre = torch.from_numpy(scene.centre_world)
        assert float((stated_from_true[:3, :3] @ centre + stated_from_true[:3, 3] - centre).norm()) == pytest.approx(
            5e-3
        )


def test_exposure_gains_scale_linear_light():
    """A gain of one half halves linear light and touches nothing else."""
    from recon.colour import linear_from_srgb

    scene = scenes.cube()
    plain = scenes.make_capture(scene, scenes.orbit6_cameras(scene, 32)[:2])
    dimmed = scenes.make_capture(scene, scenes.orbit6_cameras(scene, 32)[:2], scenes.Faults(exposure_gains=(1.0, 0.5)))
    torch.testing.assert_close(plain.views[0].image_srgb, dimmed.views[0].image_srgb)
    ratio = linear_from_srgb(plain.views[1].image_srgb) * 0.5
    torch.testing.assert_close(linear_from_srgb(dimmed.views[1].image_srgb), ratio, atol=1e-5, rtol=1e-4)


def test_gloss_depends_on_the_view():
    """The highlight on a glossy cylinder moves over its surface with the camera; without gloss it is gone."""
    glossy = scenes.glossy_cylinder()
    spots = []
    for camera in scenes.orbit6_cameras(glossy, 64)[:2]:
        rendered, matt = (scenes.render(scene, camera, 1) for scene in (glossy, replace(glossy, gloss=0.0)))
        added = (rendered.image_srgb - matt.image_srgb).sum(-1)
        assert float(added.max()) > 0.3
        batch = batch_cameras([camera], 64, 64, "cpu", torch.float64)
        positions = batch.unproject(torch.from_numpy(rendered.depth_z_m)[None])[0]
        spots.append((positions * added[..., None]).sum((0, 1)) / added.sum())
    assert float((spots[0] - spots[1]).norm()) > 0.01
