"""Pictures of a result for people: six sides, wireframes, a contact sheet, a turntable, and the report page."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

    from recon.raster import Rasterizer
    from recon.scene import Capture, TexturedMesh, TriangleMesh
    from recon.settings import Settings

__all__ = ["write_comparison", "write_preview", "write_previews"]


def write_previews(  # noqa: PLR0913 - the six that every stage takes, and the scores to print
    textured: "TexturedMesh",
    capture: "Capture",
    raster: "Rasterizer",
    output_dir: "Path",
    settings: "Settings",
    device: "torch.device",
    *,
    psnr_db: "Mapping[str, float | None] | None" = None,
) -> "list[Path]":
    """Draw a result from all sides and beside its photographs.

    Args:
        textured: The result, in the capture's world frame.
        capture: Every view has a camera.
        raster: Draws the mesh.
        output_dir: Gets ``previews/`` (six sides textured and as wireframe, the contact sheet), ``folder.jpg``,
            ``turntable.webp`` and, where ffmpeg is installed, ``turntable.mp4``.
        settings: ``turntable = false`` leaves the turntables out.
        device: Where the raster works.
        psnr_db: Measured scores by view name, printed on the contact sheet.

    Returns:
        The files written.

    Raises:
        DiskFull, OutputNotWritable: A file could not be written.
    """
    from recon.previews.gallery import write_gallery

    return write_gallery(textured, capture, raster, output_dir, settings, device, psnr_db=psnr_db or {})


def write_preview(
    mesh: "TriangleMesh | TexturedMesh", path: "Path", raster: "Rasterizer", up_world: str, device: "torch.device"
) -> None:
    """Write a small picture of a mesh that is still being made, seen from the front and a little above.

    Args:
        mesh: As far as it is; drawn like clay while it has no texture.
        path: The PNG file to write; replaced in one step.
        raster: Draws the mesh.
        up_world: "y" or "z".
        device: Where the raster works.

    Raises:
        DiskFull, OutputNotWritable: The file could not be written.
    """
    from recon.previews.gallery import write_progress_picture

    write_progress_picture(mesh, path, raster, up_world, device)


def write_comparison(output_dir: "Path", captions: "Sequence[tuple[str, str]]", path: "Path") -> None:
    """Write one picture of several models' results: a row a model, a column a side.

    Args:
        output_dir: Holds a folder per model, with the pictures of ``write_previews``.
        captions: Model and the line above its row, in order.
        path: The PNG file to write.

    Raises:
        DiskFull, OutputNotWritable: The file could not be written.
    """
    from recon.previews import side_by_side

    side_by_side.write_comparison(output_dir, captions, path)
