"""Silhouette distances and samples."""

import pytest
import torch

from recon.cameras.surfaces import draw_samples, make_surface, signed_distance_px


def _disc_alpha(radius_px: float = 20.3, size_px: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    y, x = torch.meshgrid(torch.arange(size_px).double() + 0.5, torch.arange(size_px).double() + 0.5, indexing="ij")
    distance_px = ((x - size_px / 2) ** 2 + (y - size_px / 2) ** 2).sqrt() - radius_px
    return (0.5 - distance_px).clamp(0, 1), distance_px


def test_antialiased_outline_gives_subpixel_distances() -> None:
    """Outside an antialiased disc, distances are right to a tenth of a pixel on average."""
    alpha, truth_px = _disc_alpha()
    error_px = (signed_distance_px(alpha) - truth_px)[truth_px > 0]
    assert error_px.abs().mean() < 0.1
    assert error_px.abs().max() < 0.75


def test_empty_and_full_masks_have_constant_distance() -> None:
    """Without an outline everything is far outside, or far inside."""
    assert bool((signed_distance_px(torch.zeros(8, 9)) == 9).all())
    assert bool((signed_distance_px(torch.ones(8, 9)) == -9).all())


def test_edges_between_surfaces_are_not_interpolated() -> None:
    """Pixels on both sides of a depth jump are not usable; the rest is."""
    depth = torch.ones(40, 40, dtype=torch.float64)
    depth[:, 20:] = 1.3
    valid = torch.ones_like(depth, dtype=torch.bool)
    surface = make_surface(depth, valid, signed_distance_px(valid.double()), 1e-4)
    assert not bool(surface.usable[10:30, 19:21].any())
    assert bool(surface.usable[10:30, 5:15].all())


def test_samples_are_reproducible_and_on_the_surface() -> None:
    """The same seed draws the same points; each holds its pixel's own depth."""
    alpha, _ = _disc_alpha()
    depth = 1 + 0.001 * torch.arange(64).double().expand(64, 64)
    surface = make_surface(depth, alpha > 0.5, signed_distance_px(alpha), 1e-4)
    first, second = (draw_samples([surface, surface], 50, seed=3) for _ in range(2))
    assert torch.equal(first.pixels_px, second.pixels_px)
    columns, rows = (first.pixels_px[0] - 0.5).long().unbind(1)
    assert torch.equal(first.depth[0], surface.depth[rows, columns])


def test_view_without_surface_cannot_be_sampled() -> None:
    """A view in which nothing is usable is refused."""
    nothing = torch.zeros(16, 16, dtype=torch.bool)
    surface = make_surface(torch.ones(16, 16, dtype=torch.float64), nothing, signed_distance_px(nothing.double()), 1e-4)
    with pytest.raises(ValueError, match="no usable surface"):
        draw_samples([surface], 10, 0)


def test_a_wall_that_slopes_in_one_direction_only_is_usable() -> None:
    """Exact depth that is the same along every row: no neighbour differs across, yet there is a surface."""
    rows = 0.5 + 0.002 * torch.arange(48, dtype=torch.float64)
    for depth in (rows[:, None].expand(48, 48), rows[None].expand(48, 48)):
        valid = torch.ones(48, 48, dtype=torch.bool)
        surface = make_surface(depth.clone(), valid, torch.ones(48, 48), 0.0)
        assert float(surface.usable.double().mean()) > 0.8
        assert torch.allclose(surface.depth[surface.usable], depth[surface.usable], atol=1e-6)
