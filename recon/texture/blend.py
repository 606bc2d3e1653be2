"""Blend calibrated photographs into texels, in linear light.

Weights fall with the viewing angle and near occlusion borders, so that a sharp frontal view wins over many
oblique ones.  Where several views see a texel, the light that only some of them see is taken for gloss.
"""

from dataclasses import dataclass

import torch

from recon import colour
from recon.arrays import Bool, Float, Tensor
from recon.texture.photograph import Sighting
from recon.texture.texels import Texels

ANGLE_POWER = 6.0
"""Exponent of the viewing angle's cosine; 2, 6 and best-view were compared, 6 won."""
LEAST_GLOSS_SRGB, MOST_GLOSS_SRGB = 0.02, 0.1
"""A view counts a quarter that is brighter than the darkest credible one by this, or by as much as views differ anyway:
where they show other places, or in another light, no highlight stands out."""
CREDIBLE_SHARE = 0.02
"""A view is credible with this share of the best view's weight: oblique ones, too, show how dark a glossy place is."""
SMOOTHING_TEXELS = 9
"""Views are compared after a blur of this width, so that details that lie a little off do not count as gloss."""


@dataclass(frozen=True)
class Blend:
    """First colours of the texels.

    Attributes:
        linear: Linear light; zero where nothing was seen.
        is_seen: By any view.
    """

    linear: Float[Tensor, "n 3"]
    is_seen: Bool[Tensor, " n"]


def blend_sightings(texel_count: int, sightings: list[Sighting], view_credits: list[Float[Tensor, " _"]]) -> Blend:
    """Weighted mean over the views that see each texel; ``view_credits`` scale the views' weights."""
    summed = sightings[0].linear.new_zeros(texel_count, 3)
    total = summed.new_zeros(texel_count)
    for sighting, credit in zip(sightings, view_credits, strict=True):
        weight = sighting.weights(ANGLE_POWER) * credit
        summed[sighting.point] += weight[:, None] * sighting.linear
        total[sighting.point] += weight
    return Blend(summed / total.clamp_min(1e-30)[:, None], total > 0)


def credit_diffuse(texels: Texels, sightings: list[Sighting]) -> list[Float[Tensor, " _"]]:
    """For every view and the texels it sees: near 0 where it shows a highlight that another view does not, else 1.

    A texel seen once keeps its only view.
    """
    lightness = [_smooth_lightness(texels, sighting) for sighting in sightings]
    best = torch.zeros(texels.count, device=texels.index.device)
    for sighting in sightings:
        best[sighting.point] = torch.maximum(best[sighting.point], sighting.weights(2.0))
    darkest = torch.full_like(best, torch.inf)
    for sighting, value in zip(sightings, lightness, strict=True):
        is_credible = sighting.weights(2.0) > CREDIBLE_SHARE * best[sighting.point]
        candidate = torch.where(is_credible, value, torch.inf)
        darkest[sighting.point] = torch.minimum(darkest[sighting.point], candidate)
    excess = [
        (value - darkest[sighting.point]).clamp_min(0) for sighting, value in zip(sightings, lightness, strict=True)
    ]
    differing = torch.cat([item[item > 0] for item in excess])
    usual_srgb = float(differing.median()) if len(differing) else 0.0
    gloss_srgb = min(max(usual_srgb, LEAST_GLOSS_SRGB), MOST_GLOSS_SRGB)
    return [1 / (1 + (item / gloss_srgb) ** 2) ** 2 for item in excess]


def _smooth_lightness(texels: Texels, sighting: Sighting) -> Float[Tensor, " m"]:
    """Mean sRGB value that a view shows around each texel it sees."""
    lightness = colour.srgb_from_linear(sighting.linear.clamp(0, 1)).mean(1)
    where = texels.index[sighting.point]
    picture = lightness.new_zeros(2, texels.size_px**2)
    picture[0, where], picture[1, where] = lightness, 1.0
    picture = picture.view(1, 2, texels.size_px, texels.size_px)
    width, reach = SMOOTHING_TEXELS, SMOOTHING_TEXELS // 2
    blurred = torch.nn.functional.avg_pool2d(picture, (width, 1), stride=1, padding=(reach, 0))
    blurred = torch.nn.functional.avg_pool2d(blurred, (1, width), stride=1, padding=(0, reach))
    blurred = blurred.view(2, -1)[:, where]
    return blurred[0] / blurred[1]
