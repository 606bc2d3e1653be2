"""Views are mixed by what they resolve, and highlights lose against matt views."""

import torch

import texture_scenes
from recon.texture.blend import blend_sightings, credit_diffuse
from recon.texture.photograph import Sighting


def sighting(points: list[int], linear: list[float], cosine: float = 1.0, pixels_per_metre: float = 1.0) -> Sighting:
    full = torch.ones(len(points))
    colours = torch.tensor(linear)[:, None].expand(-1, 3).contiguous()
    return Sighting(torch.tensor(points), colours, full, full * cosine, full * pixels_per_metre)


def test_the_blend_is_the_weighted_mean() -> None:
    """Weights are pixels per area times the sixth power of the cosine; unseen points stay unseen."""
    views = [sighting([0, 1], [0.2, 0.4]), sighting([1], [1.0], cosine=0.5, pixels_per_metre=4.0)]
    blend = blend_sightings(3, views, [torch.ones(2), torch.ones(1)])
    assert blend.is_seen.tolist() == [True, True, False]
    weight = 16 * 0.5**6
    expected = torch.tensor([0.2, (0.4 + weight * 1.0) / (1 + weight), 0.0])
    torch.testing.assert_close(blend.linear[:, 0], expected)


def test_a_highlight_seen_by_one_view_loses_its_credit() -> None:
    """The brighter of two views counts little, the darker fully, and a view that is alone keeps its word."""
    _, texels = texture_scenes.unwrapped(texture_scenes.box(), 128)
    everywhere = list(range(texels.count))
    half = everywhere[: texels.count // 2]
    matt, bright = sighting(half, [0.2] * len(half)), sighting(everywhere, [0.6] * texels.count)
    matt_credit, bright_credit = credit_diffuse(texels, [matt, bright])
    assert matt_credit.min() > 0.99
    seen_by_one = torch.ones(128 * 128, dtype=torch.bool)
    seen_by_one[texels.index[half]] = False
    far_from_shared = -torch.nn.functional.max_pool2d(-seen_by_one.float().view(1, 1, 128, 128), 9, 1, 4).view(-1)
    assert bright_credit[half].max() < 0.01
    assert bright_credit[far_from_shared[texels.index] > 0].min() == 1


def test_views_that_agree_keep_their_credit() -> None:
    """Rounding and a little noise cost nothing to speak of."""
    _, texels = texture_scenes.unwrapped(texture_scenes.box(), 128)
    noise = torch.randn(texels.count, generator=torch.Generator().manual_seed(0)) * 0.01
    everywhere = list(range(texels.count))
    one, two = sighting(everywhere, [0.3] * texels.count), sighting(everywhere, (0.3 + noise).tolist())
    for credit in credit_diffuse(texels, [one, two]):
        assert credit.min() > 0.9


def test_a_faint_highlight_counts_only_where_views_agree_elsewhere() -> None:
    """A place a little brighter in one view is gloss where views agree elsewhere, not where they differ all over."""
    _, texels = texture_scenes.unwrapped(texture_scenes.box(), 128)
    everywhere = list(range(texels.count))
    is_bright = texels.positions_world[:, 2] > texels.positions_world[:, 2].quantile(0.8)
    matt = torch.full((texels.count,), 0.3)

    def credit_of_the_bright(elsewhere: float) -> float:
        bright = torch.where(is_bright, 0.38, elsewhere)
        views = [sighting(everywhere, matt.tolist()), sighting(everywhere, bright.tolist())]
        return float(credit_diffuse(texels, views)[1][is_bright].median())

    assert credit_of_the_bright(0.301) < 0.1
    assert credit_of_the_bright(0.38) >= 0.25


def test_an_oblique_view_shows_how_dark_a_glossy_place_is() -> None:
    """A highlight seen head on loses its credit though the only other view is an oblique one."""
    _, texels = texture_scenes.unwrapped(texture_scenes.box(), 128)
    everywhere = list(range(texels.count))
    oblique = sighting(everywhere, [0.2] * texels.count, cosine=0.2)
    oblique_credit, frontal_credit = credit_diffuse(texels, [oblique, sighting(everywhere, [0.6] * texels.count)])
    assert oblique_credit.min() == 1
    assert frontal_credit.max() <= 0.25
