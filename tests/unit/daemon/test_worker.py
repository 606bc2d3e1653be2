"""What a failure in the worker means to the user, and what the worker does with the GPU's memory after it."""

import errno
import os
import sys
from types import SimpleNamespace

import pytest

from daemon import worker
from daemon.errors import ErrorCode
from daemon.worker import failure_from_exception
from recon.errors import GpuUnavailable, ObjectNotFound


class OutOfMemoryError(RuntimeError):
    """Named as PyTorch names it."""


@pytest.mark.parametrize(
    ("error", "code", "is_fatal"),
    [
        (ObjectNotFound(), ErrorCode.OBJECT_NOT_FOUND, False),
        (GpuUnavailable(), ErrorCode.GPU_UNAVAILABLE, True),
        (OutOfMemoryError("CUDA out of memory"), ErrorCode.MODEL_OUT_OF_GPU_MEMORY, True),
        (MemoryError(), ErrorCode.MODEL_OUT_OF_MEMORY, True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ErrorCode.MODEL_OUT_OF_MEMORY, True),
        (RuntimeError("CUDA error: device-side assert triggered"), ErrorCode.GPU_UNAVAILABLE, True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), ErrorCode.GPU_UNAVAILABLE, True),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), ErrorCode.DISK_FULL, False),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), ErrorCode.DISK_FULL, False),
        (KeyError("ours"), ErrorCode.INTERNAL_ERROR, False),
        (SystemExit(3), ErrorCode.INTERNAL_ERROR, False),
    ],
    ids=repr,
)
def test_every_exception_has_its_code(error: BaseException, code: ErrorCode, is_fatal: bool) -> None:
    """And a process whose memory or GPU is spoilt does not go on."""
    failure, found_fatal = failure_from_exception(error)
    assert (failure.code, found_fatal) == (code, is_fatal)
    assert failure.to_json()["suggestion"]


@pytest.mark.parametrize("is_initialised", [True, False])
def test_gpu_memory_is_given_back(monkeypatch: pytest.MonkeyPatch, is_initialised: bool) -> None:
    """PyTorch's cache is emptied if there is one; a process that never used the GPU does not begin to."""
    emptied: list[bool] = []
    cuda = SimpleNamespace(is_initialized=lambda: is_initialised, empty_cache=lambda: emptied.append(True))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    worker._give_back_gpu_memory()
    assert bool(emptied) is is_initialised


def test_a_worker_without_pytorch_has_nothing_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other entry points bring what they need; PyTorch is not loaded for this."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    worker._give_back_gpu_memory()
    assert "torch" not in sys.modules
