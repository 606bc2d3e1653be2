"""Places where tests make the daemon die or a file operation fail.

Off unless ``MESHDROP_FAILPOINT`` is set.  ``NAME`` kills the process as a power cut would; ``NAME=SIGSTOP`` halts it
once, so that a test can change the world under it; ``NAME=EBUSY*3`` makes the step raise that error its first three
times.  One sits before and after every step that changes the
share, the state folder or the job table, so that a test can walk through all of them.
"""

import errno
import os
import signal

STEPS = (
    "archive-wrapped",
    "archive-named",
    "job-added",
    "job-queued",
    "own-files-removed",
    "snapshot-started",
    "snapshot-copied",
    "snapshot-renamed",
    "snapshot-recorded",
    "run-started",
    "run-finished",
    "run-recorded",
    "stage-created",
    "stage-copied",
    "stage-synced",
    "results-placed",
    "outcome-placed",
    "inbox-cleaned",
    "folder-moved",
    "publish-recorded",
    "work-removed",
    "retry-returned",
)
"""Every step of a job in running order; each has a point before and a point after it."""

FAILPOINTS = tuple(f"{when}:{step}" for step in STEPS for when in ("before", "after"))

_raised: dict[str, int] = {}


def hit(name: str) -> None:
    """Die or raise here if a test asked for it.

    Raises:
        OSError: As the environment says, the first so many times.
    """
    asked = os.environ.get("MESHDROP_FAILPOINT", "")
    if not asked or asked.split("=")[0] != name:
        return
    if "=" not in asked:
        os.kill(os.getpid(), signal.SIGKILL)
    error_name, _, times = asked.split("=")[1].partition("*")
    if error_name == "SIGSTOP":
        _halt_once(name)
        return
    if _raised.get(name, 0) < int(times or 1):
        _raised[name] = _raised.get(name, 0) + 1
        number = getattr(errno, error_name)
        raise OSError(number, os.strerror(number), name)


def _halt_once(name: str) -> None:
    if name not in _raised:
        _raised[name] = 1
        os.kill(os.getpid(), signal.SIGSTOP)
