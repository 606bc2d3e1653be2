"""Preloaded by a worker, lets the processor play a graphics card of any size, with any fault, for ReconViaGen.

Stands in for cards that no one machine has.  The file that ``PLAYED_CARD`` names says, as JSON, what the card is like
at the moment: ``total_gib``, ``free_gib``, and ``has_no_memory``: whether every run of the model ends for want of it.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch

from recon.generative import gpu_memory, installation, keeper, upstream

GIB = 1 << 30
USUAL = {"total_gib": 24, "free_gib": 23, "has_no_memory": False}

_generate = keeper.generate


def _card() -> dict[str, Any]:
    return USUAL | json.loads(Path(os.environ["PLAYED_CARD"]).read_text())


def _run(*arguments: Any) -> Any:
    if _card()["has_no_memory"]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return _generate(*arguments)


if "PLAYED_CARD" in os.environ:
    for module in (installation, upstream):  # the stand-in of upstream needs no more
        module.PACKAGES = ("safetensors",)  # type: ignore[attr-defined]
    gpu_memory.require_cuda = lambda device: None
    gpu_memory.total_bytes = lambda device: int(_card()["total_gib"] * GIB)
    gpu_memory.free_bytes = lambda device: int(_card()["free_gib"] * GIB)
    keeper.generate = _run
