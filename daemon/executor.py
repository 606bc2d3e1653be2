"""Worker processes: start, feed, watch, cancel, kill, replace.

One ``Executor`` owns one process.  A process that dies, hangs, eats too much memory or does not stop when asked
costs its job one attempt and the daemon nothing.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from daemon.config import WorkerConfig
from daemon.errors import ErrorCode, Failure, failure_from_json
from recon.gpu_probe import Probe

log = structlog.get_logger()

MAX_MESSAGE_BYTES = 1 << 20
MAX_STDERR_BYTES = 10 << 20
"""Above this, what workers print starts a new file."""
WEIGHING_INTERVAL_S = 0.5
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Run:
    """One attempt at a job, as the worker is told."""

    job_id: str
    title: str
    input_dir: Path
    output_dir: Path
    log_file: Path
    settings: dict[str, object]


@dataclass(frozen=True)
class Progressed:
    """A running job came forward; ``preview`` is a file of the worker's, or empty."""

    job_id: str
    model: str
    stage: str
    fraction: float
    preview: str


@dataclass(frozen=True)
class Ended:
    """A job left its worker: with a verdict, with a failure, or cancelled."""

    job_id: str
    verdict: str = ""
    summary: dict[str, object] | None = None
    failure: Failure | None = None
    is_cancelled: bool = False


Message = Progressed | Ended


