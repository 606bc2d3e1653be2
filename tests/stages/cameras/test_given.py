"""Given cameras: left alone when they agree, refined when they do not."""

import functools
from dataclasses import replace

import pytest
import torch

from recon import frames
from recon.cameras import given, solve_cameras
from recon.cameras.agreement import Views, make_views
from recon.cameras.given import Refinement
from recon.cameras.preparation import make_surfaces, state_from_cameras
from recon.cameras.report import Disagreement
from recon.cameras.rig_state import align_rigid
from recon.cameras.surfaces import draw_samples
from recon.scene import Camera, Capture
from recon.settings import NvdiffrecSettings, OptimiseSettings, Settings
from scenes import Faults, Scene, bowl, cube6_cameras, make_capture, orbit6_cameras, plate, sphere, toy

CPU = torch.device("cpu")
SCENE = toy()
SIZE_PX = 128
NO_FAULTS = Faults()
TRUTH = orbit6_cameras(SCENE, SIZE_PX)


@functools.cache
def _capture(faults: Faults) -> Capture:
    return make_capture(SCENE, TRUTH, faults, supersample=3)


def _object_error_m(capture: Capture) -> float:
    """How far the object's points, placed by each camera, are from their true place after one common alignment."""
    placed, true = [], []
    for view, camera in zip(capture.views, TRUTH, strict=True):
        centre = frames.transform_points(frames.invert_rigid(camera.world_from_camera), torch.zeros(1, 3).double())
        points = centre * 0 + torch.tensor([[0.0, 0, 1], [0.1, 0, 1], [0, 0.1, 1], [0, 0, 1.1]]).double()
        placed.append(frames.transform_points(view.posed_camera.world_from_camera, points))
        true.append(frames.transform_points(camera.world_from_camera, points))
    first, second = torch.cat(placed), torch.cat(true)
    return float((frames.transform_points(align_rigid(first, second), first) - second).norm(dim=1).max())


def test_cameras_that_agree_are_returned_untouched() -> None:
    """Clean depth and true cameras: exactly the given cameras, and the agreement on record."""
    solved = solve_cameras(_capture(NO_FAULTS), Settings(), CPU)
    assert solved.cameras_source == "given"
    for view, camera in zip(solved.views, TRUTH, strict=True):
        assert torch.equal(view.posed_camera.world_from_camera, camera.world_from_camera)
    assert "apart" in solved.inferences[-1].evidence
    assert not solved.warnings


def test_noisy_depth_is_no_reason_to_move_good_cameras() -> None:
    """Sensor noise alone does not call for refinement."""
    solved = solve_cameras(_capture(Faults(has_sensor_noise=True)), Settings(), CPU)
    assert solved.cameras_source == "given"


@pytest.mark.parametrize(("turn_deg", "shift_m"), [(2.0, 0.005), (5.0, 0.015)])
def test_misplaced_cameras_are_refined(turn_deg: float, shift_m: float) -> None:
    """Cameras off by degrees and millimetres come back to a fraction of a pixel, and the user is told."""
    capture = _capture(Faults(turn_deg=turn_deg, shift_m=shift_m, seed=1))
    solved = solve_cameras(capture, Settings(), CPU)
    assert solved.cameras_source == "refined"
    assert _object_error_m(solved) < 0.12 * _object_error_m(capture)
    assert "refined" in solved.warnings[0]


@pytest.mark.parametrize(
    ("solid", "factors", "turn_deg", "left"),
    [
        (toy(), (1.02,), 0.0, 0.0015),
        (toy(), (0.95,), 2.0, 0.0015),
        (toy(), (1.02, 0.98, 1.01, 0.98, 1.02, 1.0), 0.0, 0.004),
        (sphere(), (1.02,), 0.0, 0.003),
        (bowl(), (0.97,), 0.0, 0.0015),
    ],
    ids=["toy", "toy and poses", "each view", "ball", "bowl"],
)
def test_wrong_focal_lengths_are_corrected(
    solid: Scene, factors: tuple[float, ...], turn_deg: float, left: float
) -> None:
    """A stated focal length that is wrong by per cents comes back to one to four per mille, and the report says so."""
    cameras = orbit6_cameras(solid, 160)
    faults = Faults(focal_factors=factors, turn_deg=turn_deg, shift_m=0.0025 * turn_deg, seed=1)
    solved = solve_cameras(make_capture(solid, cameras, faults, supersample=1), Settings(), CPU)
    assert solved.cameras_source == "refined"
    for view, camera in zip(solved.views, cameras, strict=True):
        lens, true = view.posed_camera.intrinsics, camera.intrinsics
        assert abs(lens.focal_x_px / true.focal_x_px - 1) < left
        assert abs(lens.focal_y_px / true.focal_y_px - 1) < left
    assert "focal lengths were multiplied by" in solved.inferences[-1].evidence
    assert "focal lengths were multiplied by" in solved.warnings[0]


