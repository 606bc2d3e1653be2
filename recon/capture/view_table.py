"""Find an object that stands on a table, in the depth of a single view whose camera is unknown.

The inverse depth of a plane is affine in the pixel, whatever the focal length: the table is found by random sample
consensus (Fischler and Bolles 1981) on that.  What is nearer than the table, as one piece without a step in depth, at
the middle of the picture rather than at its border, is the object.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from recon.arrays import Float, Tensor
from recon.scene import DepthMap

Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

_SAMPLE_COUNT, _SCORER_COUNT, _TRIAL_COUNT = 20_000, 4_000, 600
_COARSE = 0.004
"""Nearness over the plane, as a share of the depth, within which a point supports a trial."""
_MIN_TABLE_SHARE = 0.2
"""A table fills at least this share of the depth."""
_STEP = 0.02
"""Neighbours whose depths differ by more than this share belong to different pieces."""
_MIN_PIECE = 5e-4
"""A smaller share of the picture is no object."""
_REACH_PX = 4
"""A piece this close to the object and at its depth belongs to it: a step within the object cut it off."""
_HIDDEN_DEPTH = 0.4
"""How much deeper than what is seen of it an object may be, in its width (behind a lens of 53 degrees): what is seen
end on hides the rest.  From 0.35 to 0.7 nothing changes; at 1 things behind the object are taken for it."""
_MAX_BORDER_SHARE = 0.1
"""Of its outline, that an object may have on the picture's border; walls have more."""


def find_object_on_table(depth: DepthMap) -> Float[Tensor, "h w"] | None:
    """Coverage of the object on the depth's grid; None when there is no table or nothing on it.

    Args:
        depth: In any unit, along the optical axis, with the scene still in it.
    """
    valid = depth.valid_mask.numpy()
    depth_z = np.where(valid, depth.depth_z.numpy().astype(np.float64), np.inf)
    height_px, width_px = valid.shape
    rows, columns = np.mgrid[:height_px, :width_px]
    places = np.stack([columns / width_px - 0.5, rows / width_px - 0.5, np.ones(valid.shape)], -1)
    plane = _find_plane(places[valid], depth_z[valid])
    if plane is None:
        return None
    nearness = np.where(valid, 1 - depth_z.clip(max=1e9) * (places @ plane.inverse_depth), 0.0)
    rises = valid & (nearness > plane.tolerance)
    piece = _central_piece(rises, depth_z)
    if piece is None:
        return None
    closed = ndimage.binary_closing(np.pad(piece, 3), iterations=2)[3:-3, 3:-3]
    filled = ndimage.binary_fill_holes(piece | (closed & ~valid))
    # Only where nothing was measured: the view through a handle shows measured table.
    return torch.from_numpy((piece | (filled & ~valid)).astype(np.float32))


@dataclass(frozen=True)
class _Plane:
    """Inverse depth is ``place @ inverse_depth``; points within the tolerance, a share of their depth, lie on it."""

    inverse_depth: Array
    tolerance: float


def _find_plane(places: Array, depth_z: Array) -> _Plane | None:
    """The plane with most support, refined by least squares."""
    if len(depth_z) < 100:
        return None
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(depth_z), _SAMPLE_COUNT)
    places, depth_z = places[chosen], depth_z[chosen]
    best_count = 0
    best: Array = np.zeros(3)
    for corners in rng.integers(0, _SAMPLE_COUNT, (_TRIAL_COUNT, 3)):
        if abs(np.linalg.det(places[corners])) < 1e-4:
            continue
        trial = np.linalg.solve(places[corners], 1 / depth_z[corners])
        off = 1 - depth_z[:_SCORER_COUNT] * (places[:_SCORER_COUNT] @ trial)
        count = int((np.abs(off) < _COARSE).sum())
        if count > best_count:
            best_count, best = count, trial
    if best_count < _MIN_TABLE_SHARE * _SCORER_COUNT:
        return None
    tolerance = _COARSE
    for _ in range(8):
        near = np.abs(1 - depth_z * (places @ best)) < tolerance
        weighted = places[near] * depth_z[near, None]
        best = np.linalg.lstsq(weighted, np.ones(len(weighted)), rcond=None)[0]
        spread = 1.4826 * float(np.median(np.abs(1 - weighted @ best)))
        tolerance = min(max(4 * spread, 2e-4), 0.02)
    return _Plane(best, tolerance)


def _central_piece(rises: Mask, depth_z: Array) -> Mask | None:
    """The piece by size over distance from the picture's middle, with what a step within the object cut off."""
    steps = rises & (depth_z > (1 + _STEP) * ndimage.minimum_filter(np.where(rises, depth_z, np.inf), 3))
    labels, count = ndimage.label(rises & ~steps)
    height_px, width_px = rises.shape
    middle = np.array([height_px, width_px]) / 2
    best_score, best = 0.0, 0
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    for label in range(1, count + 1):
        if sizes[label] < _MIN_PIECE * rises.size or _border_share(labels == label) > _MAX_BORDER_SHARE:
            continue
        reach_px = float(np.sqrt(sizes[label]))
        away_px = float(np.linalg.norm(np.argwhere(labels == label).mean(0) - middle))
        score = reach_px / (away_px + 0.2 * max(height_px, width_px))
        if score > best_score:
            best_score, best = score, label
    return _whole_object(rises, depth_z, labels, best) if best else None


def _whole_object(rises: Mask, depth_z: Array, labels: npt.NDArray[np.signedinteger], chosen: int) -> Mask:
    """The chosen piece with all that touches it at about its depth."""
    piece = labels == chosen
    for _ in range(8):
        nearest, farthest = depth_z[piece].min(), depth_z[piece].max()
        across = float(np.ptp(np.argwhere(piece), axis=0).max()) / max(piece.shape)
        margin = _HIDDEN_DEPTH * across * nearest
        alike = rises & (depth_z > nearest - margin) & (depth_z < farthest + margin)
        grown = ndimage.binary_dilation(piece, iterations=_REACH_PX) & alike
        touched = np.unique(labels[grown])
        larger = piece | grown | (np.isin(labels, touched[touched > 0]) & alike)
        if (larger == piece).all():
            break
        piece = larger
    whole: Mask = piece
    return whole


def _border_share(mask: Mask) -> float:
    """Of the outline's pixels, those on the picture's border."""
    outline: Mask = mask & ~ndimage.binary_erosion(mask)
    border = np.ones_like(mask)
    border[1:-1, 1:-1] = False
    return float((outline & border).sum() / max(1, outline.sum()))
