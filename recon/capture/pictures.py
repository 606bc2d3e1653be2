"""Decode every file of every view, upright, and check that their sizes go together."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recon.capture.depthfile import RawDepth, read_depth
from recon.capture.imagefile import ColourImage, read_colour, read_mask, undo_orientation
from recon.capture.listing import ViewFiles
from recon.capture.posing import have_same_aspect
from recon.errors import SizeMismatch

_DECODER_THREADS = 8


@dataclass(frozen=True)
class ViewPictures:
    """The decoded files of one view; ``mask`` is 0..1."""

    files: ViewFiles
    colour: ColourImage
    depth: RawDepth | None
    mask: npt.NDArray[np.float32] | None


def read_pictures(
    folder: Path,
    views: Sequence[ViewFiles],
    stated_sizes_px: Sequence[tuple[int, int] | None],
    max_pixels: int,
) -> list[ViewPictures]:
    """Decode all views.

    Args:
        folder: The job folder.
        views: Which files to read.
        stated_sizes_px: (width, height) per view where a camera states them.
        max_pixels: Limit on width times height of each picture, checked before it is decoded.

    Raises:
        CaptureError: Of the kind that fits, naming the file.
    """

    def read_view(files: ViewFiles, stated_size_px: tuple[int, int] | None) -> ViewPictures:
        colour = read_colour(folder / files.colour, files.colour, max_pixels, stated_size_px)
        depth = read_depth(folder / files.depth, files.depth, max_pixels) if files.depth else None
        mask = read_mask(folder / files.mask, files.mask, max_pixels) if files.mask else None
        if depth is not None:
            depth = replace(depth, values=_turned_like(colour, depth.values))
        return ViewPictures(files, colour, depth, None if mask is None else _turned_like(colour, mask))

    with ThreadPoolExecutor(_DECODER_THREADS) as pool:
        # Decoders release the interpreter lock; the first error in file order is the one raised.
        pictures = list(pool.map(read_view, views, stated_sizes_px))
    _check_sizes(pictures)
    return pictures


def _turned_like(colour: ColourImage, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Turn a depth or mask image with its photograph, when only then their shapes agree."""
    size_px = (values.shape[1], values.shape[0])
    fits_turned_only = have_same_aspect(size_px[::-1], colour.size_px) and not have_same_aspect(size_px, colour.size_px)
    return undo_orientation(values, colour.orientation) if fits_turned_only and colour.orientation > 1 else values


def _check_sizes(pictures: Sequence[ViewPictures]) -> None:
    """All photographs alike; all depths alike; depth and mask of the photograph's aspect ratio.

    Raises:
        SizeMismatch: Naming the first file that differs.
    """
    first = pictures[0]
    first_depth = next((item.depth for item in pictures if item.depth is not None), None)
    for item in pictures:
        _check_equal(item.files.colour, item.colour.size_px, first.files.colour, first.colour.size_px)
        if item.depth is not None and first_depth is not None:
            _check_equal(item.depth.name, _size_px(item.depth.values), first_depth.name, _size_px(first_depth.values))
            _check_aspect(item.depth.name, _size_px(item.depth.values), item)
        if item.mask is not None:
            _check_aspect(item.files.mask or "", _size_px(item.mask), item)


def _size_px(values: npt.NDArray[np.float32]) -> tuple[int, int]:
    return values.shape[1], values.shape[0]


def _check_equal(name: str, size_px: tuple[int, int], first_name: str, first_size_px: tuple[int, int]) -> None:
    if size_px != first_size_px:
        raise SizeMismatch(f"{name} is {_text(size_px)}, but {first_name} is {_text(first_size_px)}.", file=name)


def _check_aspect(name: str, size_px: tuple[int, int], item: ViewPictures) -> None:
    if not have_same_aspect(size_px, item.colour.size_px):
        raise SizeMismatch(
            f"{name} is {_text(size_px)}, which is another aspect ratio than "
            f"{item.files.colour} with {_text(item.colour.size_px)}.",
            file=name,
        )


def _text(size_px: tuple[int, int]) -> str:
    return f"{size_px[0]} x {size_px[1]}"
