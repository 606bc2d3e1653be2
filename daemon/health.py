"""health.json: is the daemon well, and if not, why; and the judgement that ``meshdrop health`` turns into an exit code.

The file is rewritten every two seconds, so its age says whether the loop turns.
"""

import json
import os
import platform
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import structlog

from daemon import names
from daemon.config import Config
from daemon.dispatch import Dispatch
from daemon.filing import Filing
from daemon.jobs import ACTIVE, JobState
from daemon.ledger import Ledger
from daemon.snapshot import write_durably

log = structlog.get_logger()

HEALTH_FILE = "health.json"
STALE_S = 60.0
"""A file older than this means a loop that hangs or a daemon that is gone."""
STALE_SCAN_S = 60.0
UNREADY_GRACE_S = 60.0
"""Longest time that a worker may take to load its modules, or to come back after it was replaced."""
WRITE_TEST_S = 30.0
"""Between tests that the share can really be written."""


@dataclass
class ScanRecord:
    """The latest whole scan of the share; monotonic time."""

    ended_s: float | None = None
    took_s: float = 0.0


class Health:
    """Collects what every part of the daemon knows about itself.

    Args:
        config: Limits.
        ledger: Counts jobs.
        filing: Knows what jobs wait for.
        dispatch: Knows the workers.
        clock: Monotonic time.
    """

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        filing: Filing,
        dispatch: Dispatch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._filing = filing
        self._dispatch = dispatch
        self._clock = clock
        self._started_s = clock()
        self._own_versions = {"meshdrop": metadata.version("meshdrop"), "python": platform.python_version()}
        self._write_error = ""
        self._next_write_test_s = 0.0
        self._ready_s = [self._started_s] * len(dispatch.executors)
        self.is_stopped = False
        self.scan = ScanRecord()
        self.is_stuck = False
        """Whether the queue does not come forward (daemon.stuck_queue)."""

    def report(self, offline_reason: str) -> dict[str, Any]:
        """The content of health.json.

        Args:
            offline_reason: Why the share is not there; empty if it is.
        """
        if not offline_reason:
            self._test_writing()
        now_s, now_unix_s = self._clock(), time.time()
        about: dict[str, Any] = {
            "time_s": now_unix_s,
            "pid": os.getpid(),
            "is_stopped": self.is_stopped,
            "up_s": round(now_s - self._started_s, 1),
            "is_online": not offline_reason,
            "offline_reason": offline_reason,
            "share": {
                "is_writable": not offline_reason and not self._write_error,
                "write_error": self._write_error,
                "scan_age_s": None if self.scan.ended_s is None else round(now_s - self.scan.ended_s, 3),
                "scan_took_s": round(self.scan.took_s, 4),
            },
            "jobs": {state.value: self._ledger.count(state) for state in sorted(ACTIVE)},
            "queue": {"oldest_s": round(self.oldest_queued_s(now_unix_s), 1), "is_stuck": self.is_stuck},
            "waiting_for": sorted({trouble.failure.code.value for trouble in self._filing.troubles.values()}),
            "workers": [self._worker(index) for index in range(len(self._dispatch.executors))],
            "models": self._models(),
            "disk": self._disk(is_online=not offline_reason),
            "job_table": {"schema": self._ledger.store.schema, "bytes": size_bytes(self._config.database)},
            "versions": self._versions(),
        }
        return about | {"problems": problems(about)}

    def write(self, report: dict[str, Any]) -> None:
        """Replace STATE/health.json.

        Raises:
            OSError: The disk is full.
        """
        write_durably(self._config.state / HEALTH_FILE, json.dumps(report, indent=1).encode())

    def oldest_queued_s(self, now_unix_s: float) -> float:
        """How long the job at the head of the queue has waited for its turn."""
        queued = self._ledger.in_state(JobState.QUEUED)
        return max((now_unix_s - (job.queued_at_s or now_unix_s) for job in queued), default=0.0)

    def _test_writing(self) -> None:
        """Make and remove a file beside the areas, where no scan looks and no user lists it."""
        if self._clock() < self._next_write_test_s:
            return
        self._next_write_test_s = self._clock() + WRITE_TEST_S
        file = self._config.root / f"{names.STAGING_PREFIX}health-{secrets.token_hex(4)}"
        try:
            file.write_bytes(b"meshdrop")
            self._write_error = ""
        except OSError as error:
            self._write_error = error.strerror or str(error)
        with suppress(OSError):
            file.unlink()

    def _worker(self, index: int) -> dict[str, Any]:
        executor = self._dispatch.executors[index]
        probe = executor.probe
        if executor.is_idle or executor.job_id:
            self._ready_s[index] = self._clock()
        return {
            "pid": executor.pid,
            "gpu": executor.gpu,
            "is_alive": executor.pid != 0,
            "is_idle": executor.is_idle,
            "job_id": executor.job_id,
            "unready_s": round(self._clock() - self._ready_s[index], 1),
            "silent_s": round(executor.silent_s, 1) if executor.pid else None,
            "starts": executor.start_count,
            "probe": probe.model_dump(include={"time_s", "kernel_s", "gpus", "error"}) if probe else None,
        }

    def _models(self) -> dict[str, dict[str, Any]]:
        """Each model with the GPU memory that it needs at least, and whether a GPU here has it."""
        probes = [executor.probe for executor in self._dispatch.executors if executor.probe]
        largest_bytes = max((gpu.total_bytes for probe in probes for gpu in probe.gpus), default=0)
        needs = probes[0].models if probes else {}
        return {
            name: {"min_gpu_memory_bytes": needed_bytes, "fits_gpu": needed_bytes <= largest_bytes}
            for name, needed_bytes in needs.items()
        }

    def _disk(self, *, is_online: bool) -> dict[str, dict[str, int]]:
        folders = {"state": self._config.state} | ({"share": self._config.root} if is_online else {})
        return {
            name: {"free_bytes": free_bytes(folder), "min_free_bytes": self._config.disk.min_free_bytes}
            for name, folder in folders.items()
        }

    def _versions(self) -> dict[str, str]:
        probes = [executor.probe for executor in self._dispatch.executors if executor.probe]
        return self._own_versions | (probes[0].versions if probes else {})


