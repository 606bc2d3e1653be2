"""Exposure and white balance of the photographs relative to one another.

Two photographs of one matt point differ by a gain per colour channel.  Log ratios over many shared points are
solved for one gain per view by iteratively reweighted least squares; gloss, misregistration and clipped pixels are
outliers.  Gains are only applied where they are clearly more than noise, and where ratios gather around one value a
pair: patterns that lie a few pixels apart have a mean ratio, too, but most of their points are outliers.
"""

from statistics import median

import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.texture.photograph import Sighting

POINT_COUNT = 30_000
SIGNIFICANT_GAIN = 0.02
"""Smallest departure from 1 worth correcting; below it blending and rounding dominate."""
MIN_SHARED_POINTS = 80
MIN_COSINE = 0.3
"""Grazing views of a point mix in gloss and neighbours."""
DARKEST_LINEAR, BRIGHTEST_LINEAR = 0.005, 0.9
"""Usable range: above, channels clip; below, file rounding is a large share."""
MIN_INLIER_SHARE = 0.6
"""Least share of ratios within ``2 * _INLIER`` of their pair's middle, in the median pair.  On a printed ball it is
0.99 where photographs and mesh belong together and 0.5 where half of them lie one pixel aside, which alone would look
like gains of 0.9 to 1.2; a finely printed box whose views meet at grazing angles has 0.66, a toy and a tool have 0.93
and more."""
_ROUNDS = 12
_INLIER = 0.05
"""Of log ratios: five per cent."""


def solve_gains(texel_count: int, sightings: list[Sighting]) -> Float[Tensor, "k 3"]:
    """Factors that bring every photograph's linear light to a common exposure (geometric mean 1 over linked views).

    A view that shares too few points with the others keeps gain 1.
    """
    logs, usable = _log_light(texel_count, sightings)
    log_gains = logs.new_zeros(len(sightings), 3)
    pairs = torch.combinations(torch.arange(len(sightings), device=logs.device), 2)
    if pairs.numel():
        difference, strength, inlier_share = _pair_differences(logs, usable, pairs)
        if inlier_share < MIN_INLIER_SHARE:
            return torch.ones_like(log_gains).float()
        log_gains = torch.linalg.solve(*_normal_equations(pairs, difference, strength, len(sightings)))
    is_significant = bool((log_gains.abs() > SIGNIFICANT_GAIN).any())
    return torch.exp(log_gains if is_significant else torch.zeros_like(log_gains)).float()


def _log_light(texel_count: int, sightings: list[Sighting]) -> tuple[Float[Tensor, "k n 3"], Bool[Tensor, "k n"]]:
    """Logarithms of what every view shows at evenly chosen texels, and where they can be used."""
    stride = max(1, texel_count // POINT_COUNT)
    shape = (len(sightings), texel_count // stride + 1)
    logs = torch.zeros(*shape, 3, dtype=torch.float64, device=sightings[0].linear.device)
    usable = torch.zeros(shape, dtype=torch.bool, device=logs.device)
    for view_index, sighting in enumerate(sightings):
        light = sighting.linear
        is_usable = ((light > DARKEST_LINEAR) & (light < BRIGHTEST_LINEAR)).all(1) & (sighting.point % stride == 0)
        is_usable &= (sighting.trust > 0.9) & (sighting.cosine > MIN_COSINE)
        point = sighting.point[is_usable] // stride
        logs[view_index, point] = light[is_usable].double().log()
        usable[view_index, point] = True
    return logs, usable


def _pair_differences(
    logs: Float[Tensor, "k n 3"], usable: Bool[Tensor, "k n"], pairs: Int[Tensor, "p 2"]
) -> tuple[Float[Tensor, "p 3"], Float[Tensor, " p"], float]:
    """Robust mean of log(first / second) per pair (Cauchy weights from the median on) and its statistical strength.

    Beside them the share of points near their pair's mean, in the median pair; 1 when no pair shares enough.
    """
    differences, strengths, inlier_shares = [], [], []
    for one, two in pairs.tolist():
        shared = usable[one] & usable[two]
        if int(shared.sum()) < MIN_SHARED_POINTS:
            differences.append(logs.new_zeros(3))
            strengths.append(0.0)
            continue
        ratio = (logs[one] - logs[two])[shared]
        centre = ratio.median(0).values
        for _ in range(_ROUNDS):
            weight = 1 / (1 + ((ratio - centre) / _INLIER) ** 2)
            centre = (weight * ratio).sum(0) / weight.sum(0)
        differences.append(centre)
        strengths.append(float(weight.sum() / 3))
        inlier_shares.append(float(((ratio - centre).abs() < 2 * _INLIER).double().mean()))
    strength = torch.tensor(strengths, device=logs.device, dtype=logs.dtype)
    return torch.stack(differences), strength, median(inlier_shares) if inlier_shares else 1.0


def _normal_equations(
    pairs: Int[Tensor, "p 2"], difference: Float[Tensor, "p 3"], strength: Float[Tensor, " p"], view_count: int
) -> tuple[Float[Tensor, "k k"], Float[Tensor, "k 3"]]:
    """log gain(second) - log gain(first) = difference, with a faint pull of every gain to 1 that fixes the gauge."""
    incidence = torch.zeros(pairs.shape[0], view_count, device=difference.device, dtype=difference.dtype)
    incidence = incidence.scatter(1, pairs[:, 1:], 1.0).scatter(1, pairs[:, :1], -1.0)
    weighted = incidence.T * strength.clamp_max(5000.0)
    gauge = torch.eye(view_count, device=difference.device, dtype=difference.dtype)
    return weighted @ incidence + gauge, weighted @ difference
