"""Which backend draws: decided once, outside the stages."""

import torch

from recon.errors import GpuUnavailable, ModelUnavailable
from recon.raster import nvdiffrast_raster, torch_raster
from recon.raster.interface import Rasterizer


def select_rasterizer(choice: str, device: torch.device) -> Rasterizer:
    """The backend for a device: ``auto`` prefers nvdiffrast on CUDA when it is installed.

    Raises:
        ModelUnavailable: nvdiffrast was asked for by name and is not installed.
        GpuUnavailable: nvdiffrast was asked for by name on a device that is not CUDA.
    """
    wants_nvdiffrast = choice == "nvdiffrast" or (
        choice == "auto" and device.type == "cuda" and nvdiffrast_raster.is_installed()
    )
    if not wants_nvdiffrast:
        return torch_raster.TorchRasterizer()
    if device.type != "cuda":
        raise GpuUnavailable("raster = nvdiffrast needs an NVIDIA GPU.", suggestion='Use raster = "auto" or "torch".')
    if not nvdiffrast_raster.is_installed():
        raise ModelUnavailable(
            "raster = nvdiffrast was asked for, but nvdiffrast is not installed.",
            suggestion='Use raster = "auto", or ask the operator to install nvdiffrast (docs/licences.md first).',
        )
    return nvdiffrast_raster.NvdiffrastRasterizer(device)