@pytest.mark.parametrize(
    ("solid", "faults"),
    [
        (toy(), Faults(turn_deg=2.0, shift_m=0.005, seed=1)),
        (sphere(), Faults(turn_deg=2.0, shift_m=0.005, seed=1)),
        (plate(), Faults(turn_deg=2.0, shift_m=0.005, seed=1)),
        (toy(), Faults(turn_deg=2.0, shift_m=0.005, seed=1, has_sensor_noise=True)),
        (toy(), Faults(has_sensor_noise=True)),
    ],
    ids=["toy", "ball", "plate", "noisy toy", "noisy toy, right cameras"],
)
def test_right_focal_lengths_stay(solid: Scene, faults: Faults) -> None:
    """Where poses alone are wrong, or nothing is, every lens is the given one to the last bit of its rounding."""
    cameras = orbit6_cameras(solid, SIZE_PX)
    solved = solve_cameras(make_capture(solid, cameras, faults, supersample=1), Settings(), CPU)
    for view, camera in zip(solved.views, cameras, strict=True):
        assert view.posed_camera.intrinsics.focal_x_px == pytest.approx(camera.intrinsics.focal_x_px, rel=1e-12)
    assert "focal lengths" not in solved.inferences[-1].evidence


def test_cameras_around_a_ball_do_not_drift() -> None:
    """No view of a ball says how it is turned: noise moves no camera by more than a fraction of the ball."""
    ball = sphere()
    cameras = orbit6_cameras(ball, SIZE_PX)
    capture = make_capture(ball, cameras, Faults(has_sensor_noise=True), supersample=1)
    solved = solve_cameras(capture, Settings(), CPU)
    for view, camera in zip(solved.views, cameras, strict=True):
        moved_m = (view.posed_camera.position_world - camera.position_world).norm()
        assert moved_m < 0.1 * ball.diagonal_m


EXPOSURES = (1.0, 0.8, 1.25, 0.9, 1.1, 0.7)


@pytest.mark.parametrize(
    ("solid", "faults", "share"),
    [
        (sphere(), Faults(turn_deg=2.0, shift_m=0.005), 1 / 6),
        (sphere(), Faults(turn_deg=2.0, shift_m=0.005, exposure_gains=EXPOSURES), 1 / 6),
        (sphere(), Faults(turn_deg=2.0, shift_m=0.005, has_sensor_noise=True), 1 / 3),
        (bowl(), Faults(turn_deg=2.0, shift_m=0.005), 1 / 6),
    ],
    ids=["ball", "ball under other lamps", "noisy ball", "bowl"],
)
def test_what_depth_cannot_tell_is_seen_in_the_photographs(solid: Scene, faults: Faults, share: float) -> None:
    """Around solids of revolution a sixth of what was wrong is left, whatever the exposures; a third under noise."""
    cameras = orbit6_cameras(solid, SIZE_PX)
    capture = make_capture(solid, cameras, faults, supersample=1)
    solved = solve_cameras(capture, Settings(), CPU)
    assert solved.cameras_source == "refined"
    assert _placement_error_m(solved, solid, cameras) < share * _placement_error_m(capture, solid, cameras)


