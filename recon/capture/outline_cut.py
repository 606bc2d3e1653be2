"""The object's outline in a photograph whose depth was made apart from it, in front of a plain background.

The depth says roughly where the outline is; within a band around it, the photograph decides by a minimum cut
(Boykov and Jolly 2001): colour is the object's, the background's colour is the background's, greys in between (shadow,
white on white) follow the strongest edges.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from recon.arrays import Float, Tensor
from recon.capture.studio_background import fit_background

Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

_GRIDS_PX = (512, 1024)
"""Longer side on which the outline is cut first, within a wide band, and again, within a narrow one."""

_BAND_FRACTION = 0.027
"""Of the longer side: photograph and depth lie less than this apart."""

_NARROW_BAND_PX = 4.5
_EDGE_SRGB = 0.025
"""Neighbours that differ by this much are half separated already: white on white differs by a little more."""

_TINT = 0.05
"""Grey within this ratio between the channels says nothing; beyond it, colour is the object's."""

_BACKDROP_SRGB = 0.03
_PRIOR = 0.25
"""Pull towards the depth's side of its outline, against one for plain colour."""

_UNITS = 1000
"""Capacities are whole numbers."""

_MIN_OVERLAP = 0.85
"""Intersection over union with the depth's outline below which the cut went astray."""


def find_photographed_outline(
    image_srgb: Float[Tensor, "h w 3"], depth_coverage: Float[Tensor, "h w"]
) -> Float[Tensor, "h w"] | None:
    """Coverage of the object as the photograph shows it; None without a plain background or a credible outline.

    Args:
        image_srgb: The photograph.
        depth_coverage: The object in its depth image, at the photograph's size.
    """
    height_px, width_px = depth_coverage.shape
    mask: Mask | None = None
    for side_px in _GRIDS_PX:
        shrink = max(1, round(max(height_px, width_px) / side_px))
        image = _pooled(image_srgb, shrink)
        backdrop = fit_background(image)
        if backdrop is None:
            return None
        hint = _largest(_pooled(depth_coverage[..., None], shrink)[..., 0] > 0.5)
        if not hint.any():
            return None
        if mask is None:
            mask = _cut(image, backdrop[0], hint, max(4.0, _BAND_FRACTION * max(hint.shape)))
        else:
            start = _resized(mask, hint.shape)
            mask = _cut(image, backdrop[0], start, _NARROW_BAND_PX)
    assert mask is not None
    if (mask & hint).sum() < _MIN_OVERLAP * (mask | hint).sum():
        return None
    soft = torch.from_numpy(ndimage.uniform_filter(mask.astype(np.float32), 3))
    resized: Tensor = torch.nn.functional.interpolate(
        soft[None, None], (height_px, width_px), mode="bilinear", align_corners=False
    )
    return resized[0, 0].clamp(0, 1)


def _pooled(picture: Float[Tensor, "h w c"], shrink: int) -> Array:
    pooled: Array = torch.nn.functional.avg_pool2d(picture.movedim(-1, 0)[None], shrink)[0].movedim(0, -1).numpy()
    return pooled


def _resized(mask: Mask, shape: tuple[int, ...]) -> Mask:
    whole = torch.from_numpy(mask.astype(np.float32))[None, None]
    larger: Mask = (torch.nn.functional.interpolate(whole, shape[:2], mode="bilinear")[0, 0] > 0.5).numpy()
    return larger


def _largest(mask: Mask) -> Mask:
    labels, count = ndimage.label(mask)
    largest: Mask = labels == np.bincount(labels.ravel())[1:].argmax() + 1 if count else mask
    return largest


@dataclass(frozen=True)
class _Edges:
    """Edges of the graph: from, to, capacity."""

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    capacity: npt.NDArray[np.float64]


def _cut(image: Array, backdrop: Array, hint: Mask, band_px: float) -> Mask:
    """The minimum cut within a band around the hint's outline."""
    outside_px = ndimage.distance_transform_edt(~hint) - ndimage.distance_transform_edt(hint)
    band = np.abs(outside_px) < band_px
    evidence = (_colour_evidence(image, backdrop) - _PRIOR * outside_px / band_px)[band]
    evidence[outside_px[band] < 1.5 - band_px] = 50.0
    evidence[outside_px[band] > band_px - 1.5] = -50.0
    count = len(evidence)
    links, ends = _neighbour_edges(image, band), _terminal_edges(evidence)
    first, second = np.concatenate([links.first, ends.first]), np.concatenate([links.second, ends.second])
    capacity = np.round(_UNITS * np.concatenate([links.capacity, ends.capacity])).astype(np.int32)
    graph = sparse.csr_array((capacity, (first, second)), shape=(count + 2, count + 2))
    left_over = sparse.csr_array(graph - csgraph.maximum_flow(graph, count, count + 1).flow)
    left_over.data = left_over.data.clip(0)
    left_over.eliminate_zeros()
    reached = csgraph.breadth_first_order(left_over, count, return_predecessors=False)
    is_object = np.zeros(count + 2, bool)
    is_object[reached] = True
    mask: Mask = hint & ~band
    mask[band] = is_object[:count]
    return mask


def _colour_evidence(image: Array, backdrop: Array) -> Array:
    """Positive where the colour is the object's, negative where it is the background's, zero in between."""
    tint = np.ptp(image / backdrop.clip(0.05), axis=-1)
    difference = np.abs(image - backdrop).max(-1)
    is_object = ((tint - _TINT) / _TINT).clip(0, 2)
    is_background = ((_BACKDROP_SRGB - difference) / (0.5 * _BACKDROP_SRGB)).clip(0, 1) * (tint < _TINT)
    evidence: Array = is_object - is_background
    return evidence


def _neighbour_edges(image: Array, band: Mask) -> _Edges:
    """Both directions between all eight neighbours; cheap to cut where the colour changes."""
    index = np.full(band.shape, -1, np.int64)
    index[band] = np.arange(int(band.sum()))
    height, width = band.shape
    first, second, capacity = [], [], []
    for rows, columns, closeness in ((0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.7), (1, -1, 0.7)):
        here = (slice(0, height - rows), slice(max(0, -columns), width - max(0, columns)))
        there = (slice(rows, height), slice(max(0, columns), width - max(0, -columns)))
        both = (index[here] >= 0) & (index[there] >= 0)
        step = np.abs(image[here] - image[there]).max(-1)[both]
        strength = closeness / (1 + (step / _EDGE_SRGB) ** 2)
        first += [index[here][both], index[there][both]]
        second += [index[there][both], index[here][both]]
        capacity += [strength, strength]
    return _Edges(np.concatenate(first), np.concatenate(second), np.concatenate(capacity).astype(np.float64))


def _terminal_edges(evidence: Array) -> _Edges:
    """From the source (the last node but one) to the object's pixels, from the background's to the sink."""
    count = len(evidence)
    objects, backgrounds = np.flatnonzero(evidence > 0), np.flatnonzero(evidence <= 0)
    return _Edges(
        np.concatenate([np.full(len(objects), count), backgrounds]),
        np.concatenate([objects, np.full(len(backgrounds), count + 1)]),
        np.concatenate([evidence[objects], -evidence[backgrounds]]).astype(np.float64),
    )
