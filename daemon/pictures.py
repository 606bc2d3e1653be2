"""Is a picture file whole?  Asked of every needed file before a job is taken; nothing is decoded."""

from typing import BinaryIO

from recon.capture.pngfile import PngInfo, check_png
from recon.errors import CorruptInput, NotAnImage, ReconError, TooManyPixels

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
NPY_START = b"\x93NUMPY"
EXR_START = b"\x76\x2f\x31\x01"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_STARTS = {
    ".jpg": (JPEG_START,),
    ".jpeg": (JPEG_START,),
    ".npy": (NPY_START,),
    ".exr": (EXR_START,),
    ".tif": TIFF_STARTS,
    ".tiff": TIFF_STARTS,
}


def check_picture(name: str, stream: BinaryIO, size_bytes: int, max_pixels: int) -> None:
    """Check one file from its start to its end.

    Args:
        name: Relative to the job's folder; its suffix says what it should be.
        stream: Seekable.
        size_bytes: The file's size now.
        max_pixels: The operator's limit.

    Raises:
        NotAnImage: It is something else.
        CorruptInput: It is cut off, still being copied, or damaged; ``details["complete_fraction"]``.
        TooManyPixels: Decoding it would be a burden.
    """
    suffix = "." + name.rpartition(".")[2].lower()
    try:
        if suffix == ".png":
            _check_pixels(check_png(stream, size_bytes), max_pixels)
        elif suffix in _STARTS:
            _check_start_and_end(suffix, stream, size_bytes)
    except ReconError as error:
        error.file = name
        raise


def _check_pixels(info: PngInfo, max_pixels: int) -> None:
    pixels = info.width_px * info.height_px
    if pixels > max_pixels:
        raise TooManyPixels(
            f"The picture has {info.width_px} x {info.height_px} pixels; at most {max_pixels:,} are accepted.",
            details={"width_px": info.width_px, "height_px": info.height_px, "limit": max_pixels},
        )


def _check_start_and_end(suffix: str, stream: BinaryIO, size_bytes: int) -> None:
    stream.seek(0)
    start = stream.read(8)
    # A copier that preallocates shows zeros before it shows the file.
    if not any(start):
        raise CorruptInput("The file has only just begun to arrive.", details={"complete_fraction": 0.0})
    if not start.startswith(_STARTS[suffix]):
        raise NotAnImage(f"The file does not start like {suffix[1:].upper()}.")
    if suffix in {".jpg", ".jpeg"}:
        stream.seek(max(0, size_bytes - 64))
        # Some cameras pad the end with zeros.
        if JPEG_END not in stream.read():
            raise CorruptInput("The picture is cut off.", details={"complete_fraction": 0.99})