@pytest.mark.parametrize(("colour", "is_called_for"), [(0.01, True), (0.03, False), (None, True)])
def test_surfaces_that_meet_at_the_cost_of_colours_are_not_believed(colour: float | None, is_called_for: bool) -> None:
    """Biased depth draws surfaces together; a refinement after which one place has two colours is refused."""
    capture = _capture(NO_FAULTS)
    state = state_from_cameras(list(capture.views), list(make_surfaces(capture.views, CPU).values()), CPU)
    before = Disagreement(2e-3, 4e-3, 0.0, 0.0, 0.5, None if colour is None else 0.02)
    after = Disagreement(1e-3, 2e-3, 0.0, 0.0, 0.5, colour)
    refinement = Refinement(state, before, after, shift=3e-3, tolerance=1e-3, largest=5e-2)
    assert refinement.is_called_for == is_called_for


def test_a_ball_of_one_colour_is_put_together() -> None:
    """No evidence tells how a grey ball is turned; all the same its surfaces come together to a tenth of a pixel."""
    ball = sphere()
    cameras = orbit6_cameras(ball, SIZE_PX)
    pictures = make_capture(ball, cameras, Faults(turn_deg=2.0, shift_m=0.005), supersample=1)
    views = tuple(replace(view, image_srgb=torch.full_like(view.image_srgb, 0.5)) for view in pictures.views)
    solved = solve_cameras(replace(pictures, views=views), Settings(), CPU)
    assert solved.cameras_source == "refined"
    centres = _placed(solved, ball, cameras).mean(1)
    pixel_m = 3 * ball.diagonal_m / cameras[0].intrinsics.focal_x_px
    assert float((centres - centres.mean(0)).norm(dim=1).max()) < 0.1 * pixel_m


def _placed(capture: Capture, solid: Scene, cameras: list[Camera]) -> torch.Tensor:
    """Points around the solid as each true camera sees them, placed by the capture's camera: (views, points, 3)."""
    around = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64) * solid.diagonal_m / 3
    points = torch.from_numpy(solid.centre_world) + torch.cat([around, -around])
    placed = []
    for view, camera in zip(capture.views, cameras, strict=True):
        seen = frames.transform_points(frames.invert_rigid(camera.world_from_camera), points)
        placed.append(frames.transform_points(view.posed_camera.world_from_camera, seen))
    return torch.stack(placed)


def _placement_error_m(capture: Capture, solid: Scene, cameras: list[Camera]) -> float:
    """Root mean square distance of points placed by every camera from their true places, after one common motion."""
    placed = _placed(capture, solid, cameras).flatten(0, 1)
    exact = replace(capture, views=tuple(replace(v, camera=c) for v, c in zip(capture.views, cameras, strict=True)))
    true = _placed(exact, solid, cameras).flatten(0, 1)
    apart = frames.transform_points(align_rigid(placed, true), placed) - true
    return float((apart**2).sum(1).mean().sqrt())


def test_refinement_can_be_switched_off() -> None:
    """refine_cameras = off keeps even wrong cameras."""
    capture = _capture(Faults(turn_deg=2.0))
    settings = Settings(nvdiffrec=NvdiffrecSettings(optimise=OptimiseSettings(refine_cameras="off")))
    solved = solve_cameras(capture, settings, CPU)
    for before, after in zip(capture.views, solved.views, strict=True):
        assert torch.equal(before.posed_camera.world_from_camera, after.posed_camera.world_from_camera)


def test_refinement_does_not_depend_on_the_world_frame() -> None:
    """Moving all given cameras together moves the refined ones with them."""
    capture = _capture(Faults(turn_deg=2.0, seed=2))
    motion = frames.rigid_from_twist(torch.tensor([0.4, -0.9, 0.3, 1.0, -2.0, 0.5], dtype=torch.float64))
    views = tuple(
        replace(view, camera=Camera(view.posed_camera.intrinsics, motion @ view.posed_camera.world_from_camera))
        for view in capture.views
    )
    here = solve_cameras(capture, Settings(), CPU)
    there = solve_cameras(replace(capture, views=views), Settings(), CPU)
    for first, second in zip(here.views, there.views, strict=True):
        expected = motion @ first.posed_camera.world_from_camera
        assert torch.allclose(second.posed_camera.world_from_camera, expected, atol=1e-5)