def free_bytes(folder: Path) -> int:
    """Free space below a folder; 0 where it cannot be asked."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def size_bytes(file: Path) -> int:
    """The size of a file and of SQLite's files beside it."""
    found = (file, file.with_name(file.name + "-wal"), file.with_name(file.name + "-shm"))
    return sum(path.stat().st_size for path in found if path.exists())


def problems(report: dict[str, Any]) -> list[str]:
    """What is wrong, one sentence each; an empty list means well."""
    share, queue = report["share"], report["queue"]
    found = ["the daemon was stopped"] if report["is_stopped"] else []
    if not report["is_online"]:
        found.append(report["offline_reason"])
    elif not share["is_writable"]:
        found.append(f"the share cannot be written: {share['write_error']}")
    elif share["scan_age_s"] is not None and share["scan_age_s"] > STALE_SCAN_S:
        found.append(f"the share was last scanned {share['scan_age_s']:.0f} s ago")
    for name, disk in report["disk"].items():
        if disk["free_bytes"] < disk["min_free_bytes"]:
            found.append(f"{name} has only {disk['free_bytes']:,} bytes free; no job is taken")
    for worker in report["workers"]:
        which = "the worker" if worker["gpu"] is None else f"the worker of GPU {worker['gpu']}"
        if worker["probe"] and worker["probe"]["error"]:
            found.append(f"{which} cannot use its GPU: {worker['probe']['error']}")
        elif worker["unready_s"] > UNREADY_GRACE_S:
            found.append(f"{which} has not been ready for {worker['unready_s']:.0f} s (worker.log says why)")
    if queue["is_stuck"]:
        found.append(f"the queue does not come forward; its oldest job waits for {queue['oldest_s']:.0f} s")
    return found


def read_health(state: Path) -> dict[str, Any]:
    """What the daemon last said of itself, with the file's age and the verdict.

    Returns:
        The content of health.json with ``age_s`` and ``is_healthy``; without such a file only these and ``problems``.
    """
    file = state / HEALTH_FILE
    try:
        report: dict[str, Any] = json.loads(file.read_text("utf-8"))
        age_s = round(time.time() - float(report["time_s"]), 1)
        found = list(report["problems"])
    except (OSError, ValueError, KeyError, TypeError):
        return {"problems": [f"no daemon has left a sign of life in {file}"], "age_s": None, "is_healthy": False}
    if age_s > STALE_S:
        found.insert(0, f"the daemon has said nothing for {age_s:.0f} s: it hangs or does not run")
    return report | {"problems": found, "age_s": age_s, "is_healthy": not found}
