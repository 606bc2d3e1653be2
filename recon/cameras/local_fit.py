"""Robust local polynomials through a depth map: smoothed depth, its slopes, and how noisy it is.

Around every pixel a quadratic is fitted to the window by iteratively reweighted least squares (robust moving least
squares, Fleishman et al. 2005), so that depth edges and flying pixels do not bleed into their neighbours while
curvature is kept.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from recon.arrays import Bool, Float, Int, Tensor

_CHUNK_PIXELS = 16_384
"""Pixels fitted at once: bounds memory to about 100 MB for the largest window."""
_NOISE_PIXELS = 4000
_PRECISION = 1e-6
_COEFFICIENTS = 6
"""Of a quadratic in two variables."""


@dataclass(frozen=True)
class LocalFit:
    """A smoothed depth map, in the unit of the depth that was fitted.

    Attributes:
        depth: The quadratic at the pixel's centre; the input where nothing was measured.
        slope_x, slope_y: Its change per pixel to the right and down.
        spread: Robust root mean square of the window about the quadratic.
        support: Share of the window that agreed with the quadratic, 0..1.
    """

    depth: Float[Tensor, "h w"]
    slope_x: Float[Tensor, "h w"]
    slope_y: Float[Tensor, "h w"]
    spread: Float[Tensor, "h w"]
    support: Float[Tensor, "h w"]


def fit_depth(depth: Float[Tensor, "h w"], valid: Bool[Tensor, "h w"], radius_px: int, noise: float) -> LocalFit:
    """Smooth a depth map without mixing the two sides of an edge.

    Args:
        depth: Any unit, float64.
        valid: Where depth was measured.
        radius_px: Half the window; 2 keeps detail, 4 or more averages noise away.
        noise: Standard deviation of one pixel; sets how far a neighbour may lie off the surface.
    """
    rows = torch.nonzero(valid.flatten()).squeeze(1)
    maps = torch.zeros(5, depth.numel(), dtype=depth.dtype, device=depth.device)
    maps[0] = depth.flatten()
    maps[:, rows] = _fit_at(depth, valid, rows, radius_px, noise).T
    return LocalFit(*maps.view(5, *depth.shape).unbind(0))


def estimate_noise(depth: Float[Tensor, "h w"], valid: Bool[Tensor, "h w"], step: float) -> float:
    """Standard deviation of one depth pixel, from how far windows lie off their own quadratic.

    Args:
        depth: Any unit.
        valid: Where depth was measured.
        step: Resolution of the file format; noise is never less than its rounding error.
    """
    rounding = step / 12**0.5
    if not bool(valid.any()):
        return rounding
    rows = torch.nonzero(valid.flatten()).squeeze(1)
    # A regular subset is enough for a median.
    rows = rows[:: max(1, rows.numel() // _NOISE_PIXELS)]
    fitted = _fit_at(depth, valid, rows, 3, rounding + _typical_step(depth, valid))
    spread, support = fitted[:, 3], fitted[:, 4]
    settled = support > 0.5
    if not bool(settled.any()):
        return rounding
    fitted_share = _COEFFICIENTS / 49
    return max(rounding, float(spread[settled].median()) / math.sqrt(1 - fitted_share))


def _fit_at(
    depth: Float[Tensor, "h w"], valid: Bool[Tensor, "h w"], rows: Int[Tensor, " n"], radius_px: int, noise: float
) -> Float[Tensor, "n 5"]:
    """Depth, slopes per pixel, spread and support at some pixels of a flattened map."""
    offsets = torch.arange(-radius_px, radius_px + 1, device=depth.device, dtype=depth.dtype) / radius_px
    dy, dx = (item.flatten() for item in torch.meshgrid(offsets, offsets, indexing="ij"))
    basis = torch.stack([torch.ones_like(dx), dx, dy, dx * dx, dx * dy, dy * dy], 1)
    closeness = torch.exp(-(dx**2 + dy**2))
    windows = _Windows(depth, valid, radius_px)
    # Depth arrives in single precision: a perfectly flat wall still has this much rounding.
    precision = _PRECISION * float(depth.abs().max())
    gate = 4 * max(noise, precision) + 2 * radius_px * _typical_step(depth, valid, is_exact=noise < precision)
    noise = max(noise, precision)
    parts = [_fit_rows(windows, chunk, basis, closeness, gate, noise) for chunk in rows.split(_CHUNK_PIXELS)]
    fitted = torch.cat(parts) if parts else depth.new_zeros(0, 5)
    fitted[:, 1:3] /= radius_px
    return fitted


class _Windows:
    """Gathers the window around any pixel of a padded map."""

    def __init__(self, depth: Float[Tensor, "h w"], valid: Bool[Tensor, "h w"], radius_px: int) -> None:
        pad = [radius_px] * 4
        self._depth = functional.pad(torch.where(valid, depth, 0.0), pad).flatten()
        self._valid = functional.pad(valid.to(depth.dtype), pad).flatten()
        self._width, self._stride = depth.shape[1], depth.shape[1] + 2 * radius_px
        span = torch.arange(2 * radius_px + 1, device=depth.device)
        self._shifts = (span[:, None] * self._stride + span).flatten()

    def __call__(self, rows: Int[Tensor, " n"]) -> tuple[Float[Tensor, "n o"], Float[Tensor, "n o"]]:
        corners = (rows // self._width) * self._stride + rows % self._width
        index = corners[:, None] + self._shifts
        return self._depth[index], self._valid[index]


def _fit_rows(
    windows: _Windows,
    rows: Int[Tensor, " n"],
    basis: Float[Tensor, "o 6"],
    closeness: Float[Tensor, " o"],
    gate: float,
    noise: float,
) -> Float[Tensor, "n 5"]:
    values, present = windows(rows)
    centre = values[:, values.shape[1] // 2 : values.shape[1] // 2 + 1]
    relative = values - centre
    weights = present / (1 + (relative / gate) ** 2) ** 2
    products = (basis[:, :, None] * basis[:, None, :]).flatten(1)
    ridge = 1e-6 * torch.eye(_COEFFICIENTS, dtype=basis.dtype, device=basis.device)
    for limit in (3 * noise + gate / 4, 3 * noise, 3 * noise):
        scaled = weights * closeness
        normal = (scaled @ products).view(-1, _COEFFICIENTS, _COEFFICIENTS) + ridge
        coefficients = torch.linalg.solve(normal, (scaled * relative) @ basis)
        residual = relative - coefficients @ basis.T
        weights = present / (1 + (residual / limit) ** 2) ** 2
    spread = ((weights * residual**2).sum(1) / weights.sum(1).clamp_min(1e-9)).sqrt()
    support = weights.mean(1)
    return torch.cat([centre + coefficients[:, :1], coefficients[:, 1:3], spread[:, None], support[:, None]], 1)


def _typical_step(depth: Float[Tensor, "h w"], valid: Bool[Tensor, "h w"], *, is_exact: bool = False) -> float:
    """Median depth difference between neighbours; of exact depth, which has no plateaus, in the steeper direction."""
    across = (depth[:, 1:] - depth[:, :-1]).abs()[valid[:, 1:] & valid[:, :-1]]
    down = (depth[1:] - depth[:-1]).abs()[valid[1:] & valid[:-1]]
    parts = [across, down] if is_exact else [torch.cat([across, down])]
    return max(float(steps.median()) if steps.numel() else 0.0 for steps in parts)
