"""How good a mesh is, measured against the photographs and depths it was made from."""

from typing import TYPE_CHECKING

from recon.scores import QualityReport

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from recon.raster import Rasterizer
    from recon.scene import Capture, TexturedMesh

__all__ = ["QualityReport", "measure", "write_error_map"]


def measure(
    textured: "TexturedMesh", capture: "Capture", raster: "Rasterizer", device: "torch.device"
) -> QualityReport:
    """Draw a mesh into every camera of its capture and compare.

    Args:
        textured: The result, in the capture's world frame.
        capture: Every view has a camera.
        raster: Draws the mesh.
        device: Where the raster works.

    Returns:
        Scores per view and mean, mesh checks, verdict, and warnings in plain words.
    """
    from recon.quality.measurement import measure_quality

    return measure_quality(textured, capture, raster, device)


def write_error_map(
    textured: "TexturedMesh", capture: "Capture", raster: "Rasterizer", device: "torch.device", path: "Path"
) -> None:
    """Write how far the texture is from the photographs, in the texture's own layout (docs/quality.md).

    Args:
        textured, capture, raster, device: As for ``measure``.
        path: The PNG file to write.

    Raises:
        DiskFull, OutputNotWritable: The file could not be written.
    """
    from recon.quality import error_map

    error_map.write_error_map(textured, capture, raster, device, path)
