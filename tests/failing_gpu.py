"""Preloaded by a worker, makes its GPU probe fail for as long as a file exists.

Stands in for a driver that is gone: no machine without a GPU can lose one.
"""

import os
from pathlib import Path

from recon import gpu_probe

_try_gpus = gpu_probe._try_gpus


def _fail() -> tuple[gpu_probe.Gpu, ...]:
    if Path(os.environ["FAILING_GPU"]).exists():
        raise RuntimeError("CUDA error: unknown error")
    return _try_gpus()


gpu_probe._try_gpus = _fail
