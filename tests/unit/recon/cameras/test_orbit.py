"""Orbits."""

import torch

from recon.cameras.orbit import ZERO123PLUS_ELEVATIONS_DEG, Orbit, every_orbit
from recon.cameras.rig_start import axes_crossing


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
