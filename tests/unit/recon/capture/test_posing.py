"""recon.capture.posing: stated cameras to ours."""

import math
from dataclasses import replace

import pytest
import torch

import job_folders
import scenes
from recon.capture.manifest import StatedCamera
from recon.capture.posing import common_target_world, median_target_distance_m, pose_camera, world_from_camera
from recon.errors import InvalidCameras
from recon.frames import invert_rigid

SCENE = scenes.toy()
CAMERAS = scenes.orbit6_cameras(SCENE, 64)
STATED = StatedCamera(
    tuple(map(tuple, job_folders.gl_matrix(CAMERAS[1]))), "opengl", (640, 480), (500.0, 510.0), (300.0, 250.0)
)


def test_opengl_axes_become_ours():
    """A camera written with OpenGL axes comes back as it was."""
    torch.testing.assert_close(world_from_camera(STATED), CAMERAS[1].world_from_camera)


def test_the_other_direction_is_inverted():
    """camera-from-world and world-from-camera state the same camera."""
    inverse = invert_rigid(CAMERAS[1].world_from_camera)
    stated = StatedCamera(tuple(map(tuple, inverse.tolist())), "opencv", is_camera_from_world=True, focal_px=(1.0, 1.0))
    torch.testing.assert_close(world_from_camera(stated), CAMERAS[1].world_from_camera)


def test_rounded_digits_become_an_exact_rotation():
    """Four digits per number give a rotation that is orthonormal to machine precision and near the stated one."""
    rounded = tuple(tuple(round(value, 4) for value in row) for row in STATED.transform)
    matrix = world_from_camera(replace(STATED, transform=rounded))
    torch.testing.assert_close(matrix[:3, :3] @ matrix[:3, :3].T, torch.eye(3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(matrix, CAMERAS[1].world_from_camera, atol=2e-4, rtol=0)


def test_intrinsics_follow_the_photograph():
    """A photograph at half the stated size halves focal length and principal point."""
    intrinsics = pose_camera(STATED, 320, 240, "a", "transforms.json").intrinsics
    assert (intrinsics.focal_x_px, intrinsics.focal_y_px) == (250.0, 255.0)
    assert (intrinsics.principal_x_px, intrinsics.principal_y_px) == (150.0, 125.0)


def test_field_of_view_and_centre_are_the_fallbacks():
    """With a field of view alone, half the width is seen under half of it, and the axis meets the middle."""
    stated = replace(STATED, size_px=None, focal_px=None, principal_px=None, field_of_view_x_rad=0.8)
    intrinsics = pose_camera(stated, 200, 100, "a", "transforms.json").intrinsics
    assert math.atan(100 / intrinsics.focal_x_px) == pytest.approx(0.4)
    assert intrinsics.focal_x_px == intrinsics.focal_y_px
    assert (intrinsics.principal_x_px, intrinsics.principal_y_px) == (100.0, 50.0)


def test_another_aspect_ratio_is_refused():
    """Intrinsics for a landscape picture do not fit a portrait one."""
    with pytest.raises(InvalidCameras) as caught:
        pose_camera(STATED, 480, 640, "a", "transforms.json")
    assert caught.value.file == "transforms.json"


def test_the_common_target_is_where_all_axes_meet():
    """Cameras that look at one point reveal it, and their distance to it."""
    torch.testing.assert_close(common_target_world(CAMERAS), torch.from_numpy(SCENE.centre_world), atol=1e-6, rtol=0)
    assert median_target_distance_m(CAMERAS) == pytest.approx(3 * SCENE.diagonal_m, rel=1e-6)


def test_cameras_that_look_nowhere_in_common_have_no_target_distance():
    """Parallel cameras, cameras turned away, and one alone give no distance instead of a wrong one."""
    turned = [
        replace(
            camera, world_from_camera=camera.world_from_camera @ torch.diag(torch.tensor([-1.0, 1, -1, 1]).double())
        )
        for camera in CAMERAS
    ]
    assert median_target_distance_m(turned) is None
    assert median_target_distance_m(CAMERAS[:1]) is None
    assert median_target_distance_m([CAMERAS[0], CAMERAS[0]]) is None
