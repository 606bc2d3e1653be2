"""Draw the picture of the README from a real result of the example capture.

    ./examples/demo --root /tmp/share
    .venv/bin/python examples/make_readme_pictures.py /tmp/share/done/teapot/results/nvdiffrec

writes docs/pictures/teapot.jpg (the photographs, the mesh, its wireframe) and docs/pictures/contact_sheet.jpg.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

CAPTURE = Path(__file__).parent / "captures" / "teapot"
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SIDE = "front"
PAPER, INK = (243, 244, 246), (120, 126, 138)
"""The previews' own background, and the arrow."""
THUMB_PX, RENDER_PX, GAP_PX, ARROW_PX = 232, 480, 8, 72
JPEG_QUALITY = 88


def on_paper(path: Path, side_px: int) -> Image.Image:
    """A square picture, its transparent parts paper."""
    picture = Image.open(path).convert("RGBA").resize((side_px, side_px), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", picture.size, PAPER)
    sheet.paste(picture, mask=picture)
    return sheet


def draw_overview(results: Path) -> Image.Image:
    """The six photographs on the left, an arrow, the textured mesh and its wireframe on the right."""
    height_px = max(RENDER_PX, 2 * THUMB_PX + GAP_PX)
    thumbs_px = 3 * THUMB_PX + 2 * GAP_PX
    sheet = Image.new("RGB", (thumbs_px + ARROW_PX + 2 * RENDER_PX, height_px), PAPER)
    for index, path in enumerate(sorted(CAPTURE.glob("view_*.png"))):
        corner = (index % 3 * (THUMB_PX + GAP_PX), index // 3 * (THUMB_PX + GAP_PX))
        sheet.paste(on_paper(path, THUMB_PX), corner)
    middle_px = height_px // 2
    tail, tip = (thumbs_px + 12, middle_px), (thumbs_px + ARROW_PX - 12, middle_px)
    pen = ImageDraw.Draw(sheet)
    pen.line([tail, (tip[0] - 10, middle_px)], fill=INK, width=5)
    pen.polygon([tip, (tip[0] - 18, middle_px - 12), (tip[0] - 18, middle_px + 12)], fill=INK)
    for place, name in enumerate((f"{SIDE}.png", f"{SIDE}_wireframe.png")):
        corner = (thumbs_px + ARROW_PX + place * RENDER_PX, (height_px - RENDER_PX) // 2)
        sheet.paste(on_paper(results / "previews" / name, RENDER_PX), corner)
    return sheet


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the picture of the README from a result of the example.")
    parser.add_argument("results", type=Path, help="done/teapot/results/nvdiffrec of a share")
    folder = parser.parse_args().results
    PICTURES.mkdir(parents=True, exist_ok=True)
    draw_overview(folder).save(PICTURES / "teapot.jpg", quality=JPEG_QUALITY, optimize=True)
    contact_sheet = Image.open(folder / "previews" / "contact_sheet.png").convert("RGB")
    contact_sheet.save(PICTURES / "contact_sheet.jpg", quality=JPEG_QUALITY, optimize=True)
