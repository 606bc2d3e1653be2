"""Make every picture of the documents from the example capture.

    .venv/bin/python examples/make_readme_pictures.py

Serves a share in a temporary folder, drops the teapot three times (the last one without one of its files), and writes
to docs/pictures: teapot.jpg (the photographs, the mesh, its wireframe), contact_sheet.jpg, report.jpg, report_phone.jpg
and status.jpg (the pages in headless Chromium).  Takes some minutes without a GPU.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageDraw

CAPTURE = Path(__file__).parent / "captures" / "teapot"
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SIDE = "front"
PAPER, INK = (243, 244, 246), (120, 126, 138)
"""The previews' own background, and the arrow."""
THUMB_PX, RENDER_PX, GAP_PX, ARROW_PX = 232, 480, 8, 72
JPEG_QUALITY = 88
CHROMIUM = (
    "chromium", "--headless", "--no-sandbox", "--hide-scrollbars", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--virtual-time-budget=4000",
)  # fmt: skip
PATIENCE_S = 900.0


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


def screenshot(page: Path, name: str, size_px: tuple[int, int], *, is_dark: bool = False) -> None:
    """A page as a browser of that size shows it, in docs/pictures."""
    shot = page.with_name("screenshot.png")
    width_px, height_px = size_px
    theme = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if is_dark else []
    flags = [*theme, f"--window-size={width_px},{height_px}", f"--screenshot={shot}"]
    subprocess.run([*CHROMIUM, *flags, f"{page.as_uri()}#stopped"], check=True, stderr=subprocess.DEVNULL, timeout=120)
    with Image.open(shot) as picture:
        picture.convert("RGB").save(PICTURES / name, quality=JPEG_QUALITY, optimize=True)
    shot.unlink()


@contextmanager
def served(root: Path) -> Iterator[None]:
    """A daemon on a new share."""
    meshdrop = [sys.executable, "-m", "daemon"]
    subprocess.run([*meshdrop, "init", str(root)], check=True)
    daemon = subprocess.Popen([*meshdrop, "serve", "--root", str(root), "--state", str(root / ".state")])
    try:
        yield
    finally:
        daemon.terminate()
        daemon.wait()


def wait_until(is_true: Callable[[], bool]) -> None:
    """Give up after some minutes."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_true():
        if time.monotonic() > deadline_s:
            raise TimeoutError("the daemon did not come so far")
        time.sleep(0.2)


def draw_all(root: Path) -> None:
    """Drop, wait and draw."""
    status = root / "status.html"
    with served(root):
        shutil.copytree(CAPTURE, root / "inbox" / "teapot")
        wait_until((root / "done" / "teapot").is_dir)
        for name in ("teapot, second try", "teapot for Anna", "teapot without a handle"):
            shutil.copytree(CAPTURE, root / "inbox" / name)
        (root / "inbox" / "teapot without a handle" / "depth_03.png").unlink()
        preview = root / "inbox" / "teapot, second try" / "preview.png"
        wait_until(lambda: preview.exists() and "so far" in status.read_text("utf-8"))
        screenshot(status, "status.jpg", (1000, 1000))
    results = root / "done" / "teapot" / "results"
    screenshot(results / "report.html", "report.jpg", (1000, 1250))
    screenshot(results / "report.html", "report_phone.jpg", (500, 1250), is_dark=True)
    draw_overview(results / "nvdiffrec").save(PICTURES / "teapot.jpg", quality=JPEG_QUALITY, optimize=True)
    with Image.open(results / "nvdiffrec" / "previews" / "contact_sheet.png") as sheet:
        sheet.convert("RGB").save(PICTURES / "contact_sheet.jpg", quality=JPEG_QUALITY, optimize=True)


if __name__ == "__main__":
    argparse.ArgumentParser(description="Make every picture of the documents from the example capture.").parse_args()
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="meshdrop-") as folder:
        draw_all(Path(folder) / "share")
