"""Which backend is chosen, and what is said when it cannot be had."""

import pytest
import torch

from recon.errors import GpuUnavailable, ModelUnavailable
from recon.raster import nvdiffrast_raster, select_rasterizer


class WithoutGpu(nvdiffrast_raster.NvdiffrastRasterizer):
    """The CUDA backend, without the CUDA context."""

    def __init__(self, device: torch.device) -> None:
        self.device = device


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> bool:
    monkeypatch.setattr(nvdiffrast_raster, "is_installed", lambda: request.param)
    monkeypatch.setattr(nvdiffrast_raster, "NvdiffrastRasterizer", WithoutGpu)
    return bool(request.param)


@pytest.mark.parametrize("installed", [True, False], indirect=True)
@pytest.mark.parametrize(("choice", "device"), [("torch", "cpu"), ("torch", "cuda"), ("auto", "cpu")])
def test_torch_needs_nothing(installed: bool, choice: str, device: str) -> None:
    """PyTorch draws when asked for, and on every machine without a GPU."""
    assert select_rasterizer(choice, torch.device(device)).name == "torch"


@pytest.mark.parametrize("installed", [True, False], indirect=True)
def test_auto_prefers_nvdiffrast_on_a_gpu(installed: bool) -> None:
    """On a GPU nvdiffrast draws where it is installed, else PyTorch."""
    chosen = select_rasterizer("auto", torch.device("cuda"))
    assert chosen.name == ("nvdiffrast" if installed else "torch")


@pytest.mark.parametrize("installed", [False], indirect=True)
def test_asking_for_what_is_not_installed_says_so(installed: bool) -> None:
    """nvdiffrast by name without nvdiffrast is MODEL_UNAVAILABLE and points at the licence."""
    with pytest.raises(ModelUnavailable, match="not installed") as caught:
        select_rasterizer("nvdiffrast", torch.device("cuda"))
    assert "licences" in caught.value.suggestion


@pytest.mark.parametrize("installed", [True, False], indirect=True)
def test_nvdiffrast_needs_a_gpu(installed: bool) -> None:
    """nvdiffrast by name on a CPU is GPU_UNAVAILABLE, installed or not."""
    with pytest.raises(GpuUnavailable, match="NVIDIA"):
        select_rasterizer("nvdiffrast", torch.device("cpu"))
