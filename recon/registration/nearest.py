"""Nearest points of a surface: on a lattice, all at once and a voxel off; in a tree, exactly."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from recon.arrays import Float, Int, Tensor

LATTICE_SIZE = 40
"""Voxels along each side; half of the box's margin is empty on either side."""
MARGIN = 0.35
"""Of the box beyond the points, in sides of the box: how far away a point may lie and still be found exactly."""


@dataclass(frozen=True)
class Lattice:
    """For every voxel of a box around a point set, one of the points nearest to it.

    Attributes:
        low: Corner of the box.
        spacing: Of the voxels.
        nearest: Index of a point.
    """

    low: Float[Tensor, " 3"]
    spacing: float
    nearest: Int[Tensor, "x y z"]

    def find(self, points: Float[Tensor, "*b 3"]) -> Int[Tensor, "*b"]:
        """Index of a nearest point, wrong by about a voxel; points outside the box are brought to its border."""
        size = self.nearest.shape[0]
        cell = ((points - self.low) / self.spacing).long().clamp_(0, size - 1)
        flat = (cell[..., 0] * size + cell[..., 1]) * size + cell[..., 2]
        return self.nearest.view(-1)[flat]


def make_lattice(points: Float[Tensor, "n 3"]) -> Lattice:
    """Build the lattice (Euclidean feature transform)."""
    low, high = points.amin(0), points.amax(0)
    side = float((high - low).max()) * (1 + 2 * MARGIN)
    corner = (low + high) / 2 - side / 2
    spacing = side / LATTICE_SIZE
    cells = ((points - corner) / spacing).long().clamp(0, LATTICE_SIZE - 1)
    owner = np.full((LATTICE_SIZE,) * 3, -1, np.int64)
    owner[tuple(cells.numpy().T)] = np.arange(len(points))
    _, indices = ndimage.distance_transform_edt(owner < 0, return_indices=True)
    return Lattice(corner, spacing, torch.from_numpy(owner[tuple(indices)]))
