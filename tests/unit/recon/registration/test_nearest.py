"""Nearest points on a lattice."""

import torch

from recon.registration.nearest import LATTICE_SIZE, make_lattice


def test_a_nearest_point_is_a_voxel_off_at_most() -> None:
    """Within the box and its margin, the point found is no farther than the nearest one and two voxel diagonals."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(500, 3, generator=generator) * torch.tensor([1.0, 2.0, 0.5])
    asked = torch.rand(300, 3, generator=generator) * torch.tensor([1.2, 2.2, 0.7]) - 0.1
    lattice = make_lattice(points)
    found = (points[lattice.find(asked)] - asked).norm(dim=1)
    exact = torch.cdist(asked, points).amin(1)
    assert (found - exact).max() < 2 * 3**0.5 * lattice.spacing


def test_points_far_outside_are_answered() -> None:
    """No index is out of range, however far away the question."""
    lattice = make_lattice(torch.rand(50, 3, generator=torch.Generator().manual_seed(0)))
    found = lattice.find(torch.tensor([[1e3, -1e3, 0.0], [-1e3, 1e3, 1e3]]))
    assert ((found >= 0) & (found < 50)).all()
    assert lattice.nearest.shape == (LATTICE_SIZE,) * 3
