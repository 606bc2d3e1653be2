"""recon.capture.outline_cut: a photograph's own outline, found near the outline of its depth."""

import pytest
import torch

import scenes
from recon.capture.outline_cut import find_photographed_outline
from studio_scenes import iou, photograph

WHITE = (0.97, 0.97, 0.97)


@pytest.mark.parametrize("make", [scenes.cube, scenes.torus])
@pytest.mark.parametrize("has_shadow", [False, True])
def test_the_photograph_decides_where_depth_is_shifted(make, has_shadow):
    """A depth outline two pixels aside leads to the photographed one, with or without a soft shadow."""
    picture, rendered = photograph(make(), WHITE, has_shadow=has_shadow)
    hint = rendered.alpha.roll((1, -2), (0, 1))
    found = find_photographed_outline(picture, hint)
    assert found is not None
    assert iou(found, rendered.alpha) > 0.96
    assert iou(found, rendered.alpha) > iou(hint, rendered.alpha)


def test_white_parts_on_white_are_kept():
    """A part that is hardly darker than the white behind it stays in the outline: the edge is followed."""
    picture, rendered = photograph(scenes.cube(), WHITE, noise=0.001)
    inside = rendered.alpha[..., None] > 0.99
    rows = torch.arange(picture.shape[0])[:, None, None] > picture.shape[0] // 2
    white = torch.where(inside & rows, torch.tensor([0.9, 0.9, 0.9]), picture)
    found = find_photographed_outline(white, rendered.alpha.roll(2, 1))
    assert found is not None
    assert iou(found, rendered.alpha) > 0.95


def test_a_cluttered_background_gives_no_outline():
    """Without a plain background nothing is claimed."""
    picture, rendered = photograph(scenes.cube(), WHITE)
    noise = torch.rand(picture.shape, generator=torch.Generator().manual_seed(1))
    cluttered = torch.where(rendered.alpha[..., None] > 0.5, picture, noise)
    assert find_photographed_outline(cluttered, rendered.alpha) is None


def test_depth_of_something_else_gives_no_outline():
    """When the photographed object is nowhere near the depth's outline, the outline is not believed."""
    picture, rendered = photograph(scenes.sphere(0.03), WHITE)
    far_aside = rendered.alpha.roll(60, 1)
    assert find_photographed_outline(picture, far_aside) is None


def test_empty_depth_gives_no_outline():
    """Nothing to start from."""
    picture, rendered = photograph(scenes.cube(), WHITE)
    assert find_photographed_outline(picture, torch.zeros_like(rendered.alpha)) is None
