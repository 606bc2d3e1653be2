"""Blend calibrated photographs into texels, in linear light.

Weights fall with the viewing angle and near occlusion borders, so that a sharp frontal view wins over many
oblique ones.
"""

from dataclasses import dataclass

import torch

from recon.arrays import Bool, Float, Tensor
from recon.texture.photograph import Photograph, sample
from recon.texture.texels import Texels

ANGLE_POWER = 6.0
"""Exponent of the viewing angle's cosine; 2, 6 and best-view were compared, 6 won."""
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Blend:
    """First colours of the texels.

    Attributes:
        linear: Linear light; zero where nothing was seen.
        weight: Sum of the views' weights; zero where nothing was seen.
    """

    linear: Float[Tensor, "n 3"]
    weight: Float[Tensor, " n"]

    @property
    def is_seen(self) -> Bool[Tensor, " n"]:
        return self.weight > 0


def blend_views(texels: Texels, photographs: list[Photograph], gains: Float[Tensor, "k 3"]) -> Blend:
    """Weighted mean over the views that see each texel."""
    parts = [
        _blend_points(positions, normals, photographs, gains)
        for positions, normals in zip(texels.positions_world.split(_CHUNK), texels.normals_world.split(_CHUNK), strict=True)
    ]
    return Blend(torch.cat([part.linear for part in parts]), torch.cat([part.weight for part in parts]))


def _blend_points(
    positions_world: Float[Tensor, "n 3"],
    normals_world: Float[Tensor, "n 3"],
    photographs: list[Photograph],
    gains: Float[Tensor, "k 3"],
) -> Blend:
    summed = torch.zeros_like(positions_world)
    total = torch.zeros_like(positions_world[:, 0])
    for photograph, gain in zip(photographs, gains, strict=True):
        pixels_px, trust, cosine = photograph.sees(positions_world, normals_world)
        weight = photograph.weights(trust, cosine, positions_world, ANGLE_POWER)
        summed = summed + weight[:, None] * sample(photograph.linear, pixels_px) * gain
        total = total + weight
    return Blend(summed / total.clamp_min(1e-20)[:, None], total)
