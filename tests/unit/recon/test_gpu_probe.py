"""What the probe says on a machine without a GPU, and when the driver lies."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from recon import gpu_probe
from recon.errors import ModelUnavailable
from recon.gpu_probe import DEFAULT_MIN_GPU_MEMORY_BYTES, Probe, model_needs, probe


@pytest.mark.slow
def test_the_program_prints_what_the_function_finds() -> None:
    """python -m recon.gpu_probe is the same probe as JSON, for processes that load no PyTorch themselves."""
    finished = subprocess.run(
        [sys.executable, "-m", "recon.gpu_probe"], capture_output=True, text=True, check=True, timeout=120
    )
    said = Probe.model_validate(json.loads(finished.stdout))
    assert said.is_usable
    assert len(said.gpus) == torch.cuda.device_count()
    assert said.versions["torch"] == torch.__version__
    assert "nvdiffrec" in said.models


def test_a_driver_that_counts_but_cannot_compute_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is listed and fails at the first kernel makes the probe unusable, with the reason."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 99)
    found = probe()
    assert not found.is_usable
    assert found.gpus == ()
    assert found.error


def test_a_wrong_sum_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that runs and computes wrongly counts as a failure."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "ones", lambda *_, **__: torch.full((1024,), 0.5))
    assert "computes wrongly" in probe().error


def test_models_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's own number, 12 GiB for one that does not say, and no row for one that does not load."""
    models = {"small": SimpleNamespace(min_gpu_memory_bytes=5), "silent": SimpleNamespace()}

    def create(name: str) -> object:
        if name not in models:
            raise ModelUnavailable("broken")
        return models[name]

    monkeypatch.setattr("recon.models.registry.installed_models", lambda: ("broken", "silent", "small"))
    monkeypatch.setattr("recon.models.registry.create_model", create)
    assert model_needs() == {"silent": DEFAULT_MIN_GPU_MEMORY_BYTES, "small": 5}
    assert DEFAULT_MIN_GPU_MEMORY_BYTES == 12 * 2**30


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is there is told."""
    monkeypatch.setattr(gpu_probe, "VERSIONS_OF", ("meshdrop", "no-such-distribution"))
    assert set(gpu_probe.versions()) == {"python", "meshdrop"}
