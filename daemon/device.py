"""A worker and what it computes on, in words."""

from daemon.names import shown
from recon.gpu_probe import Probe


def worker_in_words(probe: Probe | None, *, is_started: bool, is_busy: bool) -> str:
    """A worker and its devices in one sentence; the memory is that of the last probe."""
    if not is_started:
        return "A worker is being started."
    state = "at work" if is_busy else "idle"
    if probe is None:
        return f"A worker is {state}."
    if probe.error:
        return f"A worker is {state}; its GPU cannot be used: {shown(probe.error)}."
    if not probe.gpus:
        return f"No NVIDIA GPU: the processor is {state}."
    devices = " and ".join(
        f"{shown(gpu.name)} ({gpu.free_bytes / 2**30:.1f} of {gpu.total_bytes / 2**30:.1f} GiB free)"
        for gpu in probe.gpus
    )
    return f"A worker is {state} on {devices}."
