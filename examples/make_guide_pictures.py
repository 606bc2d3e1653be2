"""Draw the pictures of docs/capture-guide.md: the painted teapot, photographed well and badly.

    .venv/bin/python examples/make_guide_pictures.py

writes guide_cube.jpg (the six sides of a cube rig, unfolded), guide_orbit.jpg (an orbit at two alternating heights, and
where the cameras stand) and guide_framing.jpg (how much of the picture the object should fill) into docs/pictures.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from make_capture import Shot, photograph, place_shot

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
TILE_PX, GAP_PX, CAPTION_PX = 180, 10, 24
PAPER, TILE, INK = (255, 255, 255), (243, 244, 246), (60, 66, 78)
GOOD, BAD = (22, 128, 82), (190, 48, 40)
JPEG_QUALITY = 88
POLE_DEG = 89.9
"""Straight up or down, up to what keeps the picture's right side defined."""

CUBE_PLACES = {
    "front": (1, 1, 0, 0), "right": (2, 1, 90, 0), "back": (3, 1, 180, 0), "left": (0, 1, 270, 0),
    "top": (1, 0, 0, POLE_DEG), "bottom": (1, 2, 0, -POLE_DEG),
}  # fmt: skip
"""Column, row, azimuth and elevation in degrees."""

ORBIT = [(60 * index, 20 if index % 2 == 0 else -10) for index in range(6)]
"""Azimuth and elevation of view_00 to view_05, in degrees."""


def on_tile(shot: Shot) -> Image.Image:
    """One photograph over the colour of a tile."""
    pixels = np.stack(np.meshgrid(np.arange(shot.size_px), np.arange(shot.size_px)), -1).reshape(-1, 2)
    rgba, _ = photograph(shot, pixels)
    picture = Image.fromarray(rgba.reshape(shot.size_px, shot.size_px, 4))
    tile = Image.new("RGB", picture.size, TILE)
    tile.paste(picture, mask=picture)
    return tile


def blank(column_count: int, row_count: int) -> Image.Image:
    """A sheet for tiles with captions."""
    width = column_count * (TILE_PX + GAP_PX) + GAP_PX
    return Image.new("RGB", (width, row_count * (TILE_PX + CAPTION_PX + GAP_PX) + GAP_PX), PAPER)


def place(
    sheet: Image.Image, tile: Image.Image, cell: tuple[int, int], caption: str, ink: tuple[int, int, int] = INK
) -> None:
    """Put a tile and its caption into a cell (column, row)."""
    left = GAP_PX + cell[0] * (TILE_PX + GAP_PX)
    top = GAP_PX + cell[1] * (TILE_PX + CAPTION_PX + GAP_PX)
    sheet.paste(tile, (left, top))
    ImageDraw.Draw(sheet).text((left + 2, top + TILE_PX + 4), caption, ink, ImageFont.load_default(15))


def draw_cube() -> Image.Image:
    """The six sides, unfolded around the front."""
    sheet = blank(4, 3)
    for name, (column, row, azimuth_deg, elevation_deg) in CUBE_PLACES.items():
        place(sheet, on_tile(place_shot(TILE_PX, azimuth_deg, elevation_deg)), (column, row), name)
    return sheet


def draw_orbit() -> Image.Image:
    """Six views in file order, and the cameras seen from above."""
    sheet = blank(4, 2)
    for index, (azimuth_deg, elevation_deg) in enumerate(ORBIT):
        tile = on_tile(place_shot(TILE_PX, azimuth_deg, elevation_deg))
        place(sheet, tile, (index % 3, index // 3), f"view_{index:02}, {elevation_deg:+} degrees")
    place(sheet, draw_plan(), (3, 0), "from above")
    return sheet


def draw_plan() -> Image.Image:
    """Where the cameras of the orbit stand around the object."""
    plan = Image.new("RGB", (TILE_PX, TILE_PX), TILE)
    pen, font = ImageDraw.Draw(plan), ImageFont.load_default(14)
    middle, radius = TILE_PX / 2, 0.38 * TILE_PX
    pen.ellipse([middle - radius, middle - radius, middle + radius, middle + radius], outline=(200, 204, 210))
    pen.ellipse([middle - 14, middle - 14, middle + 14, middle + 14], fill=(196, 112, 70))
    for index, (azimuth_deg, _) in enumerate(ORBIT):
        x, y = math.cos(math.radians(azimuth_deg)), -math.sin(math.radians(azimuth_deg))
        corner = (middle + radius * x, middle + radius * y)
        pen.line([corner, (middle + 0.55 * radius * x, middle + 0.55 * radius * y)], fill=INK, width=2)
        pen.ellipse([corner[0] - 11, corner[1] - 11, corner[0] + 11, corner[1] + 11], fill=INK)
        pen.text(corner, str(index), (255, 255, 255), font, anchor="mm")
    return plan


def draw_framing() -> Image.Image:
    """The same view filling enough, too little and too much of the picture."""
    sheet = blank(3, 1)
    whole = place_shot(TILE_PX, 20, 25)
    for column, (zoom, caption, ink) in enumerate(
        ((1.0, "good: whole, and large", GOOD), (0.3, "too small: few pixels", BAD), (2.2, "cut off: no outline", BAD))
    ):
        place(sheet, on_tile(replace(whole, focal_px=zoom * whole.focal_px)), (column, 0), caption, ink)
    return sheet


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    drawn = {"guide_cube.jpg": draw_cube(), "guide_orbit.jpg": draw_orbit(), "guide_framing.jpg": draw_framing()}
    for name, sheet in drawn.items():
        sheet.save(PICTURES / name, quality=JPEG_QUALITY, optimize=True)
