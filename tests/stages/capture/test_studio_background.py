"""recon.capture.studio_background: plain backgrounds with gradients, noise and soft shadows."""

import pytest
import torch

import scenes
from recon.capture.studio_background import find_studio_object
from studio_scenes import SIZE_PX, iou, photograph, white_on_white


@pytest.mark.parametrize("background", [(1.0, 1.0, 1.0), (0.5, 0.52, 0.5), (0.1, 0.1, 0.12), (0.2, 0.7, 0.3)])
@pytest.mark.parametrize("make", [scenes.cube, scenes.toy, scenes.torus])
def test_the_object_is_found_on_any_plain_colour(background, make):
    """White, grey, black and green screens all give the object to an IoU of 0.95 at 160 pixels."""
    picture, rendered = photograph(make(), background)
    found = find_studio_object(picture)
    assert found is not None
    assert iou(found.coverage, rendered.alpha) > 0.95


def test_a_soft_shadow_is_background():
    """A shadow under the object that takes 30 % of the light does not become part of it."""
    picture, rendered = photograph(scenes.cube(), (0.95, 0.95, 0.95), has_shadow=True)
    assert iou(find_studio_object(picture).coverage, rendered.alpha) > 0.95


def test_the_rim_is_antialiased_and_free_of_background():
    """Partly covered pixels get partial coverage, and the object's own colour instead of the mixture."""
    picture, rendered = photograph(scenes.sphere(), (0.02, 0.02, 0.02), noise=0.0)
    found = find_studio_object(picture)
    is_rim = (rendered.alpha > 0.2) & (rendered.alpha < 0.8)
    assert (found.coverage - rendered.alpha)[is_rim].abs().mean() < 0.1
    error_before = (picture - rendered.image_srgb)[is_rim].abs().mean()
    error_after = (found.image_srgb - rendered.image_srgb)[is_rim].abs().mean()
    assert error_after < 0.5 * error_before


def test_a_hole_shows_background():
    """The background seen through a ring is not part of the object."""
    scene = scenes.block_with_hole()
    picture, rendered = photograph(scene, (1.0, 1.0, 1.0))
    assert iou(find_studio_object(picture).coverage, rendered.alpha) > 0.95


def test_a_cluttered_background_is_not_plain():
    """Where the picture's border is no smooth colour, no guess is made."""
    y, x = torch.meshgrid(torch.arange(SIZE_PX), torch.arange(SIZE_PX), indexing="ij")
    checker = ((x // 16 + y // 16) % 2).float()[..., None].expand(-1, -1, 3) * 0.6 + 0.2
    assert find_studio_object(checker) is None


def test_an_empty_studio_has_an_empty_mask():
    """A picture of the background alone contains no object."""
    empty = torch.full((SIZE_PX, SIZE_PX, 3), 0.8)
    found = find_studio_object(empty)
    assert found is not None
    assert not (found.coverage > 0.5).any()


@pytest.mark.parametrize(
    ("make", "brightest"),
    [(scenes.cube, 0.9), (scenes.toy, 0.9), (scenes.torus, 0.9), (scenes.cube, 0.93), (scenes.toy, 0.96)],
)
def test_a_shaded_white_object_on_white_is_found(make, brightest):
    """An object hardly darker than the white (0.97) behind it is not taken for a shadow."""
    picture, alpha = white_on_white(make(), brightest)
    found = find_studio_object(picture)
    assert found is not None
    assert iou(found.coverage, alpha) > 0.95
