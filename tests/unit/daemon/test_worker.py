"""What a worker tells of its device with its sign of life."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.worker import _device_state


def torch_with(**functions: Any) -> SimpleNamespace:
    known = {
        "is_initialized": lambda: True,
        "is_available": lambda: True,
        "mem_get_info": lambda: (10, 80),
        "get_device_name": lambda: "H100",
    }
    return SimpleNamespace(cuda=SimpleNamespace(**{**known, **functions}))


def never() -> None:
    raise AssertionError("the GPU was touched")


def test_gpu_in_use_is_told_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, free and total bytes."""
    monkeypatch.setitem(sys.modules, "torch", torch_with())
    assert _device_state() == {"name": "H100", "free_bytes": 10, "total_bytes": 80}


@pytest.mark.parametrize(("has_gpu", "name"), [(True, "GPU"), (False, "processor")])
def test_gpu_is_not_touched_before_a_job_does(monkeypatch: pytest.MonkeyPatch, has_gpu: bool, name: str) -> None:
    """The sign of life never creates a CUDA context, which would take memory from others."""
    torch = torch_with(
        is_initialized=lambda: False, is_available=lambda: has_gpu, mem_get_info=never, get_device_name=never
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert _device_state() == {"name": name}


def test_half_loaded_torch_and_failing_drivers_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """While another thread imports torch, or when the driver fails, the worker still gives its sign of life."""
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    assert _device_state() == {}

    def fail() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setitem(sys.modules, "torch", torch_with(mem_get_info=fail))
    assert _device_state() == {}
    monkeypatch.delitem(sys.modules, "torch")
    assert _device_state() == {}
