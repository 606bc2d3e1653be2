"""What a worker tells of its device, and what the daemon believes of it."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.device import Device, device_from_report, device_state, worker_in_words


def test_device_is_taken_as_it_is_said() -> None:
    """Name and memory of the GPU that the worker uses."""
    said = {"name": "H100", "free_bytes": 10, "total_bytes": 80}
    assert device_from_report(said) == Device("H100", 10, 80)


@pytest.mark.parametrize("said", [None, [], "H100", {"free_bytes": "all"}, {"total_bytes": None, "free_bytes": 1.5}])
def test_strange_words_are_nodevice_from_report(said: object) -> None:
    """A worker that was taken over can say anything; nothing but a text and whole numbers is kept."""
    assert device_from_report(said) == Device()


def test_long_names_are_cut() -> None:
    """A name of a megabyte does not get onto the page."""
    assert len(device_from_report({"name": "x" * 10**6}).name) == 100


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
    assert device_state() == {"name": "H100", "free_bytes": 10, "total_bytes": 80}


@pytest.mark.parametrize(("has_gpu", "name"), [(True, "GPU"), (False, "processor")])
def test_gpu_is_not_touched_before_a_job_does(monkeypatch: pytest.MonkeyPatch, has_gpu: bool, name: str) -> None:
    """The sign of life never creates a CUDA context, which would take memory from others."""
    torch = torch_with(
        is_initialized=lambda: False, is_available=lambda: has_gpu, mem_get_info=never, get_device_name=never
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert device_state() == {"name": name}


def test_half_loaded_torch_and_failing_drivers_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """While another thread imports torch, or when the driver fails, the worker still gives its sign of life."""
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    assert device_state() == {}

    def fail() -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setitem(sys.modules, "torch", torch_with(mem_get_info=fail))
    assert device_state() == {}
    monkeypatch.delitem(sys.modules, "torch")
    assert device_state() == {}


@pytest.mark.parametrize(
    ("device", "is_started", "is_busy", "sentence"),
    [
        (Device(), False, False, "A worker is being started."),
        (Device(), True, True, "A worker is at work."),
        (Device("processor"), True, False, "No NVIDIA GPU: the processor is idle."),
        (Device("H100", 2**30, 80 * 2**30), True, True, "H100 is at work, 1.0 of 80.0 GiB of its memory free."),
        (Device("evil\x1b[2J"), True, False, "evil\\x1b[2J is idle."),
    ],
)
def test_workers_are_told_in_words(device: Device, is_started: bool, is_busy: bool, sentence: str) -> None:
    """One sentence per worker, with the GPU's memory where it is known."""
    assert worker_in_words(device, is_started=is_started, is_busy=is_busy) == sentence
