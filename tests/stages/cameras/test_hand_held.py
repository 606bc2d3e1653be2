"""Views without cameras and without a rig."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from recon import frames
from recon.cameras import solve_cameras
from recon.cameras.rig_state import align_rigid
from recon.errors import UnsolvedCameras
from recon.scene import Camera, Capture, DepthMap
from recon.settings import Settings
from scenes import Scene, block_with_hole, look_from, make_capture, toy

CPU = torch.device("cpu")


def _hand_held_cameras(scene: Scene, azimuths_deg: list[float], seed: int = 0, size_px: int = 128) -> list[Camera]:
    """Cameras aimed, rolled and placed as a hand would, in no order."""
    rng = np.random.default_rng(seed)
    cameras = []
    for azimuth_deg in rng.permutation(azimuths_deg):
        azimuth, elevation = math.radians(azimuth_deg + rng.uniform(-8, 8)), math.radians(rng.uniform(-5, 45))
        flat = math.cos(elevation)
        direction = np.array([math.sin(azimuth) * flat, -math.cos(azimuth) * flat, math.sin(elevation)])
        camera = look_from(scene, direction, size_px)
        moved = camera.world_from_camera.clone()
        turn = Rotation.from_rotvec(rng.normal(0, [0.03, 0.03, 0.15])).as_matrix()
        moved[:3, :3] = moved[:3, :3] @ torch.from_numpy(turn)
        moved[:3, 3] += moved[:3, 2] * scene.diagonal_m * rng.uniform(-0.3, 0.3)
        cameras.append(replace(camera, world_from_camera=moved))
    return cameras


def _without_cameras(capture: Capture) -> Capture:
    views = tuple(replace(view, camera=None) for view in capture.views)
    return replace(capture, views=views, cameras_source="none")


def _pose_errors(solved: Capture, cameras: list[Camera], reach_m: float) -> tuple[float, float]:
    """Worst turn in degrees and shift in metres after one common rigid alignment."""
    found = torch.stack([view.posed_camera.world_from_camera for view in solved.views])
    true = torch.stack([camera.world_from_camera for camera in cameras])
    ours, theirs = (
        torch.cat([poses[:, :3, 3]] + [poses[:, :3, 3] + reach_m * poses[:, :3, axis] for axis in range(3)])
        for poses in (found, true)
    )
    aligned = align_rigid(ours, theirs) @ found
    traces = torch.diagonal(aligned[:, :3, :3].transpose(1, 2) @ true[:, :3, :3], dim1=1, dim2=2).sum(1)
    turn_deg = torch.rad2deg(((traces - 1) / 2).clamp(-1, 1).acos())
    return float(turn_deg.max()), float((aligned[:, :3, 3] - true[:, :3, 3]).norm(dim=1).max())


@pytest.mark.slow
@pytest.mark.parametrize("make_scene", [toy, block_with_hole])
def test_hand_held_views_are_registered_in_any_order(make_scene: Callable[[], Scene]) -> None:
    """Eight rolled views 45 degrees apart, shuffled: placed to a degree and a hundredth of the distance."""
    scene = make_scene()
    cameras = _hand_held_cameras(scene, [45.0 * index for index in range(8)])
    capture = _without_cameras(make_capture(scene, cameras, supersample=1))
    solved = solve_cameras(capture, Settings(rig="free", fov_deg=27.6), CPU)
    turn_deg, shift_m = _pose_errors(solved, cameras, scene.diagonal_m)
    assert turn_deg < 1.0
    assert shift_m < 0.01 * 3 * scene.diagonal_m
    assert solved.is_metric
    assert "hand-held" in next(item.value for item in solved.inferences if item.what == "cameras")
    ups = torch.stack([-view.posed_camera.world_from_camera[:3, 1] for view in solved.views])
    assert float(ups.mean(0)[1]) > 0.5


def test_a_view_of_something_else_is_refused() -> None:
    """One view of another object among five that belong together: an error, not a rig with a guess in it."""
    scene = toy()
    cameras = _hand_held_cameras(scene, [0.0, 40.0, 80.0, 120.0])
    capture = _without_cameras(make_capture(scene, cameras, supersample=1))
    other = _without_cameras(
        make_capture(block_with_hole(), _hand_held_cameras(block_with_hole(), [0.0]), supersample=1)
    )
    stranger = replace(other.views[0], name="stranger")
    with pytest.raises(UnsolvedCameras):
        solve_cameras(replace(capture, views=(*capture.views, stranger)), Settings(rig="free", fov_deg=27.6), CPU)


def test_relative_depth_cannot_be_registered() -> None:
    """Depths normalised per view have no common unit: without a rig that is said at once."""
    scene = toy()
    capture = _without_cameras(make_capture(scene, _hand_held_cameras(scene, [0.0, 40.0]), supersample=1))
    views = []
    for view in capture.views:
        assert view.depth is not None
        code = view.depth.depth_z / view.depth.depth_z.max()
        views.append(replace(view, depth=DepthMap(code, view.depth.valid_mask, True, 1 / 255)))
    with pytest.raises(UnsolvedCameras, match="one common unit"):
        solve_cameras(replace(capture, views=tuple(views)), Settings(rig="free"), CPU)


def test_alignment_helper_sees_errors() -> None:
    """The measure used above is zero for the truth and grows with a turn."""
    scene = toy()
    cameras = _hand_held_cameras(scene, [0.0, 60.0, 120.0])
    capture = make_capture(scene, cameras, supersample=1)
    assert _pose_errors(capture, cameras, 0.3)[0] < 1e-4
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = frames.rotation_from_vector(torch.tensor([0.0, 0.1, 0.0], dtype=torch.float64))
    turned = replace(cameras[0], world_from_camera=cameras[0].world_from_camera @ turn)
    assert _pose_errors(capture, [turned, *cameras[1:]], 0.3)[0] > 1
