"""Where the samples of a lattice are."""

import torch

from recon.geometry.grid import Grid, enclosing_grid

GRID = Grid(torch.tensor([1.0, 2.0, 3.0]), 0.5, (3, 4, 5))


def test_samples_are_listed_with_x_slowest() -> None:
    """Reshaped to the grid, sample (i, j, k) lies at the origin plus the spacing times (i, j, k)."""
    positions = GRID.positions_world().view(3, 4, 5, 3)
    assert torch.equal(positions[0, 0, 0], torch.tensor([1.0, 2.0, 3.0]))
    assert torch.equal(positions[2, 1, 4], torch.tensor([2.0, 2.5, 5.0]))


def test_chosen_samples_equal_the_whole_lists_rows() -> None:
    """Flat indices pick the same positions that the whole list has at those rows."""
    rows = torch.tensor([59, 0, 17])
    assert torch.equal(GRID.positions_world(rows), GRID.positions_world()[rows])


def test_a_refined_grid_keeps_every_old_sample() -> None:
    """Three times finer: every third sample coincides with an old one, and the box stays."""
    finer = GRID.refined(3)
    assert finer.shape == (7, 10, 13)
    kept = finer.positions_world().view(7, 10, 13, 3)[::3, ::3, ::3]
    assert torch.allclose(kept.reshape(-1, 3), GRID.positions_world(), atol=1e-6)


def test_an_enclosing_grid_leaves_three_samples_around_the_box() -> None:
    """The longest side has exactly the intervals asked for, and all sides are padded by three samples."""
    low, high = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([1.0, 0.9, 2.3])
    grid = enclosing_grid(low, high, 20)
    last = grid.origin_world + grid.spacing_m * (torch.tensor(grid.shape) - 1)
    assert abs(grid.spacing_m - 0.1) < 1e-7
    assert torch.allclose(grid.origin_world, low - 0.3, atol=1e-6)
    assert (last >= high + 0.3 - 1e-5).all()
    assert (last <= high + 0.5 + 1e-5).all()