class Executor:
    """One worker process, kept warm between jobs.

    Args:
        config: Limits.
        gpu: CUDA device number, or None for all.
        stderr_file: Where the process's own output goes.
        clock: Monotonic time; tests pass their own.
    """

    def __init__(
        self, config: WorkerConfig, gpu: int | None, stderr_file: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._gpu = gpu
        self._stderr_file = stderr_file
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._command_fd = self.report_fd = -1
        self._buffer = b""
        self._is_ready = self._is_spent = False
        self._jobs_done = 0
        self._started_s = self._heard_s = self._advanced_s = self._weighed_s = 0.0
        self._cancel_by_s: float | None = None
        self._stage = ("", "")
        self._output_dir = Path()
        self.job_id = ""
        self.probe: Probe | None = None
        """What the worker last said of its GPU."""
        self.start_count = 0

    @property
    def pid(self) -> int:
        """Of the process, which leads its own group; 0 while there is none."""
        return self._process.pid if self._process else 0

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a job."""
        return self._process is not None and self._is_ready and not self.job_id

    @property
    def silent_s(self) -> float:
        """Since the last sign of life."""
        return self._clock() - self._heard_s

    @property
    def gpu(self) -> int | None:
        """CUDA device number, or None for all."""
        return self._gpu

    def start(self) -> None:
        """Start the process; it reports when it is ready."""
        child_command_fd, self._command_fd = os.pipe()
        self.report_fd, child_report_fd = os.pipe()
        os.set_blocking(self.report_fd, False)
        # The child sees the modules that we see, and nothing that lies in the current folder by chance.
        # It decodes strangers' pictures and has no business with the operator's passwords.
        environment = {
            name: value for name, value in os.environ.items() if not name.upper().startswith("MESHDROP_NOTIFY")
        }
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        if self._gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = str(self._gpu)
        # Threads that spin while they wait cost several times the work itself when the cores are shared.
        environment.setdefault("OMP_WAIT_POLICY", "passive")
        setup = json.dumps(
            {
                "entry": self._config.entry,
                "preload": self._config.preload,
                "memory_bytes": self._config.memory_bytes,
                "probe_s": self._config.probe_s,
            }
        )
        arguments = [str(child_command_fd), str(child_report_fd), str(os.getpid()), setup]
        with self._stderr_file.open("ab" if _size_bytes(self._stderr_file) < MAX_STDERR_BYTES else "wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "daemon.worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=(child_command_fd, child_report_fd),
                start_new_session=True,
                env=environment,
            )
        os.close(child_command_fd)
        os.close(child_report_fd)
        self._started_s = self._heard_s = self._clock()
        self._is_ready, self._is_spent, self._jobs_done, self._buffer = False, False, 0, b""
        self.start_count += 1
        log.info("worker started", pid=self.pid, gpu=self._gpu)

    def run(self, run: Run) -> None:
        """Give the idle worker a job."""
        self.job_id = run.job_id
        self._started_s = self._advanced_s = self._heard_s = self._clock()
        self._cancel_by_s = None
        self._stage, self._output_dir = ("", ""), run.output_dir
        self._send(
            {
                "kind": "run",
                "job_id": run.job_id,
                "title": run.title,
                "input_dir": str(run.input_dir),
                "output_dir": str(run.output_dir),
                "log_file": str(run.log_file),
                "settings": run.settings,
                "output_bytes": self._config.output_bytes,
            }
        )

    def cancel(self) -> None:
        """Ask the running job to stop; after the grace its process group is killed."""
        if self.job_id and self._cancel_by_s is None:
            self._cancel_by_s = self._clock() + self._config.cancel_grace_s
            self._send({"kind": "cancel", "job_id": self.job_id})

    def poll(self) -> list[Message]:
        """What happened since the last call; also enforces every limit.  Never blocks."""
        if self._process is None:
            return []
        messages = self._read()
        if self._process.poll() is not None:
            messages += self._read()
            return messages + self._bury(None)
        failure = self._broken_limit()
        if failure is not None or self._is_overdue_cancel():
            self.kill()
            messages += self._bury(failure)
        elif not self.job_id and (self._is_spent or self._jobs_done >= self._config.max_jobs):
            log.info("worker replaced", pid=self.pid, jobs=self._jobs_done, is_spent=self._is_spent)
            self.kill()
            self._bury(None)
        return messages

    def next_deadline_s(self) -> float | None:
        """Monotonic time at which ``poll`` must be called even if nothing arrives."""
        return self._cancel_by_s if self.job_id else None

    def kill(self) -> None:
        """End the process and everything it started; returns when it is gone and its GPU memory with it."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End the process for good."""
        self.kill()
        self._close()

    def _send(self, command: dict[str, object]) -> None:
        # A dead worker is noticed by poll, which knows what it costs.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._command_fd, json.dumps(command).encode() + b"\n")

    def _read(self) -> list[Message]:
        while True:
            try:
                block = os.read(self.report_fd, 1 << 16)
            except BlockingIOError:
                break
            if not block:
                break
            self._buffer += block
        *lines, self._buffer = self._buffer.split(b"\n")
        if len(self._buffer) > MAX_MESSAGE_BYTES:
            self._buffer = b""
        return [message for line in lines if (message := self._understand(line)) is not None]

    def _understand(self, line: bytes) -> Message | None:
        self._heard_s = self._clock()
        try:
            # Half characters, which JSON can name but no file holds, become question marks.
            data = json.loads(json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace"))
            kind = data["kind"]
        except (ValueError, TypeError, KeyError, RecursionError):
            log.warning("worker said something strange", pid=self.pid, line=line[:200].decode("utf-8", "replace"))
            return None
        if kind == "ready":
            self._is_ready = True
        elif kind == "probe":
            self._note_probe(data)
        elif kind == "trouble":
            log.warning("worker has trouble", pid=self.pid, message=str(data.get("message")))
        elif data.get("job_id") == self.job_id and self.job_id:
            return self._about_job(kind, data)
        return None

    def _note_probe(self, data: dict[str, Any]) -> None:
        with contextlib.suppress(ValidationError):
            self.probe = Probe.model_validate(data.get("probe"))
            if self.probe.error:
                log.error("the GPU cannot be used", pid=self.pid, gpu=self._gpu, reason=self.probe.error)

    def _about_job(self, kind: str, data: dict[str, Any]) -> Message | None:
        job_id = self.job_id
        if kind == "progress":
            stage = (str(data.get("model", "")), str(data.get("stage", "")))
            if stage != self._stage:
                self._stage, self._advanced_s = stage, self._clock()
            return Progressed(job_id, *stage, _as_fraction(data.get("fraction")), str(data.get("preview", "")))
        self.job_id, self._cancel_by_s = "", None
        self._jobs_done += 1
        self._is_spent = False
        if kind == "finished":
            summary = data.get("summary")
            return Ended(job_id, str(data.get("verdict", "")), summary if isinstance(summary, dict) else {})
        if kind == "failed":
            self._is_spent = bool(data.get("is_fatal"))
            failure = data.get("failure")
            return Ended(job_id, failure=failure_from_json(failure if isinstance(failure, dict) else {}))
        return Ended(job_id, is_cancelled=True)

    def _is_overdue_cancel(self) -> bool:
        return bool(self.job_id) and self._cancel_by_s is not None and self._clock() >= self._cancel_by_s

    def _broken_limit(self) -> Failure | None:
        now_s, config = self._clock(), self._config
        if not self._is_ready:
            is_late = now_s - self._started_s > config.start_timeout_s
            return _timed_out("did not start", config.start_timeout_s) if is_late else None
        if not self.job_id:
            return None
        times = (
            (self._started_s, config.job_timeout_s, "did not finish"),
            (self._advanced_s, config.stage_timeout_s, f"did not finish its stage {self._stage[1]}".rstrip()),
            (self._heard_s, config.heartbeat_timeout_s, "gave no sign of life"),
        )
        for since_s, limit_s, what in times:
            if now_s - since_s > limit_s:
                return _timed_out(what, limit_s)
        if now_s - self._weighed_s < WEIGHING_INTERVAL_S:
            return None
        self._weighed_s = now_s
        return self._too_much_memory() or self._too_much_output()

    def _too_much_memory(self) -> Failure | None:
        """RLIMIT_DATA in the worker comes first; this also sees the processes that it started."""
        limit_bytes = self._config.memory_bytes
        if not limit_bytes or (used_bytes := group_memory_bytes(self.pid)) <= limit_bytes:
            return None
        details: dict[str, object] = {"used_bytes": used_bytes, "limit_bytes": limit_bytes}
        return Failure(ErrorCode.MODEL_OUT_OF_MEMORY, "The job used more memory than it may.", details=details)

    def _too_much_output(self) -> Failure | None:
        written_bytes, limit_bytes = folder_bytes(self._output_dir), self._config.output_bytes
        if written_bytes <= limit_bytes:
            return None
        message = f"The results grew beyond {limit_bytes:,} bytes (worker.output_bytes) and the job was stopped."
        return Failure(ErrorCode.INTERNAL_ERROR, message, details={"bytes": written_bytes, "limit_bytes": limit_bytes})

    def _bury(self, failure: Failure | None) -> list[Message]:
        """Clean up after a process that has ended, and say what became of its job."""
        assert self._process is not None
        status = self._process.wait()
        job_id, was_cancelled = self.job_id, self._cancel_by_s is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._close()
        if not job_id:
            return []
        log.warning(
            "worker ended during a job", job_id=job_id, status=status, failure=failure.message if failure else ""
        )
        if was_cancelled:
            return [Ended(job_id, is_cancelled=True)]
        return [Ended(job_id, failure=failure or _crashed(status))]

    def _close(self) -> None:
        if self._process is not None:
            os.close(self._command_fd)
            os.close(self.report_fd)
        self._process, self._is_ready, self.job_id, self._cancel_by_s = None, False, "", None
        self._command_fd = self.report_fd = -1


def _as_fraction(said: object) -> float:
    """Between 0 and 1, whatever was said; nothing comes of what is no number."""
    if not isinstance(said, int | float) or (isinstance(said, float) and math.isnan(said)):
        return 0.0
    return float(min(max(said, 0), 1))


def _size_bytes(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _timed_out(what: str, limit_s: float) -> Failure:
    message = f"The reconstruction {what} within {limit_s:g} s and was stopped."
    return Failure(ErrorCode.MODEL_TIMEOUT, message, details={"limit_s": limit_s})


def _crashed(status: int) -> Failure:
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    hint = " (the machine may have run out of memory)" if status == -signal.SIGKILL else ""
    return Failure(ErrorCode.MODEL_CRASHED, f"The reconstruction crashed: {how}{hint}.", details={"status": status})


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder that is being written."""
    total = 0
    for parent, _, file_names in os.walk(folder):
        for name in file_names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(Path(parent, name)).st_size
    return total


def group_memory_bytes(group: int) -> int:
    """Resident memory of all processes of a session's leader and its group."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group:
                total += int(fields[21]) * _PAGE_BYTES
    return total
