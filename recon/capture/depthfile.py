"""Depth images to raw numbers: PNG, EXR, NPY and TIFF, with their limits checked on the header."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import OpenEXR
import tifffile

from recon.capture.imagefile import check_pixel_count, open_image
from recon.capture.listing import suffix
from recon.errors import CorruptInput, InvalidDepth, NotAnImage, ReconError

_EXR_CHANNELS = ("z", "depth", "d", "v", "y", "r", "x")
"""Names under which programs write depth (the last part of the channel's name), most telling first."""


@dataclass(frozen=True)
class RawDepth:
    """Numbers as the file holds them.

    Attributes:
        name: The file, relative to the job folder.
        values: (h, w), float32.
        integer_bits: 8, 16 or 32; 0 for floating point.
    """

    name: str
    values: npt.NDArray[np.float32]
    integer_bits: int

    @property
    def largest_code(self) -> int:
        """The largest number that the integer format can express."""
        return (1 << self.integer_bits) - 1


def read_depth(path: Path, name: str, max_pixels: int) -> RawDepth:
    """Decode a depth image without interpreting it.

    Raises:
        NotAnImage, CorruptInput, TooManyPixels, InvalidDepth: Naming the file.
    """
    readers = {".png": _read_png, ".exr": _read_exr, ".npy": _read_npy, ".tif": _read_tiff, ".tiff": _read_tiff}
    values = readers[suffix(name)](path, name, max_pixels)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2 or 0 in values.shape:
        raise InvalidDepth(f"{name} holds an array of shape {values.shape}, not one depth image.", file=name)
    if values.dtype.kind not in "uif":
        raise InvalidDepth(f"{name} holds numbers of type {values.dtype}, not depths.", file=name)
    integer_bits = 0 if values.dtype.kind == "f" else min(8 * values.dtype.itemsize, 32)
    return RawDepth(name, np.ascontiguousarray(values, np.float32), integer_bits)


def _read_png(path: Path, name: str, max_pixels: int) -> npt.NDArray[np.generic]:
    with open_image(path, name, max_pixels) as image:
        pixels = np.asarray(image.convert("RGB") if image.mode in {"1", "P"} else image)
    if pixels.ndim == 3:
        colours = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
        if (colours != colours[..., :1]).any():
            raise InvalidDepth(
                f"{name} is a coloured picture of depth, from which numbers cannot be read back.",
                file=name,
                suggestion="Export depth as 16-bit grey PNG in millimetres, or as EXR in metres.",
            )
        return colours[..., 0]
    # Pillow widens some 16-bit greys to signed 32 bits.
    return pixels.astype(np.uint16) if pixels.dtype == np.int32 and pixels.max(initial=0) < 1 << 16 else pixels


def _read_npy(path: Path, name: str, max_pixels: int) -> npt.NDArray[np.generic]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise NotAnImage(f"{name} is not a whole NPY file: {error}.", file=name) from error
    if values.ndim < 2:
        raise InvalidDepth(f"{name} holds an array of shape {values.shape}, not one depth image.", file=name)
    check_pixel_count(values.shape[1], values.shape[0], name, max_pixels)
    return np.asarray(values)


def _read_tiff(path: Path, name: str, max_pixels: int) -> npt.NDArray[np.generic]:
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            check_pixel_count(page.shape[1], page.shape[0], name, max_pixels)
            return np.asarray(page.asarray())
    except ReconError:
        raise
    except tifffile.TiffFileError as error:
        raise NotAnImage(f"{name} is not a TIFF: {error}.", file=name) from error
    except Exception as error:
        raise CorruptInput(f"{name} is damaged: {error}.", file=name) from error


def _read_exr(path: Path, name: str, max_pixels: int) -> npt.NDArray[np.generic]:
    try:
        with OpenEXR.File(str(path), separate_channels=True, header_only=True) as header_file:
            low, high = header_file.header()["dataWindow"]
        check_pixel_count(int(high[0] - low[0]) + 1, int(high[1] - low[1]) + 1, name, max_pixels)
        with OpenEXR.File(str(path), separate_channels=True) as exr:
            channels = {key: np.asarray(channel.pixels) for key, channel in exr.channels().items()}
    except ReconError:
        raise
    except Exception as error:
        raise NotAnImage(f"{name} is not a whole EXR file: {error}.", file=name) from error
    by_ending = {key.rsplit(".", 1)[-1].casefold(): values for key, values in channels.items()}
    for ending in _EXR_CHANNELS:
        if ending in by_ending:
            return by_ending[ending].astype(np.float32)
    raise InvalidDepth(f"{name} has the channels {', '.join(channels)}, none of which is depth.", file=name)
