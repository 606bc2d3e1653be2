"""Steps along what the views decide: the rest stays where the given cameras put it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon import frames
from recon.arrays import Float, Tensor
from recon.cameras.adjust import ROTATION, TRANSLATION, free_unknowns, settle
from recon.cameras.agreement import Views, make_views
from recon.cameras.decided_step import decided_step
from recon.cameras.normal_equations import Derivatives, NormalEquations, Weighting, assemble
from recon.cameras.preparation import make_surfaces, state_from_cameras
from recon.cameras.rig_state import LOCAL_COUNT, POSE_COUNT, RigState
from recon.cameras.surfaces import draw_samples
from scenes import Faults, make_capture, orbit6_cameras, sphere

CPU = torch.device("cpu")
WIDTH_M = 0.006


@pytest.fixture(scope="module")
def ball() -> tuple[RigState, Views]:
    """True cameras around a ball with a noisy depth."""
    scene = sphere()
    capture = make_capture(scene, orbit6_cameras(scene, 96), Faults(has_sensor_noise=True), supersample=1)
    surfaces = list(make_surfaces(capture.views, CPU).values())
    views = make_views(surfaces, draw_samples(surfaces, 800, 0))
    return state_from_cameras(list(capture.views), surfaces, CPU), views


@settings(max_examples=10, deadline=None)
@given(turn=st.lists(st.floats(-0.05, 0.05), min_size=3, max_size=3), view=st.integers(0, 5))
def test_without_evidence_cameras_return_to_where_they_were_given(
    ball: tuple[RigState, Views], turn: list[float], view: int
) -> None:
    """No evidence at all: one step undoes any small motion of any view."""
    given_state, views = ball
    step = torch.zeros(given_state.count, LOCAL_COUNT, dtype=torch.float64)
    step[view, :3], step[view, 3:6] = torch.tensor(turn), 0.1 * torch.tensor(turn)
    moved = given_state.moved(step)
    size = moved.count * POSE_COUNT
    # Surfaces that say next to nothing set the scale of the hold.
    nothing = Derivatives(1e-9 * torch.eye(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64))
    empty = Derivatives(0 * nothing.hessian, nothing.gradient)
    equations = NormalEquations(0.0, nothing, empty, doubt=1e6)
    back = moved.moved(decided_step(equations, None, moved, given_state, views))
    apart = (back.world_from_camera - given_state.world_from_camera).abs().max()
    assert apart <= 0.1 * (moved.world_from_camera - given_state.world_from_camera).abs().max() + 1e-9


def test_surfaces_that_meet_nowhere_move_no_camera(ball: tuple[RigState, Views]) -> None:
    """Evidence of exactly zero is no division by zero: given cameras stay, moved ones return."""
    given_state, views = ball
    size = given_state.count * POSE_COUNT
    nothing = Derivatives(torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64))
    equations = NormalEquations(0.0, nothing, nothing, doubt=0.0)
    assert decided_step(equations, None, given_state, given_state, views).abs().max() < 1e-12
    step = torch.zeros(given_state.count, LOCAL_COUNT, dtype=torch.float64)
    step[2, 3:6] = 0.01
    moved = given_state.moved(step)
    back = moved.moved(decided_step(equations, None, moved, given_state, views))
    assert (back.world_from_camera - given_state.world_from_camera).abs().max() < 1e-5


def _settled(start: RigState, given_state: RigState, views: Views, widths: list[float]) -> RigState:
    state = start
    for width in widths:
        equations = assemble(state, views, Weighting(width), with_lenses=False)
        state = state.moved(decided_step(equations, None, state, given_state, views))
    return state


def _points(state: RigState, views: Views) -> Float[Tensor, "k n 3"]:
    points = state.points_camera(views.samples.pixels_px, views.samples.depth)
    return frames.transform_points(state.world_from_camera, points)


def test_noise_turns_no_ball(ball: tuple[RigState, Views]) -> None:
    """Steps on noisy depth alone keep a ball's points near, where plain Gauss-Newton steps carry them far away."""
    truth, views = ball
    held = _settled(truth, truth, views, [WIDTH_M] * 12)
    plain = settle(truth, views, Weighting(WIDTH_M), free_unknowns(truth.count, ROTATION, TRANSLATION), [WIDTH_M] * 12)
    moved_m, carried_m = (
        float((_points(state, views) - _points(truth, views)).norm(dim=-1).median()) for state in (held, plain)
    )
    assert moved_m < 0.25 * carried_m


def test_shifts_that_depth_sees_are_corrected(ball: tuple[RigState, Views]) -> None:
    """Noise hides how a ball is turned, but not that one camera was given 15 mm too near: its points come back."""
    truth, views = ball
    step = torch.zeros(truth.count, LOCAL_COUNT, dtype=torch.float64)
    step[1, 5] = 0.015
    wrong = truth.moved(step)
    state = _settled(wrong, wrong, views, [0.03] * 5 + [WIDTH_M] * 7)
    points = _points(state, views)
    centres = [_ball_centre(item) for item in points]
    apart = torch.stack(centres) - torch.stack(centres).mean(0)
    assert float(apart.norm(dim=1).max()) < 0.2 * 0.015


def _ball_centre(points: Float[Tensor, "n 3"]) -> Float[Tensor, " 3"]:
    """Least squares: |p|^2 = 2 c.p + constant."""
    rows = torch.cat([2 * points, torch.ones_like(points[:, :1])], 1)
    return torch.linalg.lstsq(rows, (points**2).sum(1, keepdim=True)).solution[:3, 0]
