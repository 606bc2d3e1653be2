"""What a worker tells of the device that it computes on, and what the daemon believes of it.

The daemon itself loads no GPU library: a driver that hangs is noticed as a worker without a sign of life.
"""

import sys
from dataclasses import dataclass

from daemon.names import shown

PROCESSOR = "processor"
MAX_NAME_LETTERS = 100


@dataclass(frozen=True)
class Device:
    """A device; its memory is not known before the worker's first job on a GPU."""

    name: str = ""
    free_bytes: int = 0
    total_bytes: int = 0


def device_state() -> dict[str, object]:
    """The device in use and its memory; never the first to touch a GPU, which would take memory and time."""
    # While another thread still imports torch, or the entry needs none, there is nothing to tell.
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not hasattr(cuda, "mem_get_info"):
        return {}
    try:
        if not cuda.is_initialized():
            return {"name": "GPU" if cuda.is_available() else PROCESSOR}
        free_bytes, total_bytes = cuda.mem_get_info()
        return {"name": cuda.get_device_name(), "free_bytes": free_bytes, "total_bytes": total_bytes}
    except (RuntimeError, AttributeError):
        return {}


def device_from_report(said: object) -> Device:
    """A worker runs code that reads hostile files: take nothing but what is asked for."""
    if not isinstance(said, dict):
        return Device()
    sizes = [value if isinstance(value, int) else 0 for value in (said.get("free_bytes"), said.get("total_bytes"))]
    return Device(str(said.get("name", ""))[:MAX_NAME_LETTERS], *sizes)


def worker_in_words(device: Device, *, is_started: bool, is_busy: bool) -> str:
    """A worker and its device in one sentence."""
    if not is_started:
        return "A worker is being started."
    memory = ""
    if device.total_bytes:
        memory = f", {device.free_bytes / 2**30:.1f} of {device.total_bytes / 2**30:.1f} GiB of its memory free"
    subject = {"": "A worker", PROCESSOR: "No NVIDIA GPU: the processor"}.get(device.name, shown(device.name))
    return f"{subject} is {'at work' if is_busy else 'idle'}{memory}."
