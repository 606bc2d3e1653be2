"""Maps on the pixel grids of views, read at many places of many views at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch.nn import functional

from recon.arrays import Float, Tensor


@dataclass(frozen=True)
class PixelMaps:
    """The same layers of every view, in the order of the views.

    Attributes:
        runs: Views in a row whose pictures have one size are stacked, so that one call reads all of them.
    """

    runs: tuple[Float[Tensor, "_k c _h _w"], ...]

    @classmethod
    def stacked(cls, maps: Sequence[Float[Tensor, "c _h _w"]]) -> "PixelMaps":
        """Keep the layers of views of any sizes."""
        return cls(tuple(torch.stack(list(run)) for _, run in groupby(maps, lambda layers: layers.shape)))

    def spans(self, most: int) -> Iterator[tuple[int, int]]:
        """First view and the one after the last of what can be read at once; ``most`` views at a time, or one."""
        start = 0
        for run in self.runs:
            for first in range(0, len(run), max(1, most)):
                yield start + first, start + min(first + max(1, most), len(run))
            start += len(run)

    def of(self, first: int, last: int) -> Float[Tensor, "_k c _h _w"]:
        """The views of one span, ``last`` not included."""
        start = 0
        for run in self.runs:
            if first < start + len(run):
                return run[first - start : last - start]
            start += len(run)
        raise IndexError(first)


def read(maps: Float[Tensor, "k c h w"], pixels_px: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n c"]:
    """Bilinear values at pixel coordinates, clamped at the border; every view answers for b / k rows in turn."""
    size_px = _size_px(maps)
    grid = (pixels_px / size_px * 2 - 1).unflatten(0, (maps.shape[0], -1))
    found = functional.grid_sample(maps, grid.to(maps.dtype), padding_mode="border", align_corners=False)
    return found.movedim(1, -1).flatten(0, 1)


def clamp_px(maps: Float[Tensor, "k c h w"], pixels_px: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n 2"]:
    """The nearest places that lie between pixel centres."""
    return torch.minimum(pixels_px.clamp_min(0.5), _size_px(maps).to(pixels_px.dtype) - 0.5)


def _size_px(maps: Float[Tensor, "k c h w"]) -> Float[Tensor, " 2"]:
    sizes = [torch.full((), side, dtype=maps.dtype, device=maps.device) for side in (maps.shape[3], maps.shape[2])]
    return torch.stack(sizes)
