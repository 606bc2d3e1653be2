"""What the depth codes mean, judged under known cameras."""

from dataclasses import replace

import pytest
import torch

from recon import frames
from recon.cameras.agreement import Views, make_views
from recon.cameras.depth_meaning import INVERSE, PLANAR, RAY, judge_depth_meaning, reading_costs
from recon.cameras.preparation import make_surfaces, state_from_cameras
from recon.cameras.rig_state import RigState
from recon.cameras.surfaces import draw_samples
from recon.scene import DepthMap, View
from scenes import cube6_cameras, make_capture, toy

CPU = torch.device("cpu")


def encoded(reading: str, view: View) -> View:
    """A view whose depth image holds this reading of its depth, in camera distances."""
    depth = view.depth
    assert depth is not None
    distance_m = 3 * toy().diagonal_m
    z = depth.depth_z / distance_m
    if reading == RAY:
        own = view.posed_camera.intrinsics
        centres_px = frames.pixel_centres_px(*z.shape)
        slope_x = (centres_px[..., 0] - own.principal_x_px) / own.focal_x_px
        slope_y = (centres_px[..., 1] - own.principal_y_px) / own.focal_y_px
        z = z * (1 + slope_x**2 + slope_y**2).sqrt()
    if reading == INVERSE:
        z = 2 - 1 / z.clamp_min(0.1)
    return replace(view, depth=DepthMap(torch.where(depth.valid_mask, z, 0.0), depth.valid_mask))


def rig(reading: str) -> tuple[RigState, Views]:
    """Six views along the axes, at distance 1, with depth images of this reading."""
    scene = toy()
    capture = make_capture(scene, cube6_cameras(scene, 128), supersample=1)
    views = [encoded(reading, view) for view in capture.views]
    surfaces = list(make_surfaces(tuple(views), CPU).values())
    state = state_from_cameras(views, surfaces, CPU)
    world_from_camera = state.world_from_camera.clone()
    world_from_camera[:, :3, 3] /= 3 * scene.diagonal_m
    return replace(state, world_from_camera=world_from_camera), make_views(surfaces, draw_samples(surfaces, 1500, 0))


@pytest.mark.parametrize("reading", [PLANAR, RAY, INVERSE])
def test_the_true_reading_costs_least(reading: str) -> None:
    """Depth images that hold depth, ray lengths or inverse depth are cheapest when they are read as such."""
    costs = reading_costs(*rig(reading))
    assert min(costs, key=lambda name: costs[name]) == reading


def test_the_report_names_costs_and_margin() -> None:
    """The evidence holds the cost of every reading and how many times more the next best costs."""
    evidence = judge_depth_meaning(*rig(PLANAR)).evidence
    assert "planar: cost" in evidence
    assert f"{RAY}: cost" in evidence
    assert f"{INVERSE}: cost" in evidence
    assert "times as much or more" in evidence
