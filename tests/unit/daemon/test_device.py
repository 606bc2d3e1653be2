"""Workers in words."""

import pytest

from daemon.device import worker_in_words
from recon.gpu_probe import Gpu, Probe

GIB = 2**30


def probed(*gpus: Gpu, error: str = "") -> Probe:
    return Probe(time_s=0.0, gpus=gpus, error=error)


@pytest.mark.parametrize(
    ("probe", "is_started", "is_busy", "sentence"),
    [
        (None, False, False, "A worker is being started."),
        (None, True, True, "A worker is at work."),
        (probed(), True, False, "No NVIDIA GPU: the processor is idle."),
        (
            probed(Gpu(index=0, name="H100", free_bytes=GIB, total_bytes=80 * GIB)),
            True,
            True,
            "A worker is at work on H100 (1.0 of 80.0 GiB free).",
        ),
        (
            probed(
                Gpu(index=0, name="A", free_bytes=GIB, total_bytes=2 * GIB),
                Gpu(index=1, name="evil\x1b[2J", free_bytes=0, total_bytes=GIB),
            ),
            True,
            False,
            "A worker is idle on A (1.0 of 2.0 GiB free) and evil\\x1b[2J (0.0 of 1.0 GiB free).",
        ),
        (probed(error="driver\x07"), True, False, "A worker is idle; its GPU cannot be used: driver\\x07."),
    ],
)
def test_workers_are_told_in_words(probe: Probe | None, is_started: bool, is_busy: bool, sentence: str) -> None:
    """One sentence per worker, with its GPUs and their memory where they are known."""
    assert worker_in_words(probe, is_started=is_started, is_busy=is_busy) == sentence
