"""A worker's entry point that holds GPU memory while it does what ``behave.json`` says."""

from collections.abc import Callable
from pathlib import Path

import torch

import fakes
from recon.progress import ProgressUpdate
from recon.settings import Settings

HELD_BYTES = 4 << 30


def reconstruct(
    source: Path, output_dir: Path, settings: Settings, progress: Callable[[ProgressUpdate], None]
) -> fakes.FakeReport:
    """Hold the memory until this returns or raises."""
    held = torch.ones(HELD_BYTES, dtype=torch.uint8, device="cuda")
    assert int(held[-1]) == 1, "the memory is written by now"
    return fakes.reconstruct(source, output_dir, settings, progress)
