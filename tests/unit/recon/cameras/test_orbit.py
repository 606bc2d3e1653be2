"""Orbits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recon import frames
from recon.cameras.orbit import (
    ZERO123PLUS_ELEVATIONS_DEG,
    Orbit,
    every_orbit,
    is_zero123plus,
    orbit_axis,
    orbit_elevations_deg,
)
from recon.cameras.rig_start import axes_crossing

twists = st.lists(st.floats(-2, 2), min_size=6, max_size=6).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


def test_cameras_look_at_the_origin_from_their_elevation() -> None:
    """Distance one, heights by elevation, image tops up, evenly spaced."""
    poses = Orbit((20.0, -10.0), 1).poses(6)
    assert torch.allclose(poses[:, :3, 3] + poses[:, :3, 2], torch.zeros(6, 3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(torch.rad2deg(poses[:, 1, 3].asin())[:2], torch.tensor([20.0, -10.0]).double())
    assert bool((poses[:, 1, 1] < 0).all())


def test_direction_mirrors_the_azimuths() -> None:
    """Clockwise is counter-clockwise with left and right exchanged."""
    forth, back = (Orbit((10.0, 10.0), way).poses(6)[:, :3, 3] for way in (1, -1))
    assert torch.allclose(forth * torch.tensor([-1.0, 1.0, 1.0]).double(), back, atol=1e-12)


def test_zero123plus_rigs_are_among_the_hypotheses() -> None:
    """The fixed views of Zero123++ are tried, in both directions, and named as such."""
    labels = [orbit.label for orbit in every_orbit() if orbit.elevations_deg in ZERO123PLUS_ELEVATIONS_DEG]
    assert len(labels) == 4
    assert all("Zero123++" in label for label in labels)


def test_axes_of_a_rig_cross_at_its_centre() -> None:
    """The common target is found from the optical axes alone, wherever it is."""
    poses = Orbit((20.0, -10.0), 1).poses(6)
    poses[:, :3, 3] += torch.tensor([1.0, -2.0, 0.5]).double()
    assert torch.allclose(axes_crossing(poses), torch.tensor([1.0, -2.0, 0.5]).double(), atol=1e-9)


@given(twists, st.sampled_from([(20.0, -10.0), (-10.0, 20.0), (30.0, -20.0), (15.0, 15.0)]), st.sampled_from([1, -1]))
def test_elevations_are_read_from_the_cameras_in_any_world(
    twist: torch.Tensor, elevations_deg: tuple[float, float], direction: int
) -> None:
    """Whatever way the world is turned, axis and elevations come out, and the Zero123++ rigs are known by them."""
    motion = frames.rigid_from_twist(twist)
    poses = motion @ Orbit(elevations_deg, direction).poses(6)
    found = orbit_elevations_deg(poses, axes_crossing(poses))
    assert found == pytest.approx(elevations_deg, abs=1e-4)
    assert torch.allclose(orbit_axis(poses), motion[:3, 1], atol=1e-6)
    assert is_zero123plus(found) == (elevations_deg != (15.0, 15.0))
