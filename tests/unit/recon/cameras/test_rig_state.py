"""Gauge and steps of a rig's unknowns."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from recon import frames
from recon.cameras.rig_state import LOCAL_COUNT, RigState, align_rigid

numbers = st.floats(-1, 1)
twists = st.lists(numbers, min_size=6, max_size=6).map(lambda values: torch.tensor(values, dtype=torch.float64))


def _state(seed: int = 0, count: int = 4) -> RigState:
    drawn = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ones = torch.ones(count, dtype=torch.float64)
    grid = torch.full((count, 2), 100.0, dtype=torch.float64)
    return RigState(frames.rigid_from_twist(drawn), ones, 0 * ones, 3 * grid, grid)


@given(twists)
def test_common_motion_is_taken_from_the_reference(twist: torch.Tensor) -> None:
    """A rig moved as a whole comes back to where it was: refinement cannot drift."""
    state = _state()
    moved = RigState(
        frames.rigid_from_twist(twist) @ state.world_from_camera,
        state.scales,
        state.offsets,
        state.focal_px,
        state.principal_px,
    )
    back = moved.in_frame_of(state, 1.0)
    assert torch.allclose(back.world_from_camera, state.world_from_camera, atol=1e-9)


@given(twists)
def test_alignment_recovers_a_rigid_motion(twist: torch.Tensor) -> None:
    """Kabsch finds the motion between two copies of a point set, never a reflection."""
    points = torch.randn(9, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    motion = frames.rigid_from_twist(twist)
    found = align_rigid(points, frames.transform_points(motion, points))
    assert torch.allclose(found, motion, atol=1e-9)


def test_zero_step_changes_nothing() -> None:
    """The state after no step is the state."""
    state = _state()
    same = state.moved(torch.zeros(4, LOCAL_COUNT, dtype=torch.float64))
    assert torch.equal(same.world_from_camera, state.world_from_camera)
    assert torch.equal(same.focal_px, state.focal_px)


def test_points_follow_scale_offset_and_intrinsics() -> None:
    """A pixel's point lies at scale times (code + offset), on the ray of the pixel."""
    state = _state(count=1)
    step = torch.zeros(1, LOCAL_COUNT, dtype=torch.float64)
    step[0, 6], step[0, 10] = torch.log(torch.tensor(2.0)), 0.25
    point = state.moved(step).points_camera(torch.tensor([[[400.0, 100.0]]]).double(), torch.tensor([[1.0]]).double())
    assert torch.allclose(point, torch.tensor([[[2.5, 0.0, 2.5]]], dtype=torch.float64))
