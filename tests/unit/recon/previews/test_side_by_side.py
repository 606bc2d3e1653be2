"""Several models on one picture."""

from pathlib import Path

from PIL import Image

from recon.previews import write_comparison
from recon.previews.side_by_side import CAPTION_PX, SIDES, TILE_PX


def test_a_row_a_model_a_column_a_side(tmp_path: Path) -> None:
    """Each model's own pictures stand in its row in the fixed order of sides; a missing one stays white."""
    colours = {"one": (200, 0, 0), "two": (0, 0, 200)}
    for model, colour in colours.items():
        folder = tmp_path / model / "previews"
        folder.mkdir(parents=True)
        for side in SIDES:
            Image.new("RGB", (40, 40), colour).save(folder / f"{side}.png")
    (tmp_path / "two" / "previews" / "top.png").unlink()
    write_comparison(tmp_path, [("one", "first"), ("two", "second")], tmp_path / "comparison.png")
    picture = Image.open(tmp_path / "comparison.png")
    assert picture.size == (len(SIDES) * TILE_PX, 2 * (TILE_PX + CAPTION_PX))
    for row, colour in enumerate(colours.values()):
        for column, side in enumerate(SIDES):
            middle = (column * TILE_PX + TILE_PX // 2, row * (TILE_PX + CAPTION_PX) + CAPTION_PX + TILE_PX // 2)
            expected = (255, 255, 255) if (row, side) == (1, "top") else colour
            assert picture.getpixel(middle) == expected
