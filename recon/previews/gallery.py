"""Writes every picture of a result."""

import os
from collections.abc import Mapping
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
from recon.previews.studio import only_camera, side_cameras, turntable_cameras
from recon.raster import Rasterizer
from recon.scene import CameraBatch, Capture, TexturedMesh, TriangleMesh
from recon.settings import Settings

SIDE_PX = 512
SUPERSAMPLING = 2
LINE_WIDTH_PX = 1.0
"""In samples: half a pixel of the picture."""

TURNTABLE_PX = 384
TURNTABLE_FRAMES = 36
TURNTABLE_FRAME_MS = 80
TURNTABLE_BYTES = 1_500_000
TURNTABLE_QUALITIES = (90, 75, 55, 30)
"""WebP qualities, tried in turn until the file is small enough."""

PROGRESS_PX = 320


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
        written = _write_sides(subject, raster, folder, capture.up_world)
        sheet = folder / "contact_sheet.png"
        draw_contact_sheet(subject, capture, raster, psnr_db).save(sheet, compress_level=4)
        written.append(sheet)
        if settings.turntable:
            written.append(_write_turntable(subject, raster, output_dir / "turntable.webp", capture.up_world))
    return written


@torch.no_grad()
def write_progress_picture(
    mesh: TriangleMesh | TexturedMesh, path: Path, raster: Rasterizer, up_world: str, device: torch.device
) -> None:
    """See ``recon.previews.write_preview``."""
    subject = subject_on(mesh, device)
    cameras = turntable_cameras(subject.positions_world, up_world, PROGRESS_PX, 1)
    partial = path.with_name(f".{path.name}.partial")
    with writing(path.name):
        _quick_picture(subject, raster, cameras).save(partial, format="PNG", compress_level=4)
        os.replace(partial, path)


def _write_sides(subject: Subject, raster: Rasterizer, folder: Path, up_world: str) -> list[Path]:
    """Each side textured and as a wireframe, from the same fragments."""
    textured, wireframes = [], []
    for name, cameras in side_cameras(subject.positions_world, up_world, SIDE_PX * SUPERSAMPLING).items():
        fragments = raster.rasterize(subject.positions_world, subject.faces, cameras)
        light = headlight(subject, raster, fragments, cameras)
        clay = light.new_tensor(CLAY_SRGB).expand(*light.shape[:3], 3)
        dressed = over_background(lit(albedo_srgb(subject, raster, fragments), light), fragments)
        lines = over_background(with_lines(lit(clay, light), raster, fragments, LINE_WIDTH_PX), fragments)
        textured.append(folder / f"{name}.png")
        wireframes.append(folder / f"{name}_wireframe.png")
        _image(pixels(dressed[0], SUPERSAMPLING)).save(textured[-1], compress_level=4)
        _image(pixels(lines[0], SUPERSAMPLING)).save(wireframes[-1], compress_level=4)
    return textured + wireframes


def _write_turntable(subject: Subject, raster: Rasterizer, path: Path, up_world: str) -> Path:
    """An endless turn around the object, small enough for a share."""
    texture = subject.texture_srgb
    small = coarser(subject, max(1, 0 if texture is None else texture.shape[0] // (2 * TURNTABLE_PX)))
    cameras = turntable_cameras(subject.positions_world, up_world, TURNTABLE_PX, TURNTABLE_FRAMES)
    frames = [_quick_picture(small, raster, only_camera(cameras, index)) for index in range(cameras.count)]
    for quality in TURNTABLE_QUALITIES:
        frames[0].save(
            path,
            save_all=True,
            append_images=frames[1:],
            duration=TURNTABLE_FRAME_MS,
            loop=0,
            quality=quality,
            method=2,
        )
        if path.stat().st_size <= TURNTABLE_BYTES:
            break
    return path


def _quick_picture(subject: Subject, raster: Rasterizer, cameras: CameraBatch) -> Image.Image:
    """One sample per pixel, with smooth outlines."""
    fragments = raster.rasterize(subject.positions_world, subject.faces, cameras)
    colours = lit(albedo_srgb(subject, raster, fragments), headlight(subject, raster, fragments, cameras))
    picture = over_background(colours, fragments)
    picture = raster.antialias(picture, fragments, subject.positions_world, subject.faces, cameras)
    return _image(pixels(picture[0]))


def _image(picture: UInt8[Tensor, "h w 3"]) -> Image.Image:
    return Image.fromarray(picture.numpy())
