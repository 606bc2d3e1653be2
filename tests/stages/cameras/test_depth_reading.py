"""Bright is near: depth counted down from white, or disparity."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recon.cameras import solve_cameras
from recon.cameras.depth_reading import COUNTED_DOWN, DISPARITY, Solved, solve_either_reading
from recon.capture.depth_decoding import DepthEvidence, decide_code, decode_depth
from recon.capture.depthfile import RawDepth
from recon.errors import UnsolvedCameras
from recon.scene import Capture, View
from recon.settings import DepthSettings, NvdiffrecSettings, OptimiseSettings, Settings
from scenes import cube6_cameras, make_capture, toy

CPU = torch.device("cpu")
STATED = DepthSettings(encoding="near_is_bright")
CODES = np.array([[0, 100, 150], [200, 255, 50]], np.uint8)
BALL = np.clip(255 - np.hypot(*np.mgrid[-20:21, -20:21]) * 8, 0, 255).astype(np.uint8)


def decoded(codes: np.ndarray, settings: DepthSettings = STATED) -> View:
    """A view of an 8-bit depth image."""
    raw = RawDepth("depth.png", codes.astype(np.float32), 8)
    code, _ = decide_code([raw], settings, DepthEvidence())
    depth = decode_depth(raw, code)
    return View("view", torch.zeros(*codes.shape, 3), depth.valid_mask.float(), "depth", depth)


def doubtful(codes: np.ndarray) -> Capture:
    view = decoded(codes)
    assert view.depth is not None
    return Capture((replace(view, depth=replace(view.depth, may_be_disparity=True)),), "flat_pairs")


def test_only_what_was_inferred_is_in_doubt() -> None:
    """A bright middle leaves both readings open; a stated encoding does not."""
    inferred, stated = decoded(BALL, DepthSettings()).depth, decoded(BALL).depth
    assert inferred is not None
    assert stated is not None
    assert inferred.may_be_disparity
    assert not stated.may_be_disparity


def test_both_readings_are_solved_from_the_same_codes() -> None:
    """The second reading is the inverse of the file's own numbers, largest 1; neither is in doubt any more."""
    seen: list[torch.Tensor] = []

    def solve(capture: Capture) -> Solved:
        depth = capture.views[0].depth
        assert depth is not None
        assert not depth.may_be_disparity
        seen.append(depth.depth_z[depth.valid_mask])
        return Solved(capture, float(len(seen)))

    solve_either_reading(doubtful(CODES), solve)
    codes = torch.tensor([100.0, 150, 200, 255, 50])
    assert torch.allclose(seen[0], (255.5 - codes) / 255, atol=1e-6)
    assert torch.allclose(seen[1], 50 / codes, atol=1e-5)


@pytest.mark.parametrize(("costs", "winner"), [((0.1, 0.3), COUNTED_DOWN), ((0.3, 0.1), DISPARITY)])
def test_the_cheaper_reading_is_kept_with_its_margin(costs: tuple[float, float], winner: str) -> None:
    """The winner and how many times more the other costs are on record."""
    remaining = list(costs)
    solved = solve_either_reading(doubtful(CODES), lambda capture: Solved(capture, remaining.pop(0)))
    assert solved.inferences[-1].value == winner
    assert "3.00 times as much" in solved.inferences[-1].evidence


@pytest.mark.parametrize("failing", [0, 1])
def test_a_reading_that_cannot_be_solved_loses(failing: int) -> None:
    """Where one reading leaves the cameras unsolved, the other one is taken."""
    calls: list[int] = []

    def solve(capture: Capture) -> Solved:
        calls.append(len(calls))
        if calls[-1] == failing:
            raise UnsolvedCameras("no")
        return Solved(capture, 1.0)

    solved = solve_either_reading(doubtful(CODES), solve)
    assert solved.inferences[-1].value == (DISPARITY, COUNTED_DOWN)[failing]


def test_without_any_solution_the_first_error_stands() -> None:
    """Two failures end in the error of the reading that was inferred."""
    errors = iter(["first", "second"])

    def solve(capture: Capture) -> Solved:
        raise UnsolvedCameras(next(errors))

    with pytest.raises(UnsolvedCameras, match="first"):
        solve_either_reading(doubtful(CODES), solve)


def test_what_is_not_in_doubt_is_solved_once() -> None:
    """Depths of any other kind cost no second solution and no line on record."""
    calls: list[Capture] = []

    def solve(capture: Capture) -> Solved:
        calls.append(capture)
        return Solved(capture, 1.0)

    assert not solve_either_reading(Capture((decoded(CODES),), "flat_pairs"), solve).inferences
    assert len(calls) == 1


def test_disparities_under_given_cameras_become_metres() -> None:
    """8-bit disparity that nobody declared comes out as depth to half a percent, and the report says disparity."""
    scene = toy()
    capture = make_capture(scene, cube6_cameras(scene, 160), supersample=1)
    views = []
    for view in capture.views:
        assert view.depth is not None
        valid = view.depth.valid_mask
        nearest = float(view.depth.depth_z[valid].min())
        codes = torch.where(valid, 255 * nearest / view.depth.depth_z.clamp_min(1e-6), 0.0).round()
        depth = decoded(codes.numpy().astype(np.uint8)).depth
        assert depth is not None
        views.append(replace(view, depth=replace(depth, may_be_disparity=True)))
    settings = Settings(nvdiffrec=NvdiffrecSettings(optimise=OptimiseSettings(refine_cameras="off")))
    solved = solve_cameras(replace(capture, views=tuple(views), is_metric=False), settings, CPU)
    assert next(item.value for item in solved.inferences if item.what == "depth reading") == DISPARITY
    for view, exact in zip(solved.views, capture.views, strict=True):
        assert view.depth is not None
        assert exact.depth is not None
        ratio = (view.depth.depth_z / exact.depth.depth_z)[exact.depth.valid_mask]
        assert float(ratio.median()) == pytest.approx(1.0, abs=0.005)
