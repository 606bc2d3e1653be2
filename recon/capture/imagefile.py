"""Photographs and masks: PNG or JPEG to arrays, with every limit checked before a pixel is decoded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from recon.capture.listing import suffix
from recon.capture.pngfile import check_png, read_png_header
from recon.errors import CorruptInput, NotAnImage, ReconError, TooManyPixels

_PILLOW_FORMAT = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_EXIF_ORIENTATION = 0x0112
TURNED_ORIENTATIONS = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


@dataclass(frozen=True)
class ColourImage:
    """One photograph.

    Attributes:
        rgb_u8: sRGB, (h, w, 3).
        alpha_u8: (h, w); None when the file has no alpha or an alpha that is opaque everywhere.
        orientation: The EXIF orientation that was undone; 1 is none.
    """

    rgb_u8: npt.NDArray[np.uint8]
    alpha_u8: npt.NDArray[np.uint8] | None
    orientation: int = 1

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height)."""
        return self.rgb_u8.shape[1], self.rgb_u8.shape[0]


def read_colour(path: Path, name: str, max_pixels: int, stated_size_px: tuple[int, int] | None) -> ColourImage:
    """Decode a photograph and turn it upright.

    Args:
        path: PNG or JPEG.
        name: Relative to the job folder, for messages.
        max_pixels: Limit on width times height.
        stated_size_px: (width, height) of the camera, when one is stated: calibration tools ignore EXIF, so the
            picture is then turned only if that is what makes the sizes agree.

    Raises:
        NotAnImage, CorruptInput, TooManyPixels: Naming the file.
    """
    with open_image(path, name, max_pixels) as image:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
        is_turned = orientation in TURNED_ORIENTATIONS
        if stated_size_px is None or (is_turned and _same_aspect(stated_size_px, image.size[::-1], image.size)):
            upright = ImageOps.exif_transpose(image)
        else:
            upright, orientation = image, 1
        has_alpha = upright.mode in {"RGBA", "LA", "PA"} or "transparency" in upright.info
        if upright.mode.startswith("I;16") or upright.mode in {"I", "F"}:
            grey_u8 = (np.asarray(upright, np.float32) / 257 + 0.5).clip(0, 255).astype(np.uint8)
            return ColourImage(np.repeat(grey_u8[..., None], 3, 2), None, orientation)
        pixels_u8 = np.asarray(upright.convert("RGBA" if has_alpha else "RGB"))
    alpha_u8 = pixels_u8[..., 3] if has_alpha and int(pixels_u8[..., 3].min()) < 255 else None
    return ColourImage(np.ascontiguousarray(pixels_u8[..., :3]), alpha_u8, orientation)


def read_mask(path: Path, name: str, max_pixels: int) -> npt.NDArray[np.float32]:
    """Decode a mask file to 0..1; its alpha counts when its colours are all alike.

    Raises:
        NotAnImage, CorruptInput, TooManyPixels: Naming the file.
    """
    with open_image(path, name, max_pixels) as image:
        if "A" in image.getbands() and image.convert("L").getextrema()[0] == image.convert("L").getextrema()[1]:
            values = np.asarray(image.getchannel("A"), np.float32)
        elif image.mode.startswith("I;16"):
            values = np.asarray(image, np.float32)
        else:
            values = np.asarray(image.convert("L"), np.float32)
    # Class maps count 0 and 1, not 0 and 255.
    return values / max(float(values.max()), 1.0)


@contextmanager
def open_image(path: Path, name: str, max_pixels: int) -> Iterator[Image.Image]:
    """Open one picture of the kind that its name promises.

    Raises:
        NotAnImage, CorruptInput, TooManyPixels: Also for faults found while the caller decodes.
    """
    try:
        if suffix(name) == ".png":
            _check_png_file(path, name, max_pixels)
        with Image.open(path, formats=(_PILLOW_FORMAT[suffix(name)],)) as image:
            check_pixel_count(image.width, image.height, name, max_pixels)
            yield image
    except ReconError as error:
        error.file = error.file or name
        raise
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"{name} has more pixels than can be decoded safely.", file=name) from error
    except UnidentifiedImageError as error:
        raise NotAnImage(f"{name} is not the image that its name promises.", file=name) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise CorruptInput(f"{name} is damaged: {error}.", file=name) from error


def check_pixel_count(width_px: int, height_px: int, name: str, max_pixels: int) -> None:
    """Refuse a picture by its header.

    Raises:
        TooManyPixels: It has more than ``max_pixels``.
    """
    if width_px * height_px > max_pixels:
        raise TooManyPixels(
            f"{name} is {width_px} x {height_px}; at most {max_pixels / 1e6:g} million pixels are decoded.",
            file=name,
            details={"width_px": width_px, "height_px": height_px, "max_pixels": max_pixels},
        )


def _check_png_file(path: Path, name: str, max_pixels: int) -> None:
    with path.open("rb") as stream:
        header = read_png_header(stream)
        check_pixel_count(header.width_px, header.height_px, name, max_pixels)
        check_png(stream, path.stat().st_size)


def undo_orientation(values: npt.NDArray[np.float32], orientation: int) -> npt.NDArray[np.float32]:
    """Turn an array upright by an EXIF orientation (Exif 2.32, tag 274), for files that cannot carry one themselves."""
    turned = values.T if orientation in TURNED_ORIENTATIONS else values
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
    return np.ascontiguousarray(np.flip(turned, flips.get(orientation, ())))


def _same_aspect(size_px: tuple[int, int], wanted_px: tuple[int, int], other_px: tuple[int, int]) -> bool:
    """Whether a size has the aspect ratio of the wanted picture and not that of the other."""
    return (
        size_px[0] * wanted_px[1] == size_px[1] * wanted_px[0] and size_px[0] * other_px[1] != size_px[1] * other_px[0]
    )
