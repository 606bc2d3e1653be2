"""Perspective-correct weights of a face's corners at pixel centres."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from recon.arrays import Float, Int, Tensor
from recon.scene import CameraBatch
from recon.sums import rows_at

LEAST_AREA_M2 = 1e-18
"""Faces that cover less on their pixel's ray have no weights: the square still is a single-precision number."""

_HITS_PER_PASS = {"cpu": 1 << 17, "cuda": 1 << 22}
"""Bounds the memory of what is computed per hit and thrown away (about 200 bytes)."""


@dataclass(frozen=True)
class Hits:
    """The pixels that see a face, in reading order.

    Attributes:
        pixel: Flat index into the pictures of all views.
        face: What is seen there.
    """

    pixel: Int[Tensor, " n"]
    face: Int[Tensor, " n"]

    def passes(self) -> Iterator["Hits"]:
        """The same hits in lists of bounded length; at least one list."""
        length = _HITS_PER_PASS.get(self.pixel.device.type, 1 << 17)
        return map(Hits, self.pixel.split(length), self.face.split(length))


def find_hits(face_index: Int[Tensor, "k h w"]) -> Hits:
    """List the pixels that see a face."""
    seen = face_index.flatten()
    pixel = torch.nonzero(seen >= 0).squeeze(1)
    return Hits(pixel, seen.index_select(0, pixel))


@dataclass(frozen=True)
class CornerOffsets:
    """Where the corners of the seen faces lie relative to the pixels' rays.

    A corner p is sheared along the image plane to q = p.xy - slope * p.z, which is zero on the ray.  Small
    differences are formed before anything is multiplied, so single precision is enough for faces of a pixel's size.

    Attributes:
        offset_m: q of every corner.
        depth_z_m: p.z of every corner.
        focal_px: Of the pixel's camera, (x, y).
    """

    offset_m: Float[Tensor, "n 3 2"]
    depth_z_m: Float[Tensor, "n 3"]
    focal_px: Float[Tensor, "n 2"]


def corner_offsets(
    hits: Hits, positions_camera: Float[Tensor, "k v 3"], faces: Int[Tensor, "f 3"], cameras: CameraBatch
) -> CornerOffsets:
    """Shear the corners of every seen face onto its pixel's ray; differentiable in positions and cameras."""
    view = hits.pixel // (cameras.height_px * cameras.width_px)
    line = hits.pixel // cameras.width_px
    place_px = torch.stack([hits.pixel - line * cameras.width_px, line - view * cameras.height_px], 1)
    focal_px = cameras.focal_px.index_select(0, view)
    slope = (place_px.to(focal_px.dtype) + 0.5 - cameras.principal_px.index_select(0, view)) / focal_px
    corner = faces.index_select(0, hits.face) + (view * positions_camera.shape[1])[:, None]
    corners_camera = rows_at(positions_camera.flatten(0, 1), corner.flatten()).view(-1, 3, 3)
    depth_z_m = corners_camera[..., 2]
    return CornerOffsets(corners_camera[..., :2] - slope[:, None] * depth_z_m[..., None], depth_z_m, focal_px)


def weights_from_offsets(corners: CornerOffsets) -> Float[Tensor, "n 3"]:
    """Shares of the area that the ray's foot spans with pairs of corners; they sum to one."""
    areas = _corner_areas(corners.offset_m)
    return areas / _total(areas)


def weights_per_px(corners: CornerOffsets) -> Float[Tensor, "n 3 2"]:
    """Change of ``weights_from_offsets`` per pixel right and per pixel down."""
    areas = _corner_areas(corners.offset_m)
    total = _total(areas)
    ahead, behind = corners.offset_m.roll(-1, 1), corners.offset_m.roll(-2, 1)
    changes = []
    for axis in range(2):
        step = torch.zeros_like(corners.offset_m)
        step[..., axis] = -corners.depth_z_m / corners.focal_px[:, axis : axis + 1]
        areas_change = _cross(step.roll(-1, 1), behind) + _cross(ahead, step.roll(-2, 1))
        changes.append((areas_change - areas / total * areas_change.sum(1, keepdim=True)) / total)
    return torch.stack(changes, 2)


def _corner_areas(offsets: Float[Tensor, "n 3 2"]) -> Float[Tensor, "n 3"]:
    a, b, c = offsets.unbind(1)
    return torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], 1)


def _total(areas: Float[Tensor, "n 3"]) -> Float[Tensor, "n 1"]:
    total = areas.sum(1, keepdim=True)
    return torch.where(total.abs() < LEAST_AREA_M2, torch.ones_like(total), total)


def _cross(a: Float[Tensor, "... 2"], b: Float[Tensor, "... 2"]) -> Float[Tensor, "..."]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
