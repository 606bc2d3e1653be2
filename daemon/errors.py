"""What can go wrong, for users (codes), for operators (exceptions) and for scripts (exit codes).

    DaemonError
    +-- ConfigError             the configuration cannot be used
    +-- ShareOffline            the share is not there; jobs keep their state
    +-- ShareInUse              another daemon serves this root or state
    +-- StoreError              the job table cannot be used
    |   +-- StoreFull           its disk is full: wait
    |   +-- IllegalTransition   a step that the table of daemon.jobs does not know; a bug
    +-- ChangedUnderneath       the folder changed while it was copied; wait again

A job's own failure is a value, ``Failure``, because it is stored, published and shown rather than raised.
"""

import errno
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from recon.errors import ReconError


class ErrorCode(StrEnum):
    """The public codes of error.json, documented in docs/errors.md."""

    INPUT_INCOMPLETE = "INPUT_INCOMPLETE"
    INPUT_VIEW_COUNT = "INPUT_VIEW_COUNT"
    INPUT_NOT_AN_IMAGE = "INPUT_NOT_AN_IMAGE"
    INPUT_CORRUPT = "INPUT_CORRUPT"
    INPUT_TOO_LARGE = "INPUT_TOO_LARGE"
    INPUT_TOO_MANY_PIXELS = "INPUT_TOO_MANY_PIXELS"
    INPUT_SIZE_MISMATCH = "INPUT_SIZE_MISMATCH"
    INPUT_FORBIDDEN_FILE = "INPUT_FORBIDDEN_FILE"
    INPUT_DEPTH_INVALID = "INPUT_DEPTH_INVALID"
    OPTIONS_INVALID = "OPTIONS_INVALID"
    CAMERAS_INVALID = "CAMERAS_INVALID"
    CAMERAS_UNSOLVED = "CAMERAS_UNSOLVED"
    OBJECT_NOT_FOUND = "OBJECT_NOT_FOUND"
    ARCHIVE_INVALID = "ARCHIVE_INVALID"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    MODEL_WEIGHTS_INVALID = "MODEL_WEIGHTS_INVALID"
    MODEL_OUT_OF_GPU_MEMORY = "MODEL_OUT_OF_GPU_MEMORY"
    MODEL_OUT_OF_MEMORY = "MODEL_OUT_OF_MEMORY"
    MODEL_DIVERGED = "MODEL_DIVERGED"
    MODEL_TIMEOUT = "MODEL_TIMEOUT"
    MODEL_CRASHED = "MODEL_CRASHED"
    QUALITY_TOO_LOW = "QUALITY_TOO_LOW"
    GPU_UNAVAILABLE = "GPU_UNAVAILABLE"
    GPU_TOO_SMALL = "GPU_TOO_SMALL"
    DISK_FULL = "DISK_FULL"
    OUTPUT_NOT_WRITABLE = "OUTPUT_NOT_WRITABLE"
    JOB_CANCELLED = "JOB_CANCELLED"
    JOB_WITHDRAWN = "JOB_WITHDRAWN"
    JOB_INTERRUPTED = "JOB_INTERRUPTED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


TRANSIENT = frozenset({ErrorCode.GPU_UNAVAILABLE, ErrorCode.DISK_FULL, ErrorCode.OUTPUT_NOT_WRITABLE})
"""Causes that pass without the user's help: the job waits and says so; it costs no attempt."""

ATTEMPT = frozenset(
    {
        ErrorCode.MODEL_CRASHED,
        ErrorCode.MODEL_TIMEOUT,
        ErrorCode.MODEL_OUT_OF_MEMORY,
        ErrorCode.MODEL_OUT_OF_GPU_MEMORY,
        ErrorCode.JOB_INTERRUPTED,
    }
)
"""Causes that may not repeat in a fresh worker: each costs one attempt of ``worker.max_attempts``."""

SUGGESTIONS = {
    ErrorCode.INPUT_INCOMPLETE: "Add the missing files, then put a file named RETRY into the folder.",
    ErrorCode.MODEL_TIMEOUT: "Give fewer or smaller pictures, or ask the operator to raise worker.job_timeout_s.",
    ErrorCode.MODEL_CRASHED: "Put a file named RETRY into the folder; if that fails, show log.jsonl to the operator.",
    ErrorCode.MODEL_OUT_OF_MEMORY: "Give fewer or smaller pictures, or ask the operator to raise worker.memory_bytes.",
    ErrorCode.QUALITY_TOO_LOW: 'Look at results/: if it is good enough, set on_low_quality = "keep" in job.toml.',
    ErrorCode.JOB_CANCELLED: "Nothing is wrong: drag the folder back into inbox to run it again.",
    ErrorCode.JOB_WITHDRAWN: "Nothing is wrong: drop the folder again to run it.",
    ErrorCode.JOB_INTERRUPTED: "Put a file named RETRY into the folder to run it again.",
    ErrorCode.INTERNAL_ERROR: "Show error.json to the operator; the pictures were kept.",
}
"""What to do next for the codes that the daemon itself gives; those of recon carry their own."""


