"""Codes, and what they mean for a job."""

import pytest

from daemon.errors import ATTEMPT, SUGGESTIONS, TRANSIENT, ErrorCode, Failure, failure_from_error, failure_from_json
from daemon.worker import failure_from_exception
from recon import errors as recon_errors
from recon.errors import ReconError


def every_recon_error(base: type[ReconError] = ReconError) -> list[type[ReconError]]:
    return [base, *(found for child in base.__subclasses__() for found in every_recon_error(child))]


@pytest.mark.parametrize("error", every_recon_error())
def test_every_recon_error_has_a_public_code(error: type[ReconError]) -> None:
    """Whatever the reconstruction raises has a code, a message, a suggestion, and agrees about waiting."""
    failure = failure_from_error(error())
    assert failure.code in ErrorCode
    assert failure.message
    assert failure.suggestion
    assert failure.is_transient == error.transient


def test_every_code_comes_with_a_suggestion() -> None:
    """Either the reconstruction's class or the daemon's table says what to do."""
    theirs = {error.code for error in every_recon_error()}
    assert {code.value for code in SUGGESTIONS} | theirs == {code.value for code in ErrorCode}


def test_no_code_both_waits_and_costs_an_attempt() -> None:
    """A cause either passes by itself or is tried again in a fresh worker."""
    assert not TRANSIENT & ATTEMPT


def test_failures_survive_json() -> None:
    """What is stored is read back equal; a code of a newer version becomes an internal error."""
    failure = Failure(ErrorCode.INPUT_CORRUPT, "m", "s", "f", "g", {"a": 1})
    assert failure_from_json(failure.to_json()) == failure
    assert failure_from_json({"code": "FUTURE"}).code is ErrorCode.INTERNAL_ERROR


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(
    ("error", "code", "is_fatal"),
    [
        (recon_errors.Diverged(), "MODEL_DIVERGED", False),
        (MemoryError(), "MODEL_OUT_OF_MEMORY", True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "MODEL_OUT_OF_MEMORY", True),
        (OutOfMemoryError("CUDA out of memory"), "MODEL_OUT_OF_GPU_MEMORY", True),
        (RuntimeError("CUDA error: device-side assert triggered"), "GPU_UNAVAILABLE", True),
        (OSError(28, "No space left on device"), "DISK_FULL", False),
        (SystemExit(3), "INTERNAL_ERROR", False),
        (ZeroDivisionError("x"), "INTERNAL_ERROR", False),
    ],
)
def test_exceptions_are_said_in_the_users_terms(error: BaseException, code: str, is_fatal: bool) -> None:
    """Memory, GPU and disk troubles are told apart; after memory and GPU faults the process ends."""
    failure, must_end = failure_from_exception(error)
    assert (failure.code.value, must_end) == (code, is_fatal)
