"""Exposure differences are found from shared surface, and only real ones are."""

from dataclasses import replace

import pytest
import torch

import texture_scenes
from recon.texture.exposure import solve_gains
from recon.texture.photograph import Sighting

GAINS = (1.0, 0.8, 1.1, 0.9, 1.05, 0.85, 1.0, 0.95, 0.9, 1.1, 0.8, 1.0)


def sightings(gains: tuple[float, ...], apart_px: int = 0) -> tuple[int, list[Sighting]]:
    """What the views see of a ball, every other one from a photograph that was moved."""
    mesh = texture_scenes.ball()
    _, texels = texture_scenes.unwrapped(mesh)
    capture = texture_scenes.ball_capture(gains)
    views = tuple(
        replace(view, image_srgb=view.image_srgb.roll((apart_px * (index % 2), -apart_px * (index % 2)), (0, 1)))
        for index, view in enumerate(capture.views)
    )
    photographs = texture_scenes.photograph_all(mesh, replace(capture, views=views))
    return texels.count, [item.sight(texels.positions_world, texels.normals_world) for item in photographs]


def test_known_gains_are_recovered() -> None:
    """Twelve views with gains from 0.8 to 1.1: relative exposure within 1 %, mean gain one."""
    gains = solve_gains(*sightings(GAINS))
    product = gains * torch.tensor(GAINS)[:, None]
    assert (product / product.mean(0) - 1).abs().max() < 0.01
    assert gains.log().mean(0).abs().max() < 0.005


def test_equal_exposures_stay_untouched() -> None:
    """Without real differences every gain is exactly one."""
    assert torch.equal(solve_gains(*sightings((1.0,))), torch.ones(12, 3))


@pytest.mark.parametrize("apart_px", [1, 3])
def test_patterns_that_lie_apart_invent_no_gains(apart_px: int) -> None:
    """Photographs that are moved against the mesh differ everywhere, but not in exposure: every gain is exactly one."""
    assert torch.equal(solve_gains(*sightings((1.0,), apart_px)), torch.ones(12, 3))


@pytest.mark.parametrize("view_count", [1, 2])
def test_views_that_share_nothing_keep_their_exposure(view_count: int) -> None:
    """A single view, or two of opposite sides, cannot be compared."""
    texel_count, seen = sightings(GAINS)
    assert torch.equal(solve_gains(texel_count, [seen[1], seen[4]][:view_count]), torch.ones(view_count, 3))