def test_photographs_without_depth_keep_their_cameras() -> None:
    """Without depth there is nothing to compare."""
    capture = _capture(NO_FAULTS)
    bare = replace(capture, views=tuple(replace(view, depth=None) for view in capture.views))
    assert solve_cameras(bare, Settings(), CPU).cameras_source == "given"


def test_views_that_show_nothing_in_common_keep_their_cameras() -> None:
    """Depth of a ball from two opposite sides: nothing is measured twice, no camera moves, the report says why."""
    ball = sphere()
    capture = make_capture(ball, cube6_cameras(ball, SIZE_PX), supersample=1)
    front = capture.views[0].posed_camera.position_world - torch.from_numpy(ball.centre_world)
    views = []
    for view in capture.views:
        offset = view.posed_camera.position_world - torch.from_numpy(ball.centre_world)
        is_across = abs(torch.nn.functional.cosine_similarity(offset, front, dim=0)) > 0.9
        views.append(view if is_across else replace(view, depth=None))
    assert sum(view.depth is not None for view in views) == 2
    solved = solve_cameras(replace(capture, views=tuple(views)), Settings(), CPU)
    assert solved.cameras_source == "given"
    for before, after in zip(capture.views, solved.views, strict=True):
        assert torch.equal(before.posed_camera.world_from_camera, after.posed_camera.world_from_camera)
    assert "no two depth images show the same place" in solved.inferences[-1].evidence


def test_cameras_that_the_outlines_contradict_are_told() -> None:
    """Two opposite views of a toy, one shifted by its width: nothing to refine with, and the user is warned."""
    cameras = cube6_cameras(SCENE, SIZE_PX)[:2]
    capture = make_capture(SCENE, cameras, supersample=1)
    shifted = cameras[1].world_from_camera.clone()
    shifted[:3, 3] += shifted[:3, 0] * SCENE.diagonal_m
    second = replace(capture.views[1], camera=Camera(cameras[1].intrinsics, shifted))
    solved = solve_cameras(replace(capture, views=(capture.views[0], second)), Settings(), CPU)
    assert solved.cameras_source == "given"
    (warning,) = solved.warnings
    assert "contradict the given cameras" in warning
    assert "inf" not in solved.inferences[-1].evidence


def test_lenses_stay_where_some_views_have_no_depth() -> None:
    """Views that nothing is known of would keep what the others correct: all lenses stay as they were stated."""
    cameras = orbit6_cameras(SCENE, 160)
    faults = Faults(focal_factors=(1.02,), is_depth_in_every_view=False)
    solved = solve_cameras(make_capture(SCENE, cameras, faults, supersample=1), Settings(), CPU)
    for view, camera in zip(solved.views, cameras, strict=True):
        stated_px = 1.02 * camera.intrinsics.focal_x_px
        assert view.posed_camera.intrinsics.focal_x_px == pytest.approx(stated_px, rel=1e-12)


def test_a_lens_correction_is_compared_with_what_was_given_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A correction that only poses and lenses together spoil is dropped; the poses stay corrected."""
    capture = _capture(NO_FAULTS)
    views = make_views_of(capture)
    state = state_from_cameras(list(capture.views), list(views.surfaces), CPU)
    before = Disagreement(2e-3, 4e-3, 0.0100, 0.0, 0.5)
    poses = Refinement(state, before, Disagreement(1e-3, 2e-3, 0.0109, 0.0, 0.5), 3e-3, 1e-3, 5e-2)
    lenses = replace(poses, after=Disagreement(2e-4, 4e-4, 0.0118, 0.0, 0.5))
    monkeypatch.setattr(given, "_settled_focal_px", lambda state, *_: 1.1 * state.focal_px)
    monkeypatch.setattr(given, "refine_poses", lambda *_: lenses)
    monkeypatch.setattr(given, "_placement_shift", lambda *_: 3e-3)
    assert given.refine_lenses(poses, state, views, None) is poses
    good = replace(lenses, after=replace(lenses.after, violation_share=0.0105))
    monkeypatch.setattr(given, "refine_poses", lambda *_: good)
    assert given.refine_lenses(poses, state, views, None).after == good.after


def make_views_of(capture: Capture) -> Views:
    surfaces = list(make_surfaces(capture.views, CPU).values())
    return make_views(surfaces, draw_samples(surfaces, 200, 0))
