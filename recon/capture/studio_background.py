"""Find an object in front of a plain studio background, soft shadow included.

The background's colour is a smooth surface fitted to the picture's border.  Background then grows inwards from
the border over pixels of that colour, and over pixels that are merely darker without any edge: a soft shadow.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from recon.arrays import Float, Tensor
from recon.colour import linear_from_srgb, srgb_from_linear

Array = npt.NDArray[np.float32]

_BORDER_FRACTION = 0.02
_MAX_BORDER_SPREAD = 0.04
"""A plain background deviates less than this (sRGB) from a smooth colour along the border."""

_MIN_BORDER_INLIERS = 0.85
"""The object may cut the border, but not most of it."""

_MIN_CONTRAST = 0.02
"""sRGB difference below which a pixel is background whatever the noise.  With 0.03 a white cube of 0.93 before 0.97
is lost; with 0.02 the masks of real photographs with soft shadows lose half a percent of overlap at most."""

_SHADOW_DARKEST = 0.35
"""A soft shadow keeps at least this share of the background's light."""

_SHADOW_TINT = 0.035
"""A soft shadow darkens red, green and blue alike to within this ratio."""

_SHADOW_EDGE = 0.35
"""Darkening that changes faster than this share of the contrast per thousandth of the picture's width is an edge."""

_SHARP_WIDTH_PX = 500
"""In narrower pictures an edge's slope is limited by the pixels."""

_MIN_HOLE_FRACTION = 0.01
"""Smaller enclosed areas in the background's colour are highlights, not holes."""


@dataclass(frozen=True)
class StudioObject:
    """The object's coverage and its colours freed from the background at its rim."""

    coverage: Float[Tensor, "h w"]
    image_srgb: Float[Tensor, "h w 3"]


def find_studio_object(image_srgb: Float[Tensor, "h w 3"]) -> StudioObject | None:
    """Separate an object from a plain background; None when the background is not plain."""
    image = image_srgb.numpy()
    background = fit_background(image)
    if background is None:
        return None
    backdrop, contrast = background
    mask = _grow_background(image, backdrop, contrast)
    return _with_soft_rim(image_srgb, torch.from_numpy(backdrop), mask)


def fit_background(image: Array) -> tuple[Array, float] | None:
    """The background's colour at every pixel, and the contrast above which a pixel is something else."""
    height_px, width_px = image.shape[:2]
    ring_px = max(2, round(_BORDER_FRACTION * min(height_px, width_px)))
    y, x = np.mgrid[-1 : 1 : height_px * 1j, -1 : 1 : width_px * 1j].astype(np.float32)
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], -1)
    is_ring = np.ones((height_px, width_px), bool)
    is_ring[ring_px:-ring_px, ring_px:-ring_px] = False
    ring_terms, ring_colours = terms[is_ring], image[is_ring]
    weights = np.ones(len(ring_terms), np.float32)
    for _ in range(10):
        # Iteratively reweighted least squares with Geman-McClure weights: the object may touch the border.
        scaled = ring_terms * weights[:, None]
        coefficients = np.linalg.lstsq(scaled, ring_colours * weights[:, None], rcond=None)[0]
        residual = np.abs(ring_colours - ring_terms @ coefficients).max(-1)
        weights = 1 / (1 + (residual / _MAX_BORDER_SPREAD) ** 2)
    is_inlier = residual < 2 * _MAX_BORDER_SPREAD
    if is_inlier.mean() < _MIN_BORDER_INLIERS or float(np.median(residual)) > _MAX_BORDER_SPREAD:
        return None
    spread = float(np.quantile(residual[is_inlier], 0.99))
    return (terms @ coefficients).astype(np.float32), max(_MIN_CONTRAST, 1.5 * spread)


def _smoothing_px(width_px: int) -> float:
    """Standard deviation of the smoothing that takes out noise and compression."""
    return max(width_px / 1500, 0.5)


