"""Writes every picture of a result."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image

from recon.arrays import Tensor, UInt8
from recon.errors import writing
from recon.previews.contact_sheet import draw_contact_sheet
from recon.previews.drawing import (
    CLAY_SRGB,
    Subject,
    albedo_srgb,
    coarser,
    headlight,
    lit,
    over_background,
    pixels,
    subject_on,
    with_lines,
)
from recon.previews.film import save_film
from recon.previews.studio import side_cameras, some_cameras, turntable_cameras
from recon.raster import Rasterizer
from recon.scene import CameraBatch, Capture, TexturedMesh, TriangleMesh
from recon.settings import Settings

SIDE_PX = 512
SUPERSAMPLING = 2
LINE_WIDTH_PX = 1.0
"""In samples: half a pixel of the picture."""

TURNTABLE_PX = 384
TURNTABLE_FRAMES = 36
TURNTABLE_BATCH = {"cpu": 4, "cuda": 12}
"""Frames drawn at once: a GPU waits for single small ones, and more leave a CPU's cache."""

TURNTABLE_FRAME_MS = 80
TURNTABLE_BYTES = 1_500_000
TURNTABLE_QUALITIES = (90, 75, 55, 30)
"""WebP qualities, tried in turn until the file is small enough."""

PROGRESS_PX = 320

THUMBNAIL_PX = 256
THUMBNAIL_QUALITY = 85


@torch.no_grad()
def write_gallery(  # noqa: PLR0913 - see recon.previews.write_previews
    textured: TexturedMesh,
    capture: Capture,
    raster: Rasterizer,
    output_dir: Path,
    settings: Settings,
    device: torch.device,
    *,
    psnr_db: Mapping[str, float | None],
) -> list[Path]:
    """See ``recon.previews.write_previews``."""
    subject = subject_on(textured, device)
    folder = output_dir / "previews"
    with writing("previews"):
        folder.mkdir(parents=True, exist_ok=True)
        saving: list[Future[Path | None]] = []
        with ThreadPoolExecutor() as encoders:  # encoding lets go of the interpreter: it overlaps with drawing
            if settings.turntable:  # takes longest to encode
                frames = _turntable_frames(subject, raster, capture.up_world)
                saving.append(encoders.submit(_save_turntable, frames, output_dir / "turntable.webp"))
                saving.append(encoders.submit(save_film, frames, output_dir / "turntable.mp4", TURNTABLE_FRAME_MS))
            sheet = draw_contact_sheet(subject, capture, raster, psnr_db)
            saving.append(encoders.submit(_save_png, sheet, folder / "contact_sheet.png"))
            for name, picture in _draw_sides(subject, raster, capture.up_world):
                saving.append(encoders.submit(_save_png, picture, folder / name))
            cameras = turntable_cameras(subject.positions_world, capture.up_world, 2 * THUMBNAIL_PX, 1)
            thumbnail = _quick_pictures(subject, raster, cameras)[0]
            saving.append(encoders.submit(_save_thumbnail, thumbnail, output_dir / "folder.jpg"))
        return [path for path in (future.result() for future in saving) if path is not None]


@torch.no_grad()
def write_progress_picture(
    mesh: TriangleMesh | TexturedMesh, path: Path, raster: Rasterizer, up_world: str, device: torch.device
) -> None:
    """See ``recon.previews.write_preview``."""
    subject = subject_on(mesh, device)
    cameras = turntable_cameras(subject.positions_world, up_world, PROGRESS_PX, 1)
    partial = path.with_name(f".{path.name}.partial")
    with writing(path.name):
        _quick_pictures(subject, raster, cameras)[0].save(partial, format="PNG", compress_level=4)
        os.replace(partial, path)


def _draw_sides(subject: Subject, raster: Rasterizer, up_world: str) -> Iterator[tuple[str, Image.Image]]:
    """File name and picture of each side, textured and as a wireframe, from the same fragments."""
    for name, cameras in side_cameras(subject.positions_world, up_world, SIDE_PX * SUPERSAMPLING).items():
        fragments = raster.rasterize(subject.positions_world, subject.faces, cameras)
        light = headlight(subject, raster, fragments, cameras)
        clay = light.new_tensor(CLAY_SRGB).expand(*light.shape[:3], 3)
        dressed = over_background(lit(albedo_srgb(subject, raster, fragments), light), fragments)
        lines = over_background(with_lines(lit(clay, light), raster, fragments, LINE_WIDTH_PX), fragments)
        yield f"{name}.png", _image(pixels(dressed[0], SUPERSAMPLING))
        yield f"{name}_wireframe.png", _image(pixels(lines[0], SUPERSAMPLING))


def _save_png(picture: Image.Image, path: Path) -> Path:
    picture.save(path, compress_level=4)
    return path


def _save_thumbnail(picture: Image.Image, path: Path) -> Path:
    """A picture under the name that file managers take for the folder's own; also the share page shows it."""
    picture.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX).save(path, quality=THUMBNAIL_QUALITY)
    return path


def _turntable_frames(subject: Subject, raster: Rasterizer, up_world: str) -> list[Image.Image]:
    """A turn around the object."""
    texture = subject.texture_srgb
    small = coarser(subject, max(1, 0 if texture is None else texture.shape[0] // (2 * TURNTABLE_PX)))
    cameras = turntable_cameras(subject.positions_world, up_world, TURNTABLE_PX, TURNTABLE_FRAMES)
    count = TURNTABLE_BATCH.get(cameras.device.type, TURNTABLE_BATCH["cpu"])
    batches = (some_cameras(cameras, first, count) for first in range(0, cameras.count, count))
    return [frame for batch in batches for frame in _quick_pictures(small, raster, batch)]


def _save_turntable(frames: list[Image.Image], path: Path) -> Path:
    """An endless animation, small enough for a share."""
    for quality in TURNTABLE_QUALITIES:
        frames[0].save(
            path,
            save_all=True,
            append_images=frames[1:],
            duration=TURNTABLE_FRAME_MS,
            loop=0,
            quality=quality,
            method=1,
        )
        if path.stat().st_size <= TURNTABLE_BYTES:
            break
    return path


def _quick_pictures(subject: Subject, raster: Rasterizer, cameras: CameraBatch) -> list[Image.Image]:
    """One sample per pixel, with smooth outlines."""
    fragments = raster.rasterize(subject.positions_world, subject.faces, cameras)
    colours = lit(albedo_srgb(subject, raster, fragments), headlight(subject, raster, fragments, cameras))
    pictures = over_background(colours, fragments)
    pictures = raster.antialias(pictures, fragments, subject.positions_world, subject.faces, cameras)
    return [_image(pixels(picture)) for picture in pictures]


def _image(picture: UInt8[Tensor, "h w 3"]) -> Image.Image:
    return Image.fromarray(picture.numpy())
