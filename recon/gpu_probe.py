"""What the machine offers a reconstruction: a real kernel on every GPU, its memory, and what each model asks for.

``nvidia-smi`` answers also where no program can use the GPU, so the probe computes something and checks the result.
Importing this module loads no numerical library; ``python -m recon.gpu_probe`` prints the probe as JSON.
"""

import json
import platform
import sys
import time
from importlib import metadata

from pydantic import BaseModel, ConfigDict

DEFAULT_MIN_GPU_MEMORY_BYTES = 12 * 2**30
"""For models that do not say how much GPU memory they need (attribute ``min_gpu_memory_bytes``)."""
VERSIONS_OF = ("meshdrop", "torch", "nvdiffrast")


class Gpu(BaseModel):
    """One device on which the kernel gave the right result."""

    model_config = ConfigDict(frozen=True)

    index: int
    name: str
    free_bytes: int
    total_bytes: int


class Probe(BaseModel):
    """What was found.

    Attributes:
        time_s: Unix time.
        kernel_s: How long the kernels took, all devices together.
        error: Why a GPU that is there cannot be used; empty if all is well, also where there is none.
        models: Name of each installed model to the GPU memory that it needs at least.
        versions: Of the distributions that can change a result, as far as they are installed.
    """

    model_config = ConfigDict(frozen=True)

    time_s: float
    kernel_s: float = 0.0
    gpus: tuple[Gpu, ...] = ()
    error: str = ""
    models: dict[str, int] = {}
    versions: dict[str, str] = {}

    @property
    def is_usable(self) -> bool:
        """Whether jobs can run: on the GPUs that are there, or without any."""
        return not self.error


def probe() -> Probe:
    """Compute something on every visible GPU and look up what the models need.  Loads PyTorch."""
    import torch  # noqa: F401  # loading it is not the kernel's time

    started_s = time.perf_counter()
    try:
        gpus, error = _try_gpus(), ""
    except Exception as caught:  # the driver's errors are of many types, and all mean the same here
        gpus, error = (), f"{type(caught).__name__}: {str(caught).splitlines()[0] if str(caught) else ''}"[:300]
    kernel_s = time.perf_counter() - started_s
    return Probe(
        time_s=time.time(), kernel_s=kernel_s, gpus=gpus, error=error, models=model_needs(), versions=versions()
    )


def _try_gpus() -> tuple[Gpu, ...]:
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        ones = torch.ones(1024, device=device)
        if (ones + ones).sum().item() != 2048.0:
            raise RuntimeError(f"device {index} computes wrongly")
        free_bytes, total_bytes = torch.cuda.mem_get_info(device)
        found.append(
            Gpu(
                index=index,
                name=torch.cuda.get_device_name(device),
                free_bytes=free_bytes,
                total_bytes=total_bytes,
            )
        )
    return tuple(found)


def model_needs() -> dict[str, int]:
    """GPU memory that each installed model needs at least; models that do not load are left out."""
    from recon.errors import ModelUnavailable
    from recon.models.registry import create_model, installed_models

    needs = {}
    for name in installed_models():
        try:
            needs[name] = int(getattr(create_model(name), "min_gpu_memory_bytes", DEFAULT_MIN_GPU_MEMORY_BYTES))
        except ModelUnavailable:
            continue
    return needs


def versions() -> dict[str, str]:
    """Versions of Python and of the distributions that matter."""
    found = {"python": platform.python_version()}
    for name in VERSIONS_OF:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe().model_dump()) + "\n")
