"""Residuals between views and their derivatives."""

import pytest
import torch

from recon import frames
from recon.cameras import agreement
from recon.cameras.adjust import settle
from recon.cameras.agreement import Views, compare_all, make_views
from recon.cameras.normal_equations import Weighting, assemble, measure_cost
from recon.cameras.preparation import make_surfaces, state_from_cameras
from recon.cameras.rig_state import LOCAL_COUNT, POSE_COUNT, RigState
from recon.cameras.surfaces import draw_samples
from recon.scene import Capture
from scenes import cube6_cameras, make_capture, orbit6_cameras, toy

CPU = torch.device("cpu")


def _prepared(capture: Capture) -> tuple[RigState, Views]:
    surfaces = list(make_surfaces(capture.views, CPU).values())
    views = make_views(surfaces, draw_samples(surfaces, 400, 0))
    return state_from_cameras(list(capture.views), surfaces, CPU), views


@pytest.fixture(scope="module")
def rig() -> tuple[RigState, Views]:
    scene = toy()
    return _prepared(make_capture(scene, orbit6_cameras(scene, 128), supersample=1))


def test_true_cameras_agree(rig: tuple[RigState, Views]) -> None:
    """At the true cameras, points lie on the other views' surfaces to a small part of a pixel."""
    state, views = rig
    pixel_m = float(views.samples.depth.median() / state.focal_px[0, 0])
    for _, comparison in compare_all(state, views, 0.01):
        assert comparison.on_surface.sum() > 50
        assert comparison.residual[comparison.on_surface].abs().median() < 0.1 * pixel_m


@pytest.mark.parametrize("unknown", range(LOCAL_COUNT))
def test_every_unknown_is_recovered_alone(rig: tuple[RigState, Views], unknown: int) -> None:
    """A single wrong unknown of a single view comes back to its true value: all derivatives are right."""
    state, views = rig
    wrong = torch.zeros(state.count, LOCAL_COUNT, dtype=torch.float64)
    wrong[1, unknown] = 0.01
    basis = (wrong / 0.01).reshape(-1, 1)
    found = settle(state.moved(wrong), views, Weighting(0.01), basis, [0.02] * 4 + [0.005] * 8)
    if unknown in {6, 10}:
        assert float(found.scales[1] * (1 + found.offsets[1])) == pytest.approx(1.0, abs=5e-4)
    else:
        assert torch.allclose(found.world_from_camera, state.world_from_camera, atol=1.5e-3)
        assert torch.allclose(found.principal_px, state.principal_px, atol=0.2)
        assert torch.allclose(found.focal_px, state.focal_px, rtol=2e-3)


def test_cost_does_not_see_the_common_motion(rig: tuple[RigState, Views]) -> None:
    """Moving all cameras together changes neither cost nor normal equations."""
    state, views = rig
    motion = frames.rigid_from_twist(torch.tensor([0.3, -1.0, 0.5, 0.2, 2.0, -0.7], dtype=torch.float64))
    moved = RigState(motion @ state.world_from_camera, state.scales, state.offsets, state.focal_px, state.principal_px)
    first, second = (assemble(item, views, Weighting(0.01)) for item in (state, moved))
    assert second.cost == pytest.approx(first.cost, abs=1e-9)
    assert torch.allclose(first.whole.hessian, second.whole.hessian, atol=1e-7)


def test_poses_alone_are_a_part_of_all_unknowns(rig: tuple[RigState, Views]) -> None:
    """Leaving the lenses out changes nothing about the poses."""
    state, views = rig
    whole, poses = (assemble(state, views, Weighting(0.01), with_lenses=item) for item in (True, False))
    rows = torch.arange(state.count)[:, None] * LOCAL_COUNT + torch.arange(POSE_COUNT)
    kept = rows.flatten()
    for of_all, of_poses in ((whole.surfaces, poses.surfaces), (whole.outlines, poses.outlines)):
        assert torch.allclose(of_all.hessian[kept][:, kept], of_poses.hessian, atol=1e-12)
        assert torch.allclose(of_all.gradient[kept], of_poses.gradient, atol=1e-12)
    assert (poses.cost, poses.doubt) == (whole.cost, whole.doubt)


def test_how_much_is_compared_at_once_makes_no_difference(
    rig: tuple[RigState, Views], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One target at a time or all: the same sums."""
    state, views = rig
    monkeypatch.setattr(agreement, "_ROWS_AT_ONCE", {"cpu": 1})
    alone = assemble(state, views, Weighting(0.01))
    monkeypatch.setattr(agreement, "_ROWS_AT_ONCE", {"cpu": 1 << 20})
    together = assemble(state, views, Weighting(0.01))
    assert together.cost == pytest.approx(alone.cost, abs=1e-12)
    assert torch.allclose(together.whole.hessian, alone.whole.hessian, atol=1e-12)
    assert torch.allclose(together.whole.gradient, alone.whole.gradient, atol=1e-12)


def test_hessian_is_symmetric_and_positive(rig: tuple[RigState, Views]) -> None:
    """Normal equations can be solved: symmetric, no negative curvature."""
    state, views = rig
    hessian = assemble(state, views, Weighting(0.01)).whole.hessian
    assert torch.allclose(hessian, hessian.T, atol=1e-12)
    assert torch.linalg.eigvalsh(hessian).min() > -1e-10


def test_wrong_rig_costs_more_than_the_right_one() -> None:
    """The cost tells two arrangements of the same views apart."""
    scene = toy()
    capture = make_capture(scene, cube6_cameras(scene, 96), supersample=1)
    state, views = _prepared(capture)
    exchanged = RigState(
        state.world_from_camera[[4, 1, 2, 3, 0, 5]], state.scales, state.offsets, state.focal_px, state.principal_px
    )
    right, wrong = (measure_cost(item, views, Weighting(0.005, 1.0)) for item in (state, exchanged))
    assert wrong > 1.1 * right