def _grow_background(image: Array, backdrop: Array, contrast: float) -> npt.NDArray[np.bool_]:
    """The object's pixels: what background and shadow do not reach from the border."""
    width_px = image.shape[1]
    smooth = ndimage.gaussian_filter(image, (_smoothing_px(width_px), _smoothing_px(width_px), 0))
    is_backdrop = np.abs(smooth - backdrop).max(-1) < contrast
    ratio = smooth / backdrop.clip(0.05)
    is_neutral = np.ptp(ratio, axis=-1) < _SHADOW_TINT
    is_darker = (ratio.mean(-1) > _SHADOW_DARKEST) & (ratio.mean(-1) < 1 + contrast)
    slope = ndimage.gaussian_gradient_magnitude(smooth.mean(-1), 1.0)
    # In small pictures the sharpest edge still takes two pixels.
    has_no_edge = slope * max(width_px, _SHARP_WIDTH_PX) / 1000 < _SHADOW_EDGE * contrast
    passable = is_backdrop | (is_neutral & is_darker & has_no_edge)
    # Gaps in an object's outline, where it has the background's colour, are not ways in.
    reach_px = max(1, round(width_px / 350))
    opened = ndimage.binary_opening(np.pad(passable, 2 * reach_px, constant_values=True), iterations=reach_px)
    labels = ndimage.label(opened)[0]
    reached = (labels == labels[reach_px, reach_px])[2 * reach_px : -2 * reach_px, 2 * reach_px : -2 * reach_px]
    reached |= ndimage.binary_dilation(reached, iterations=reach_px) & passable
    mask = ~reached
    return _without_blots(mask & ~_see_through(mask, np.abs(smooth - backdrop).max(-1), contrast))


def _see_through(mask: npt.NDArray[np.bool_], difference: Array, contrast: float) -> npt.NDArray[np.bool_]:
    """Holes of the object: enclosed areas whose colour is the background's, not merely close to it."""
    labels, count = ndimage.label(ndimage.binary_erosion(mask) & (difference < contrast))
    if count == 0:
        return np.zeros_like(mask)
    indices = np.arange(1, count + 1)
    is_large = ndimage.sum_labels(mask, labels, indices) > _MIN_HOLE_FRACTION * mask.sum()
    is_backdrop = ndimage.mean(difference, labels, indices) < 0.5 * contrast
    holes: npt.NDArray[np.bool_] = np.concatenate([[False], is_large & is_backdrop])[labels]
    return holes


def _without_blots(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Drop pieces far smaller than the largest: dust and compression noise."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept: npt.NDArray[np.bool_] = (sizes >= 0.01 * sizes.max())[labels] & mask
    return kept


def _with_soft_rim(
    image_srgb: Float[Tensor, "h w 3"], backdrop_srgb: Float[Tensor, "h w 3"], mask: npt.NDArray[np.bool_]
) -> StudioObject:
    """Coverage at the rim from how far each pixel's light lies between background and the object beside it."""
    # The contrast threshold and the smoothing before it put the mask's edge this far outside the object's.
    rim_px = 1 + math.ceil(1.5 * _smoothing_px(mask.shape[1]))
    rim = mask & ~ndimage.binary_erosion(mask, iterations=rim_px)
    inner = ndimage.binary_erosion(mask, iterations=rim_px + 1)
    coverage = torch.from_numpy(mask.astype(np.float32))
    if not inner.any():
        return StudioObject(coverage, image_srgb)
    nearest = ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True)
    rows, columns = np.nonzero(rim)
    inside = linear_from_srgb(image_srgb[nearest[0][rows, columns], nearest[1][rows, columns]])
    outside = linear_from_srgb(backdrop_srgb[rows, columns].clamp(0, 1))
    seen = linear_from_srgb(image_srgb[rows, columns])
    span = inside - outside
    share = (((seen - outside) * span).sum(-1) / (span**2).sum(-1).clamp_min(1e-4)).clamp(0, 1)
    # Where the object has the background's colour, light says nothing: keep the binary answer.
    is_telling = (span**2).sum(-1) > 0.02
    coverage[rows, columns] = torch.where(is_telling, share, coverage[rows, columns])
    image = image_srgb.clone()
    image[rows, columns] = torch.where(is_telling[:, None], srgb_from_linear(inside), image_srgb[rows, columns])
    return StudioObject(coverage, image)
