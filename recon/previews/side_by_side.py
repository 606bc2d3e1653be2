"""Several models' results on one picture: a row a model, a column a side, from the pictures that each has written."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from recon.errors import writing

TILE_PX = 256
CAPTION_PX = 26
INK, PAPER = (28, 32, 40), (255, 255, 255)
SIDES = ("front", "right", "back", "left", "top", "bottom")


def write_comparison(output_dir: Path, captions: Sequence[tuple[str, str]], path: Path) -> None:
    """Put ``<model>/previews/<side>.png`` of several models side by side.

    Args:
        output_dir: Holds a folder per model.
        captions: Model and the line above its row, in order.
        path: The PNG file to write.

    Raises:
        DiskFull, OutputNotWritable: The file could not be written.
    """
    height_px = TILE_PX + CAPTION_PX
    sheet = Image.new("RGB", (len(SIDES) * TILE_PX, len(captions) * height_px), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for row, (model, caption) in enumerate(captions):
        pen.text((8, row * height_px + 5), caption, INK, font)
        for column, side in enumerate(SIDES):
            picture = output_dir / model / "previews" / f"{side}.png"
            if picture.is_file():
                with Image.open(picture) as opened:
                    tile = opened.convert("RGB").resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)
                sheet.paste(tile, (column * TILE_PX, row * height_px + CAPTION_PX))
    with writing(path.name):
        sheet.save(path, compress_level=4)
