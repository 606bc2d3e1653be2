"""Textures as PNG."""

import io

import torch
from PIL import Image

from recon.arrays import Float, Tensor, UInt8
from recon.scene import TEXEL_EMPTY, TEXEL_FILLED, TEXEL_GENERATED, TEXEL_OBSERVED

COMPRESS_LEVEL = 4
"""zlib's effort: above 4 a photographic texture gets no smaller, only slower."""

COVERAGE_COLOURS: dict[int, tuple[int, int, int]] = {
    TEXEL_EMPTY: (0, 0, 0),
    TEXEL_OBSERVED: (0, 158, 115),
    TEXEL_FILLED: (230, 159, 0),
    TEXEL_GENERATED: (204, 121, 167),
}
"""Black, bluish green, orange, reddish purple: told apart with any colour vision (Okabe and Ito 2008)."""


def encode_texture(texture_srgb: Float[Tensor, "h w 3"]) -> bytes:
    """An 8-bit RGB PNG."""
    return _encode_png(Image.fromarray(to_bytes(texture_srgb).numpy()))


def encode_coverage(coverage: UInt8[Tensor, "h w"]) -> bytes:
    """A palette PNG whose indices are the TEXEL_ values and whose colours are ``COVERAGE_COLOURS``."""
    height_px, width_px = coverage.shape
    picture = Image.frombytes("P", (width_px, height_px), coverage.contiguous().numpy().tobytes())
    picture.putpalette([channel for colour in COVERAGE_COLOURS.values() for channel in colour])
    return _encode_png(picture)


def to_bytes(values: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """0..1 to 0..255, rounded."""
    return (values * 255 + 0.5).clamp(0, 255).to(torch.uint8)


def _encode_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=COMPRESS_LEVEL)
    return buffer.getvalue()
