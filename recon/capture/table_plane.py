"""Find an object that stands on a table, in the depths of all views together.

The plane on which the object stands is found by random sample consensus (Fischler and Bolles 1981) near the point
that the cameras look at; what rises from it there, as one connected piece, is the object.  Walls and other things
on the table are other pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from recon.arrays import Float, Tensor
from recon.capture.posing import common_target_world, median_target_distance_m
from recon.scene import Camera, DepthMap, batch_cameras

Array = npt.NDArray[np.float64]

_SAMPLE_COUNT = 40_000
_TRIAL_COUNT = 600
_NEIGHBOURHOOD_FRACTION = 0.6
"""The table is sought within this share of the camera distance around the target."""

_MIN_TABLE_SHARE = 0.2
"""A table fills at least this share of the depth in that neighbourhood."""

_PIECE_CELL_FRACTION = 0.008
"""Cell size, relative to the camera distance, in which separate things must leave a gap."""

_MAX_TILT_COSINE = 0.15
"""Cameras look down on a table: its normal leans at least this much towards every one of them."""


@dataclass(frozen=True)
class Plane:
    """Points with ``normal_world @ x == offset_m``; the normal points to the cameras' side."""

    normal_world: Array
    offset_m: float
    tolerance_m: float

    def height_m(self, positions_world: Array) -> Array:
        """Signed distance from the plane."""
        height: Array = positions_world @ self.normal_world - self.offset_m
        return height


def find_table_objects(depths: Sequence[DepthMap], cameras: Sequence[Camera]) -> list[Float[Tensor, "h w"]] | None:
    """Coverage of the object on the depth grid of every view; None when there is no table or nothing on it.

    Args:
        depths: Metric, with the scene still in them.
        cameras: Posed, one per depth.
    """
    target, distance_m = common_target_world(cameras), median_target_distance_m(cameras)
    if target is None or distance_m is None:
        return None
    target_world = target.numpy()
    positions = [_unproject(depth, camera) for depth, camera in zip(depths, cameras, strict=True)]
    valid = [depth.valid_mask.numpy() for depth in depths]
    cloud = np.concatenate([points[mask] for points, mask in zip(positions, valid, strict=True)])
    near = cloud[np.linalg.norm(cloud - target_world, axis=1) < _NEIGHBOURHOOD_FRACTION * distance_m]
    viewpoints = np.stack([camera.position_world.numpy() for camera in cameras])
    plane = _find_plane(near, viewpoints, distance_m)
    if plane is None:
        return None
    piece = _find_piece(near[plane.height_m(near) > plane.tolerance_m], target_world, _PIECE_CELL_FRACTION * distance_m)
    if piece is None:
        return None
    return [_object_coverage(points, mask, plane, piece) for points, mask in zip(positions, valid, strict=True)]


def _unproject(depth: DepthMap, camera: Camera) -> Array:
    height_px, width_px = depth.depth_z.shape
    batch = batch_cameras([camera], height_px, width_px, "cpu", torch.float64)
    positions: Array = batch.unproject(depth.depth_z.double()[None])[0].numpy()
    return positions


def _find_plane(points: Array, viewpoints: Array, distance_m: float) -> Plane | None:
    """The plane with most support that all cameras look down on, refined by least squares."""
    if len(points) < 100:
        return None
    rng = np.random.default_rng(0)
    sample = points[rng.integers(0, len(points), _SAMPLE_COUNT)]
    scorers = sample[:4000]
    coarse_m = 0.004 * distance_m
    best_count, best = 0, None
    for corners in sample[rng.integers(0, len(sample), (_TRIAL_COUNT, 3))]:
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        length = np.linalg.norm(normal)
        if length < 1e-4 * distance_m**2:
            continue
        plane = _facing(normal / length, corners[0], viewpoints)
        count = 0 if plane is None else int((np.abs(plane.height_m(scorers)) < coarse_m).sum())
        if count > best_count:
            best_count, best = count, plane
    if best is None or best_count < _MIN_TABLE_SHARE * len(scorers):
        return None
    tolerance_m = coarse_m
    for _ in range(8):
        inliers = sample[np.abs(best.height_m(sample)) < tolerance_m]
        middle = inliers.mean(0)
        normal = np.linalg.svd((inliers - middle)[:5000], full_matrices=False)[2][2]
        refined = _facing(normal, middle, viewpoints)
        if refined is None:
            return None
        spread_m = 1.4826 * float(np.median(np.abs(refined.height_m(inliers))))
        tolerance_m = min(max(4 * spread_m, 2e-4 * distance_m), 0.02 * distance_m)
        best = Plane(refined.normal_world, refined.offset_m, tolerance_m)
    return best


