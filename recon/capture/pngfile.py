"""Is a PNG whole?  A walk over its chunks with their checksums, without decoding a pixel.

Size and modification time say nothing about a file that is still being copied: copiers preallocate.  The
chunk structure does (PNG specification, third edition, sections 5.3 and 5.5).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from typing import BinaryIO, TypeAlias

from recon.errors import CorruptInput, NotAnImage

ByteStream: TypeAlias = BinaryIO | BufferedIOBase
"""An open file or its bytes in memory, seekable."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BLOCK_BYTES = 1 << 20
_SAMPLES_PER_PIXEL = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_BIT_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


@dataclass(frozen=True)
class PngInfo:
    """The header of a PNG; ``colour_type`` is 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA."""

    width_px: int
    height_px: int
    bit_depth: int
    colour_type: int


def check_png(stream: ByteStream, size_bytes: int) -> PngInfo:
    """Walk a PNG from its first byte to its end mark.

    Args:
        stream: Seekable, at any position.
        size_bytes: The file's size now.

    Returns:
        The header.

    Raises:
        NotAnImage: The file starts with something else.
        CorruptInput: Cut off, still being copied, or a checksum is wrong;
            ``details["complete_fraction"]`` tells how much of the picture has arrived.
    """
    stream.seek(0)
    signature = stream.read(len(PNG_SIGNATURE))
    if signature != PNG_SIGNATURE:
        # A copier that preallocates shows zeros before it shows the file.
        if PNG_SIGNATURE.startswith(signature) or not any(signature):
            raise _cut_off(0.0, "it has only just begun to arrive")
        raise NotAnImage("The file does not start like a PNG.")
    info: PngInfo | None = None
    has_pixels = False
    while True:
        kind, payload_bytes, fault = _read_chunk(stream, size_bytes)
        if fault:
            raise _cut_off(_complete_fraction(stream, size_bytes, info), fault)
        if info is None:
            info = _read_header(stream, kind, payload_bytes)
        has_pixels = has_pixels or kind == b"IDAT"
        if kind == b"IEND":
            if not has_pixels:
                raise _cut_off(0.0, "it holds no pixels")
            return info


def read_png_header(stream: ByteStream) -> PngInfo:
    """Only the header; for limits that must hold before anything is decoded.

    Raises:
        NotAnImage: The file starts with something else.
        CorruptInput: The header is cut off or impossible.
    """
    stream.seek(0)
    if stream.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
        raise NotAnImage("The file does not start like a PNG.")
    start = stream.read(8)
    if len(start) < 8:
        raise _cut_off(0.0, "its header is cut off")
    payload_bytes, kind = struct.unpack(">I4s", start)
    stream.seek(payload_bytes + 4, 1)
    return _read_header(stream, kind, payload_bytes)


def _read_chunk(stream: ByteStream, size_bytes: int) -> tuple[bytes, int, str]:
    """Pass one chunk; the third value says what is wrong with it, if anything."""
    start = stream.read(8)
    if len(start) < 8:
        return b"", 0, "it ends before its end mark"
    payload_bytes, kind = struct.unpack(">I4s", start)
    if not kind.isalpha():
        return kind, payload_bytes, "a part of it has not been written"
    if stream.tell() + payload_bytes + 4 > size_bytes:
        return kind, payload_bytes, "it ends in the middle of a part"
    checksum = zlib.crc32(kind)
    left_bytes = payload_bytes
    while left_bytes:
        block = stream.read(min(left_bytes, _BLOCK_BYTES))
        if not block:
            return kind, payload_bytes, "it ends in the middle of a part"
        checksum = zlib.crc32(block, checksum)
        left_bytes -= len(block)
    if stream.read(4) != struct.pack(">I", checksum):
        return kind, payload_bytes, "a checksum is wrong"
    return kind, payload_bytes, ""


def _read_header(stream: ByteStream, kind: bytes, payload_bytes: int) -> PngInfo:
    """The header chunk that was just passed."""
    if kind != b"IHDR" or payload_bytes != 13:
        raise _cut_off(0.0, "it has no header")
    stream.seek(-17, 1)
    payload = stream.read(13)
    stream.seek(4, 1)
    if len(payload) < 13:
        raise _cut_off(0.0, "its header is cut off")
    width_px, height_px, bit_depth, colour_type = struct.unpack(">IIBB", payload[:10])
    if not width_px or not height_px or bit_depth not in _BIT_DEPTHS.get(colour_type, ()):
        raise _cut_off(0.0, "its header is impossible")
    return PngInfo(width_px, height_px, bit_depth, colour_type)


def _complete_fraction(stream: ByteStream, size_bytes: int, info: PngInfo | None) -> float:
    """Share of the picture's rows that the sound part of the file can be decompressed to."""
    if info is None:
        return 0.0
    row_bytes = 1 + (info.width_px * info.bit_depth * _SAMPLES_PER_PIXEL[info.colour_type] + 7) // 8
    whole_bytes = row_bytes * info.height_px
    inflater = zlib.decompressobj()
    arrived_bytes = 0
    try:
        for block in _pixel_blocks(stream, size_bytes):
            # In small steps, only the count being kept: a bomb costs no memory, and time up to the picture's size.
            while block and arrived_bytes < whole_bytes and not inflater.eof:
                arrived_bytes += len(inflater.decompress(block, _BLOCK_BYTES))
                block = inflater.unconsumed_tail  # noqa: PLW2901
    except zlib.error:
        pass
    return min(arrived_bytes / whole_bytes, 0.99)


def _pixel_blocks(stream: ByteStream, size_bytes: int) -> Iterator[bytes]:
    """The compressed pixels as far as they are there, in small blocks."""
    stream.seek(len(PNG_SIGNATURE))
    while len(start := stream.read(8)) == 8:
        payload_bytes, kind = struct.unpack(">I4s", start)
        payload_bytes = min(payload_bytes, size_bytes - stream.tell())
        if kind == b"IDAT":
            while payload_bytes > 0 and (block := stream.read(min(payload_bytes, 1 << 16))):
                payload_bytes -= len(block)
                yield block
            stream.seek(4, 1)
        else:
            stream.seek(payload_bytes + 4, 1)


def _cut_off(complete_fraction: float, reason: str) -> CorruptInput:
    return CorruptInput(
        f"The PNG is damaged or incomplete: {reason}.", details={"complete_fraction": round(complete_fraction, 3)}
    )
