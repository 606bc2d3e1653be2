"""Captures without cameras."""

import functools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from recon.cameras import solve_cameras
from recon.errors import UnsolvedCameras
from recon.scene import Camera, Capture, DepthMap, View
from recon.settings import NvdiffrecSettings, OptimiseSettings, Settings
from scenes import FIELD_OF_VIEW_DEG, cube6_cameras, make_capture, orbit6_cameras, toy
from shapes import Scene, pan, torus

CPU = torch.device("cpu")
SHUFFLED = (4, 2, 0, 5, 3, 1)


def _as_8_bit(view: View) -> View:
    """Depth normalised to the view's own farthest point, in 255 levels, and no camera."""
    assert view.depth is not None
    depth, valid = view.depth.depth_z, view.depth.valid_mask
    levels = (depth / depth[valid].max() * 255).floor().clamp(0, 255)
    return replace(view, camera=None, depth=DepthMap((levels + 0.5) / 255, valid, True, 1 / 255))


@functools.cache
def _photograph(make_scene: Callable[[], Scene]) -> Capture:
    scene = make_scene()
    return make_capture(scene, cube6_cameras(scene, 192), supersample=1)


def _cube_capture(make_scene: Callable[[], Scene]) -> tuple[Capture, list[Camera]]:
    return _photograph(make_scene), cube6_cameras(make_scene(), 192)


def _relative_angles_rad(rotations: torch.Tensor) -> torch.Tensor:
    traces = torch.einsum("aji,bji->ab", rotations, rotations)
    return ((traces - 1) / 2).clamp(-1, 1).acos()


def test_cube_rig_is_solved_from_shuffled_8_bit_depths() -> None:
    """Six nameless views with 8-bit depth: orientations, depth scales and cameras come out right."""
    capture, cameras = _cube_capture(toy)
    order = list(SHUFFLED)
    views = tuple(replace(_as_8_bit(capture.views[row]), name=f"view_{i:02d}") for i, row in enumerate(order))
    unposed = replace(capture, views=views, cameras_source="none", is_metric=False)
    solved = solve_cameras(unposed, Settings(fov_deg=FIELD_OF_VIEW_DEG), CPU)
    assert solved.cameras_source == "solved"
    assert not solved.is_metric
    found = torch.stack([view.posed_camera.world_from_camera for view in solved.views])
    true = torch.stack([cameras[row].world_from_camera for row in order])
    assert torch.allclose(_relative_angles_rad(found[:, :3, :3]), _relative_angles_rad(true[:, :3, :3]), atol=1e-3)
    distance_m = 3 * toy().diagonal_m
    for view, row in zip(solved.views, order, strict=True):
        exact = capture.views[row].depth
        assert view.depth is not None
        assert exact is not None
        assert not view.depth.is_relative
        ratio = view.depth.depth_z[exact.valid_mask] * distance_m / exact.depth_z[exact.valid_mask]
        assert float(ratio.median()) == pytest.approx(1.0, abs=0.005)
    assert {item.what for item in solved.inferences} >= {"cameras", "field of view", "depth scales", "depth meaning"}


@pytest.mark.slow
def test_field_of_view_is_found_untold() -> None:
    """Six named views with metric depth give the field of view to half a degree, and the distance in metres."""
    scene = toy()
    capture, _ = _cube_capture(toy)
    names = ("front", "right", "back", "left", "top", "bottom")
    views = tuple(replace(view, camera=None, name=name) for view, name in zip(capture.views, names, strict=True))
    solved = solve_cameras(replace(capture, views=views), Settings(), CPU)
    assert solved.is_metric
    intrinsics = solved.views[0].posed_camera.intrinsics
    true = capture.views[0].posed_camera.intrinsics
    assert intrinsics.focal_x_px == pytest.approx(true.focal_x_px, rel=0.02)
    assert float(solved.views[0].posed_camera.position_world.norm()) == pytest.approx(3 * scene.diagonal_m, rel=0.03)
    top = solved.views[4].posed_camera.position_world
    assert float(top[1]) == pytest.approx(float(top.norm()), rel=0.01)


def test_zero123_rig_is_solved_from_file_order() -> None:
    """Six views at +20 and -10 degrees in turn, with 8-bit depth: angles between cameras come out right."""
    scene = toy()
    cameras = orbit6_cameras(scene, 160)
    capture = make_capture(scene, cameras, supersample=1)
    unposed = replace(capture, views=tuple(_as_8_bit(view) for view in capture.views), is_metric=False)
    solved = solve_cameras(unposed, Settings(rig="zero123", fov_deg=FIELD_OF_VIEW_DEG), CPU)
    found = torch.stack([view.posed_camera.world_from_camera[:3, :3] for view in solved.views])
    true = torch.stack([camera.world_from_camera[:3, :3] for camera in cameras])
    assert torch.allclose(_relative_angles_rad(found), _relative_angles_rad(true), atol=0.01)
    assert "Zero123++" in next(item.value for item in solved.inferences if item.what == "cameras")


def test_views_of_different_objects_are_refused() -> None:
    """No rig explains views that show different things: an error that says so, not a guess."""
    first, _ = _cube_capture(toy)
    second, _ = _cube_capture(pan)
    third, _ = _cube_capture(torus)
    mixed = tuple(
        replace(_as_8_bit(capture.views[index]), name=f"view_{index:02d}")
        for index, capture in enumerate((first, second, third, second, third, first))
    )
    capture = replace(first, views=mixed)
    with pytest.raises(UnsolvedCameras) as caught:
        solve_cameras(capture, Settings(rig="cube", fov_deg=FIELD_OF_VIEW_DEG), CPU)
    assert caught.value.code == "CAMERAS_UNSOLVED"
    assert caught.value.details["best_hypothesis"]


def test_given_cameras_give_8_bit_depth_its_scale() -> None:
    """With cameras, depth without a unit becomes metres to half a percent."""
    capture, cameras = _cube_capture(toy)
    views = tuple(replace(_as_8_bit(view), camera=camera) for view, camera in zip(capture.views, cameras, strict=True))
    settings = Settings(nvdiffrec=NvdiffrecSettings(optimise=OptimiseSettings(refine_cameras="off")))
    solved = solve_cameras(replace(capture, views=views, is_metric=False), settings, CPU)
    assert solved.is_metric
    for view, exact in zip(solved.views, capture.views, strict=True):
        assert view.depth is not None
        assert exact.depth is not None
        ratio = (view.depth.depth_z / exact.depth.depth_z)[exact.depth.valid_mask]
        assert float(ratio.median()) == pytest.approx(1.0, abs=0.005)


def test_view_without_depth_cannot_be_placed() -> None:
    """Without cameras every view needs depth; the message names the one that lacks it."""
    capture, _ = _cube_capture(toy)
    views = [replace(view, camera=None) for view in capture.views]
    views[3] = replace(views[3], depth=None)
    with pytest.raises(UnsolvedCameras, match="view_03"):
        solve_cameras(replace(capture, views=tuple(views)), Settings(), CPU)