def _facing(normal: Array, through: Array, viewpoints: Array) -> Plane | None:
    """The plane with its normal towards the cameras; None when they are not all on one side, well above it."""
    to_cameras = (viewpoints - through) @ normal / np.linalg.norm(viewpoints - through, axis=1)
    if np.median(to_cameras) < 0:
        normal, to_cameras = -normal, -to_cameras
    return Plane(normal, float(normal @ through), 0.0) if to_cameras.min() > _MAX_TILT_COSINE else None


@dataclass(frozen=True)
class Piece:
    """The cells of space that the object occupies, with a margin of one cell."""

    origin: Array
    cell_m: float
    occupied: npt.NDArray[np.bool_]

    def contains(self, positions: Array) -> npt.NDArray[np.bool_]:
        """Which points lie in an occupied cell."""
        cells = np.floor((positions - self.origin) / self.cell_m).astype(np.int64)
        is_within = np.all((cells >= 0) & (cells < self.occupied.shape), axis=-1)
        x, y, z = np.moveaxis(np.where(is_within[..., None], cells, 0), -1, 0)
        inside: npt.NDArray[np.bool_] = is_within & self.occupied[x, y, z]
        return inside


def _find_piece(points: Array, target_world: Array, cell_m: float) -> Piece | None:
    """The connected piece above the table that is nearest to what the cameras look at, by size over distance."""
    if len(points) < 50:
        return None
    origin = points.min(0) - 2 * cell_m
    cells = np.floor((points - origin) / cell_m).astype(np.int64)
    counts = np.zeros(cells.max(0) + 3, np.int32)
    np.add.at(counts, tuple(cells.T), 1)
    labels, piece_count = ndimage.label(counts > 1, np.ones((3, 3, 3)))
    if piece_count == 0:
        return None
    indices = np.arange(1, piece_count + 1)
    sizes = ndimage.sum_labels(counts > 1, labels, indices)
    centres = (np.array(ndimage.center_of_mass(labels > 0, labels, indices)) + 0.5) * cell_m + origin
    reach_m = cell_m * np.cbrt(sizes)
    score = reach_m / (np.linalg.norm(centres - target_world, axis=1) + reach_m.max() * 0.2)
    occupied: npt.NDArray[np.bool_] = ndimage.binary_dilation(labels == int(np.argmax(score)) + 1)
    return Piece(origin, cell_m, occupied)


def _object_coverage(
    positions: Array, valid: npt.NDArray[np.bool_], plane: Plane, piece: Piece
) -> Float[Tensor, "h w"]:
    """Pixels whose point belongs to the piece and rises from the table; gaps in the depth inside it are closed."""
    is_object = valid & piece.contains(positions) & (plane.height_m(positions) > plane.tolerance_m)
    closed = ndimage.binary_closing(np.pad(is_object, 3), iterations=2)[3:-3, 3:-3]
    filled = ndimage.binary_fill_holes(is_object | (closed & ~valid))
    # Only where nothing was measured: the view through a handle shows measured table.
    is_object |= filled & ~valid
    return torch.from_numpy(is_object.astype(np.float32))
