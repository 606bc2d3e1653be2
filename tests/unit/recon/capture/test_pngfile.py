"""recon.capture.pngfile: whole, damaged and half-copied PNG files."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recon.capture.pngfile import PNG_SIGNATURE, PngInfo, check_png, read_png_header
from recon.errors import CorruptInput, NotAnImage


def png_bytes(height_px: int = 40, width_px: int = 30, mode: str = "RGB") -> bytes:
    """Incompressible pixels, so that the file's length follows the picture's rows."""
    shape = (height_px, width_px) if mode == "L" else (height_px, width_px, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def check(content: bytes) -> PngInfo:
    return check_png(io.BytesIO(content), len(content))


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def test_a_whole_file_yields_its_header():
    """A sound PNG passes and its size, bit depth and colour type are read."""
    assert check(png_bytes()) == PngInfo(30, 40, 8, 2)


def test_sixteen_bit_depth_is_recognised():
    """A 16-bit grey PNG is told from an 8-bit one by its header."""
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 5), 40000, np.uint16)).save(stream, "PNG")
    assert check(stream.getvalue()) == PngInfo(5, 4, 16, 0)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.0, 0.999))
def test_every_cut_is_noticed(share):
    """A PNG cut anywhere is reported as incomplete, never as whole and never as something else."""
    whole = png_bytes()
    with pytest.raises(CorruptInput) as caught:
        check(whole[: int(share * len(whole))])
    assert 0 <= caught.value.details["complete_fraction"] < 1


def test_complete_fraction_is_the_share_of_rows():
    """A picture cut at 60 % of its bytes is reported as about 60 % there."""
    whole = png_bytes(400, 300)
    with pytest.raises(CorruptInput) as caught:
        check(whole[: len(whole) * 6 // 10])
    assert caught.value.details["complete_fraction"] == pytest.approx(0.6, abs=0.02)


def test_a_preallocated_file_is_incomplete():
    """A file whose full length is already there, but whose end is still zeros, is incomplete."""
    whole = png_bytes(400, 300)
    with pytest.raises(CorruptInput) as caught:
        check(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    assert caught.value.details["complete_fraction"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("content", [b"", b"\x89PN", bytes(5000)])
def test_a_file_that_has_only_begun_may_still_become_a_png(content):
    """Nothing, a part of the signature, or only zeros means still arriving, not a wrong file."""
    with pytest.raises(CorruptInput):
        check(content)


@pytest.mark.parametrize("content", [b"hello, this is text", b"\xff\xd8\xff\xe0" + bytes(100), b"GIF89a"])
def test_another_kind_of_file_is_not_an_image(content):
    """Text or another format under a PNG's name is told apart from a damaged PNG."""
    with pytest.raises(NotAnImage):
        check(content)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_flipped_bit_is_noticed(data):
    """Any single wrong bit after the signature is caught by structure or checksum."""
    whole = bytearray(png_bytes(12, 9))
    position = data.draw(st.integers(len(PNG_SIGNATURE), len(whole) - 1))
    whole[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CorruptInput):
        check(bytes(whole))


@pytest.mark.parametrize(
    "header",
    [(0, 5, 8, 2), (5, 0, 8, 2), (5, 5, 3, 2), (5, 5, 8, 1), (5, 5, 16, 3)],
    ids=["no width", "no height", "bit depth 3", "colour type 1", "16-bit palette"],
)
def test_an_impossible_header_is_refused(header):
    """Sizes of zero and combinations that the specification does not know are refused."""
    payload = struct.pack(">IIBBBBB", *header, 0, 0, 0)
    content = PNG_SIGNATURE + chunk(b"IHDR", payload) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(CorruptInput):
        check(content)
    with pytest.raises(CorruptInput):
        read_png_header(io.BytesIO(content))


def test_a_file_without_pixels_is_refused():
    """Header and end mark alone are not a picture."""
    payload = struct.pack(">IIBBBBB", 5, 5, 8, 2, 0, 0, 0)
    with pytest.raises(CorruptInput):
        check(PNG_SIGNATURE + chunk(b"IHDR", payload) + chunk(b"IEND", b""))


def test_the_header_is_read_from_a_cut_file():
    """Limits can be checked before the file is whole."""
    assert read_png_header(io.BytesIO(png_bytes()[:40])) == PngInfo(30, 40, 8, 2)


def test_a_decompression_bomb_costs_no_memory():
    """Judging a damaged file that inflates to gigabytes keeps only a count."""
    import tracemalloc

    payload = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    bomb = zlib.compress(bytes(50_000_000))
    content = PNG_SIGNATURE + chunk(b"IHDR", payload) + chunk(b"IDAT", bomb)
    tracemalloc.start()
    with pytest.raises(CorruptInput):
        check(content)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 8_000_000


def test_layout_and_pngfile_load_no_numerical_library():
    """The daemon may import both without paying for numpy, torch or pillow."""
    code = (
        "import sys, recon.capture.layout, recon.capture.pngfile; print({'numpy', 'torch', 'PIL'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
