"""What one view shows, prepared once for all comparisons with the other views."""

from dataclasses import dataclass

import torch

from recon.arrays import Bool, Float, Tensor
from recon.cameras.local_fit import estimate_noise, fit_depth
from recon.contour import contour_distance_px

_NOISY_STEPS = 0.25
"""Noise above this share of the typical depth change per pixel hides the slope from the smallest window."""


@dataclass(frozen=True)
class Surface:
    """A view's measured surface and silhouette on its depth grid.

    Attributes:
        depth: Smoothed depth in the unit of the depth map (metres, or a relative code).
        slope_x, slope_y: Its change per pixel to the right and down.
        usable: Smooth enough, with its neighbours, to be interpolated.
        outside_px: Distance to the object's silhouette; negative inside it.
        noise: Standard deviation of one pixel of the depth that was measured.
    """

    depth: Float[Tensor, "h w"]
    slope_x: Float[Tensor, "h w"]
    slope_y: Float[Tensor, "h w"]
    usable: Bool[Tensor, "h w"]
    outside_px: Float[Tensor, "h w"]
    noise: float

    @property
    def height_px(self) -> int:
        return int(self.depth.shape[0])

    @property
    def width_px(self) -> int:
        return int(self.depth.shape[1])


@dataclass(frozen=True)
class Samples:
    """The same number of surface points drawn from every view.

    Attributes:
        pixels_px: Pixel centres (x, y).
        depth: Smoothed depth in the unit of the view's depth map.
        slopes: Its change per pixel to the right and down.
    """

    pixels_px: Float[Tensor, "k n 2"]
    depth: Float[Tensor, "k n"]
    slopes: Float[Tensor, "k n 2"]


def make_surface(
    depth: Float[Tensor, "h w"],
    valid: Bool[Tensor, "h w"],
    outside_px: Float[Tensor, "h w"],
    step: float,
    radius_px: int | None = None,
) -> Surface:
    """Smooth a depth map as much as its own noise asks for.

    Args:
        depth: Metres or a relative code.
        valid: Depth that belongs to the object.
        outside_px: Distance to the object's outline on the same grid (``contour_distance_px``), any precision.
        step: Resolution of the depth format.
        radius_px: Half the smoothing window; None follows the noise.
    """
    depth = depth.double()
    noise = estimate_noise(depth, valid, step)
    if radius_px is None:
        radius_px = 2 if noise < _NOISY_STEPS * median_step(depth, valid) else 5
    fit = fit_depth(depth, valid, radius_px, noise)
    usable = valid & (fit.support > 0.4)
    usable &= _is_smooth(fit.depth, fit.slope_x, fit.slope_y, usable, 4 * noise)
    return Surface(fit.depth, fit.slope_x, fit.slope_y, usable, _bounded(outside_px), noise)


def median_step(depth: Float[Tensor, "h w"], valid: Bool[Tensor, "h w"]) -> float:
    """Median depth difference between pixels eight apart, per pixel: the slope, hardly touched by noise."""
    gap = 8
    across = (depth[:, gap:] - depth[:, :-gap]).abs()[valid[:, gap:] & valid[:, :-gap]]
    return float(across.median()) / gap if across.numel() else 0.0


def signed_distance_px(alpha: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """``contour_distance_px`` in the double precision of everything here, at most the picture's longer side."""
    return _bounded(contour_distance_px(alpha.float()))


def _bounded(distance_px: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    side_px = max(distance_px.shape)
    return distance_px.double().clamp(-side_px, side_px)


def _is_smooth(
    depth: Float[Tensor, "h w"],
    slope_x: Float[Tensor, "h w"],
    slope_y: Float[Tensor, "h w"],
    usable: Bool[Tensor, "h w"],
    noise: float,
) -> Bool[Tensor, "h w"]:
    """Whether every neighbour continues the pixel's own slope, so that bilinear interpolation is sound."""
    smooth = usable.clone()
    precision = 1e-6 * float(depth.abs().max())
    step = median_step(depth, usable)
    if noise < precision:  # exact depth has no plateaus: a wall may slope down only
        step = max(step, median_step(depth.T, usable.T))
    limit = noise + step + precision
    for axis, slope in ((1, slope_x), (0, slope_y)):
        size = depth.shape[axis]
        first, second = (depth.narrow(axis, start, size - 1) for start in (0, 1))
        mean_slope = (slope.narrow(axis, 0, size - 1) + slope.narrow(axis, 1, size - 1)) / 2
        broken = (second - first - mean_slope).abs() > limit + 0.3 * mean_slope.abs()
        broken &= usable.narrow(axis, 0, size - 1) & usable.narrow(axis, 1, size - 1)
        smooth.narrow(axis, 0, size - 1)[broken] = False
        smooth.narrow(axis, 1, size - 1)[broken] = False
    return smooth


def draw_samples(surfaces: list[Surface], count: int, seed: int) -> Samples:
    """Draw points evenly at random over every view's usable surface.

    Raises:
        ValueError: A view has no usable surface.
    """
    generator = torch.Generator().manual_seed(seed)
    pixels, depths, slopes = [], [], []
    for surface in surfaces:
        rows = torch.nonzero(surface.usable.flatten().cpu()).squeeze(1)
        if not rows.numel():
            raise ValueError("a view has no usable surface")
        order = torch.randperm(rows.numel(), generator=generator)
        chosen = rows[order.repeat(-(-count // rows.numel()))[:count]].to(surface.depth.device)
        centres_px = torch.stack([chosen % surface.width_px, chosen // surface.width_px], 1).double() + 0.5
        pixels.append(centres_px)
        depths.append(surface.depth.flatten()[chosen])
        slopes.append(torch.stack([surface.slope_x.flatten()[chosen], surface.slope_y.flatten()[chosen]], 1))
    return Samples(torch.stack(pixels), torch.stack(depths), torch.stack(slopes))
