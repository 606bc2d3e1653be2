"""Unseen surface and the space between charts."""

import torch

import scenes
import texture_scenes
from recon import colour
from recon.texture.fill import GREY_LINEAR, fill_unseen, push_pull


def test_unseen_surface_continues_its_neighbours() -> None:
    """Red at one pole, blue at the other: between them the fill runs from one to the other and never beyond."""
    mesh = texture_scenes.ball()
    _, texels = texture_scenes.unwrapped(mesh)
    height = (texels.positions_world[:, 2] - scenes.sphere().centre_world[2]) / 0.1
    is_seen = height.abs() > 0.7
    red, blue = torch.tensor([1.0, 0.0, 0.2]), torch.tensor([0.0, 0.0, 1.0])
    linear = torch.where((height > 0)[:, None], red, blue) * is_seen[:, None]
    filled = fill_unseen(mesh, texels, linear, is_seen)
    assert torch.equal(filled[is_seen], linear[is_seen])
    unseen, at = colour.srgb_from_linear(filled[~is_seen]), height[~is_seen]
    assert unseen[:, 1].abs().max() < 1e-6
    assert unseen[:, 0].min() >= -1e-4
    assert unseen[:, 0].max() <= 1.0001
    assert unseen[at > 0.5, 0].min() > 0.7
    assert unseen[at < -0.5, 0].max() < 0.3
    assert abs(float(unseen[at.abs() < 0.05, 0].mean()) - 0.5) < 0.05


def test_a_colour_that_touches_the_unseen_in_one_place_does_not_tint_all_of_it() -> None:
    """A bright patch along a seventh of a dark cap's border stays beside it; a mean would show all over the cap."""
    mesh = texture_scenes.ball()
    _, texels = texture_scenes.unwrapped(mesh)
    direction = (texels.positions_world - scenes.sphere().centre_world) / 0.1
    is_seen = direction[:, 2] > -0.5
    is_bright = torch.atan2(direction[:, 1], direction[:, 0]).abs() < torch.pi / 7
    linear = torch.where(is_bright[:, None], torch.tensor([0.9, 0.2, 0.05]), torch.tensor([0.01, 0.01, 0.01]))
    filled = colour.srgb_from_linear(fill_unseen(mesh, texels, linear * is_seen[:, None], is_seen))
    dark = colour.srgb_from_linear(torch.tensor(0.01))
    assert (filled[direction[:, 2] < -0.9, 0] - dark).abs().max() < 0.1


def test_an_object_seen_by_nobody_is_grey() -> None:
    """Nothing to continue from gives a plain colour, not black holes or NaN."""
    mesh = texture_scenes.box()
    _, texels = texture_scenes.unwrapped(mesh, 128)
    nothing = torch.zeros(texels.count, dtype=torch.bool)
    filled = fill_unseen(mesh, texels, torch.zeros(texels.count, 3), nothing)
    assert torch.equal(filled, torch.full_like(filled, GREY_LINEAR))


def test_push_pull_keeps_what_is_known_and_floods_the_rest() -> None:
    """Known texels stay, others take on neighbouring values, also in pictures of odd size."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(37, 50, 3, generator=generator) * 0.5 + 0.25
    weight = (torch.rand(37, 50, generator=generator) > 0.8).float()
    filled = push_pull(picture, weight)
    torch.testing.assert_close(filled[weight > 0], picture[weight > 0])
    assert filled.min() >= 0.25
    assert filled.max() <= 0.75