@dataclass(frozen=True)
class Failure:
    """Why a job did not end in done/.

    Attributes:
        code: What happened, for programs.
        message: What happened, for people: one sentence.
        suggestion: What to do next: one sentence.
        file: The file at fault, relative to the job's folder.
        stage: Where in the reconstruction it happened.
        details: Numbers and names, JSON-serialisable.
    """

    code: ErrorCode
    message: str
    suggestion: str = ""
    file: str = ""
    stage: str = ""
    details: dict[str, object] = field(default_factory=dict)

    @property
    def is_transient(self) -> bool:
        """Whether waiting may mend it."""
        return self.code in TRANSIENT

    def to_json(self) -> dict[str, object]:
        """The public part of error.json."""
        return {
            "code": self.code.value,
            "message": self.message,
            "details": self.details,
            "suggestion": self.suggestion or SUGGESTIONS.get(self.code, ""),
            "file": self.file,
            "stage": self.stage,
            "transient": self.is_transient,
        }


def failure_from_error(error: ReconError) -> Failure:
    """The value of an exception of the reconstruction."""
    return Failure(ErrorCode(error.code), error.message, error.suggestion, error.file, error.stage, error.details)


def failure_from_json(data: dict[str, object]) -> Failure:
    """Read back ``Failure.to_json``; a code of a newer version becomes INTERNAL_ERROR."""
    name = str(data.get("code", ""))
    code = ErrorCode(name) if name in ErrorCode.__members__ else ErrorCode.INTERNAL_ERROR
    details = data.get("details")
    return Failure(
        code,
        str(data.get("message", "")),
        str(data.get("suggestion", "")),
        str(data.get("file", "")),
        str(data.get("stage", "")),
        dict(details) if isinstance(details, dict) else {},
    )


class ExitCode(IntEnum):
    """What the command line returns."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    CONFIG = 3
    UNUSABLE = 4
    """The share, the state folder or the job table cannot be used."""
    IN_USE = 5
    JOB_FAILED = 6
    NOT_READY = 7
    """``check``: the folder is incomplete or would be refused."""
    UNHEALTHY = 8
    NOT_FOUND = 9


class DaemonError(Exception):
    """The daemon cannot go on as asked."""

    exit_code: ExitCode = ExitCode.INTERNAL


class ConfigError(DaemonError):
    """The configuration cannot be used."""

    exit_code = ExitCode.CONFIG


class ShareOffline(DaemonError):
    """The share is not there; jobs keep their state until it is back."""

    exit_code = ExitCode.UNUSABLE


class ShareInUse(DaemonError):
    """Another daemon already serves this root or this state folder."""

    exit_code = ExitCode.IN_USE


class StoreError(DaemonError):
    """The job table cannot be used; run ``meshdrop doctor``."""

    exit_code = ExitCode.UNUSABLE


class StoreFull(StoreError):
    """The job table cannot be written for now: its disk is full or fails; nothing is lost by waiting."""


class IllegalTransition(StoreError):
    """A job was asked to make a step that daemon.jobs does not allow."""


class ChangedUnderneath(DaemonError):
    """The folder changed while it was copied; it waits again."""


PASSING_ERRNOS = frozenset(
    {
        errno.EBUSY,
        errno.ESTALE,
        errno.EIO,
        errno.EAGAIN,
        errno.ETXTBSY,
        errno.ETIMEDOUT,
        errno.ENOTCONN,
        errno.EHOSTDOWN,
    }
)
"""A client holds the file, or the share hiccups: try again, for ever and visibly."""

FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def failure_from_os_error(error: OSError, what: str) -> Failure:
    """Why a file operation has to wait, in a photographer's words."""
    details: dict[str, object] = {"errno": errno.errorcode.get(error.errno or 0, "?"), "what": what}
    if error.errno in FULL_ERRNOS:
        message = f"The disk is full ({what})."
        return Failure(ErrorCode.DISK_FULL, message, "Free some space; the job goes on by itself.", details=details)
    reason = "is busy or not answering" if error.errno in PASSING_ERRNOS else "cannot be written"
    message = f"The folder {reason} ({what}: {error.strerror})."
    suggestion = "Close programs that have the folder open; the job goes on by itself."
    return Failure(ErrorCode.OUTPUT_NOT_WRITABLE, message, suggestion, details=details)
