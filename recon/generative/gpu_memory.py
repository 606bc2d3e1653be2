"""Does the model fit on this GPU, and in which way."""

import gc
from pathlib import Path

import torch

from recon.errors import GpuTooSmall, GpuUnavailable, ModelUnavailable

GIB = 1 << 30
FULL_BYTES = 17 * GIB
"""Everything on the GPU: 16.3 GiB measured for six views on an H200 (docs/models.md)."""
LOW_VRAM_BYTES = 10 * GIB
"""One part at a time: 9.4 GiB measured."""

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def require_cuda(device: torch.device) -> None:
    """Refuse a device on which the model cannot run.

    Raises:
        GpuUnavailable: This machine has an NVIDIA driver, but PyTorch does not reach the card now.
        ModelUnavailable: There is no NVIDIA GPU, or the job asked for the processor.
    """
    if device.type == "cuda":
        return
    if NVIDIA_DRIVER.exists() and not torch.cuda.is_available():
        raise GpuUnavailable("ReconViaGen needs the GPU, and PyTorch does not reach it.")
    raise ModelUnavailable(
        "ReconViaGen runs on an NVIDIA GPU only, and this job runs on the processor.",
        suggestion='Use model = "nvdiffrec", or a machine with an NVIDIA GPU.',
    )


def total_bytes(device: torch.device) -> int:
    """Memory of the card."""
    return int(torch.cuda.get_device_properties(device).total_memory)


def free_bytes(device: torch.device) -> int:
    """What this process could still use: free for all, and what PyTorch holds without using it."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def give_back(device: torch.device) -> None:
    """Return memory that nothing uses any more to the driver."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def choose_low_vram(choice: str, device: torch.device, held_bytes: int = 0) -> bool:
    """Whether the model must run part by part.

    Args:
        choice: The operator's word: auto, on, off.
        held_bytes: Memory that the model already holds and will use again.

    Raises:
        GpuTooSmall: The card can never hold it.
        GpuUnavailable: It could, but somebody else uses the memory now.
    """
    total, least = total_bytes(device), FULL_BYTES if choice == "off" else LOW_VRAM_BYTES
    if total < least:
        raise GpuTooSmall(
            f"ReconViaGen needs {least / GIB:.0f} GiB of GPU memory; this card has {total / GIB:.1f} GiB.",
            details={"needed_bytes": least, "total_bytes": total},
        )
    free = free_bytes(device) + held_bytes
    if choice == "on" or (choice == "auto" and free < FULL_BYTES):
        needed, is_low_vram = LOW_VRAM_BYTES, True
    else:
        needed, is_low_vram = FULL_BYTES, False
    if free < needed:
        raise GpuUnavailable(
            f"ReconViaGen needs {needed / GIB:.0f} GiB of GPU memory; {free / GIB:.1f} of {total / GIB:.1f} GiB are "
            "free, other programs use the rest.",
            details={"needed_bytes": needed, "free_bytes": free, "total_bytes": total},
        )
    return is_low_vram
