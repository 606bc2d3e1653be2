"""A regular lattice of samples in the world frame."""

from dataclasses import dataclass

import torch

from recon.arrays import Float, Tensor


@dataclass(frozen=True)
class Grid:
    """Samples at ``origin_world + spacing_m * (i, j, k)``.

    Attributes:
        origin_world: Position of sample (0, 0, 0), metres.
        spacing_m: Distance between neighbours.
        shape: Samples along x, y, z.
    """

    origin_world: Float[Tensor, " 3"]
    spacing_m: float
    shape: tuple[int, int, int]

    @property
    def device(self) -> torch.device:
        return self.origin_world.device

    def positions_world(self, flat_index: Tensor | None = None) -> Float[Tensor, "n 3"]:
        """World positions of the named samples (of all of them, x slowest)."""
        _, size_y, size_z = self.shape
        if flat_index is None:
            flat_index = torch.arange(self.shape[0] * size_y * size_z, device=self.device)
        steps = torch.stack([flat_index // (size_y * size_z), flat_index // size_z % size_y, flat_index % size_z], 1)
        return self.origin_world + self.spacing_m * steps

    def refined(self, factor: int) -> "Grid":
        """The same box with ``factor`` times finer spacing; every ``factor``-th sample coincides."""
        size_x, size_y, size_z = ((size - 1) * factor + 1 for size in self.shape)
        return Grid(self.origin_world, self.spacing_m / factor, (size_x, size_y, size_z))


def enclosing_grid(low_world: Float[Tensor, " 3"], high_world: Float[Tensor, " 3"], resolution: int) -> Grid:
    """A grid with ``resolution`` intervals along the longest side of a box, padded by three samples all round."""
    extent = high_world - low_world
    spacing_m = float(extent.max()) / resolution
    size_x, size_y, size_z = ((extent / spacing_m).ceil().long() + 7).tolist()
    return Grid(low_world - 3 * spacing_m, spacing_m, (size_x, size_y, size_z))
