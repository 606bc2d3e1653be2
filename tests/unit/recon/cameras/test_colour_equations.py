"""Colours of one place in two photographs: what they say about cameras, and when they say nothing."""

import functools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon import frames
from recon.arrays import Float, Tensor
from recon.cameras.agreement import Views, compare_all, make_views
from recon.cameras.colour_equations import BlurredColours, ColourPyramid, ColourSums, colour_differences
from recon.cameras.normal_equations import Derivatives
from recon.cameras.patches import Colours, gather_colours
from recon.cameras.pixel_maps import read
from recon.cameras.preparation import make_surfaces, measure_size, state_from_cameras
from recon.cameras.rig_state import LOCAL_COUNT, POSE_COUNT, RigState
from recon.cameras.surfaces import draw_samples
from recon.scene import Capture
from scenes import make_capture, orbit6_cameras, sphere

CPU = torch.device("cpu")
REACH_M = 0.02
TURNED = 2
"""The view that is wrong in these tests."""


@functools.cache
def ball() -> tuple[Capture, RigState, Views]:
    """Clean views of a coloured ball, their true cameras, and what is compared."""
    scene = sphere()
    capture = make_capture(scene, orbit6_cameras(scene, 96), supersample=1)
    surfaces = list(make_surfaces(capture.views, CPU).values())
    views = make_views(surfaces, draw_samples(surfaces, 500, 0))
    return capture, state_from_cameras(list(capture.views), surfaces, CPU), views


def turned(state: RigState, angle_deg: float) -> tuple[RigState, Float[Tensor, " 6"]]:
    """One camera turned about the ball's middle: no depth and no outline sees it; and the step that does so."""
    camera_from_world = frames.invert_rigid(state.world_from_camera[TURNED])
    middle_m = frames.transform_points(camera_from_world, torch.from_numpy(sphere().centre_world)[None])[0]
    axis = torch.tensor([0.6, -0.64, 0.48], dtype=torch.float64) * math.radians(angle_deg)
    step = torch.zeros(state.count, LOCAL_COUNT, dtype=torch.float64)
    step[TURNED, :3], step[TURNED, 3:6] = axis, torch.linalg.cross(middle_m, axis)
    return state.moved(step), step[TURNED, :POSE_COUNT]


def equations(state: RigState, gains: list[float] | None = None, blur_px: int = 1) -> Derivatives:
    capture, _, views = ball()
    gains = gains or [1.0] * state.count
    images = [view.image_srgb * gain for view, gain in zip(capture.views, gains, strict=True)]
    return assembled(state, ColourPyramid(gather_colours(images, views), views).level(blur_px))


def assembled(state: RigState, colours: BlurredColours) -> Derivatives:
    views = ball()[2]
    sums = ColourSums(state, views, colours, measure_size(state, views).pixel)
    for pairs, comparison in compare_all(state, views, REACH_M):
        sums.add(pairs, comparison)
    return sums.derivatives()


def turn_back(found: Derivatives, direction: Float[Tensor, " 6"]) -> float:
    """The Gauss-Newton step along one direction of the view that is wrong."""
    own = slice(TURNED * POSE_COUNT, (TURNED + 1) * POSE_COUNT)
    return -float(direction @ found.gradient[own]) / float(direction @ found.hessian[own, own] @ direction)


@pytest.mark.parametrize("start_deg", [-3.0, 2.0])
def test_colours_see_how_a_ball_is_turned(start_deg: float) -> None:
    """Eight steps take a turn back that no depth sees, to a tenth of a pixel: derivatives and signs are right."""
    _, truth, views = ball()
    _, by_degree = turned(truth, 1.0)
    angle_deg = start_deg
    for _ in range(8):
        angle_deg += turn_back(equations(turned(truth, angle_deg)[0]), by_degree)
    pixel_deg = math.degrees(measure_size(truth, views).pixel / 0.1)
    assert abs(angle_deg) < 0.1 * pixel_deg


@settings(max_examples=3, deadline=None)
@given(gains=st.lists(st.floats(0.5, 1.0), min_size=6, max_size=6))
def test_exposures_make_no_difference(gains: list[float]) -> None:
    """Whatever the exposure of each view, the step is the same."""
    wrong, step = turned(ball()[1], 1.5)
    assert turn_back(equations(wrong, gains), step) == pytest.approx(turn_back(equations(wrong), step), abs=0.01)


@settings(max_examples=10, deadline=None)
@given(blur_px=st.sampled_from([1, 2, 4]), slope=st.floats(0.001, 0.01))
def test_blurs_keep_what_is_even(blur_px: int, slope: float) -> None:
    """A colour that rises evenly to the right is the same in every level, and so is its rise, away from the outline."""
    views = ball()[2]
    across = torch.arange(96, dtype=torch.float64).expand(96, 96) + 0.5
    pictures = Colours(tuple((slope * across).expand(3, 96, 96) for _ in views.surfaces), torch.zeros(6, 1, 3))
    level = ColourPyramid(pictures, views).level(blur_px)
    middle_px = torch.full((6, 1, 2), 48.0, dtype=torch.float64)
    for first, last in level.maps.spans(6):
        found = read(level.maps.of(first, last), middle_px[first:last] / level.shrink)
        assert torch.allclose(found[..., :3], torch.tensor(48.0 * slope), atol=0.05 * slope)
        assert torch.allclose(found[..., 3:6], torch.tensor(slope), rtol=0.02)
        assert found[..., 6:].abs().max() < 0.02 * slope


def test_flat_colours_say_nothing() -> None:
    """Photographs of one even colour neither pull nor hold."""
    capture, state, views = ball()
    grey = [torch.full_like(view.image_srgb, 0.4) for view in capture.views]
    found = assembled(state, ColourPyramid(gather_colours(grey, views), views).level(2))
    informed = equations(state)
    assert float(found.hessian.abs().max()) < 1e-6 * float(informed.hessian.abs().max())


def test_wrong_cameras_show_in_the_colours() -> None:
    """Colours of one place differ twice as much when a camera is turned by four degrees."""
    capture, state, views = ball()
    colours = ColourPyramid(gather_colours([view.image_srgb for view in capture.views], views), views).level(1)
    right, wrong = (_difference(item, colours) for item in (state, turned(state, 4.0)[0]))
    assert wrong > 2 * right


def _difference(state: RigState, colours: BlurredColours) -> float:
    """Median over the points of all other views on the view that is wrong."""
    found = []
    for pairs, comparison in compare_all(state, ball()[2], REACH_M):
        differences = colour_differences(pairs, comparison, colours).view(-1, 3)
        targets = pairs.targets[:, None].expand_as(comparison.on_surface)[comparison.on_surface]
        found.append(differences[targets == TURNED].flatten())
    return float(torch.cat(found).median())
