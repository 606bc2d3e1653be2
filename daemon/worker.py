"""The child process that reconstructs: one job after the other, until it is told to stop or dies.

It talks JSON lines over two pipes, never pickles: it decodes strangers' pictures, and what comes out of it is
data to the daemon.  Started as ``python -m daemon.worker COMMAND_FD REPORT_FD`` with its own session, so that the
daemon can end it with everything that it may have started.
"""

import ctypes
import errno
import gc
import importlib
import json
import os
import queue
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon import failpoints
from daemon.errors import ErrorCode, Failure, failure_from_error
from daemon.logs import JobLog
from daemon.outcome import HOW_TO_RERUN
from daemon.publish import PAGE
from recon.errors import Cancelled, ReconError
from recon.progress import ProgressUpdate
from recon.settings import Settings

HEARTBEAT_S = 1.0
FASTEST_REPORT_S = 0.1
_PR_SET_PDEATHSIG = 1
_GPU_MEMORY_ERRORS = frozenset({"OutOfMemoryError"})
_CUDA_WORDS = ("CUDA error", "CUDA driver", "cuDNN error", "cudaError", "device-side assert", "CUBLAS_STATUS")


class Reporter:
    """Writes messages to the daemon; whole lines also from several threads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, kind: str, **fields: object) -> None:
        """Send one message; the daemon being gone ends this process."""
        data = json.dumps({"kind": kind} | fields, default=str).encode() + b"\n"
        try:
            with self._lock:
                while data:
                    data = data[os.write(self._descriptor, data) :]
        except BrokenPipeError:
            os._exit(0)


class Commands:
    """What the daemon asks for; read in a thread so that CANCEL arrives during a job."""

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "rb")
        self.jobs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.cancelled_job = ""
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            command = json.loads(line)
            if command["kind"] == "cancel":
                self.cancelled_job = command["job_id"]
            else:
                self.jobs.put(command if command["kind"] == "run" else None)
        os._exit(0)


def main(arguments: list[str]) -> None:
    """Serve jobs until the daemon says stop."""
    command_fd, report_fd, parent_pid = int(arguments[0]), int(arguments[1]), int(arguments[2])
    _die_with(parent_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reporter, commands = Reporter(report_fd), Commands(command_fd)
    setup = json.loads(arguments[3])
    _limit_memory(int(setup["memory_bytes"]))
    threading.Thread(target=_beat, args=(reporter,), name="heartbeat", daemon=True).start()
    for module in setup["preload"]:
        try:
            importlib.import_module(module)
        except Exception as error:  # the first job will say it to its user; the worker must come up
            reporter.send("trouble", message=f"cannot load {module}: {error}")
    if not _probe(reporter):
        return
    reporter.send("ready")
    while True:
        try:
            command = commands.jobs.get(timeout=float(setup["probe_s"]))
        except queue.Empty:
            if not _probe(reporter):
                return
            continue
        if command is None or _run(command, setup["entry"], commands, reporter) or not _probe(reporter):
            return


def _probe(reporter: Reporter) -> bool:
    """Report what a kernel on each GPU says; whether this process can go on.

    A worker whose entry point brings no PyTorch has no GPU to lose.
    """
    if "torch" not in sys.modules:
        return True
    from recon.gpu_probe import probe

    found = probe()
    reporter.send("probe", probe=found.model_dump())
    return found.is_usable


def _die_with(parent_pid: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)


def _limit_memory(memory_bytes: int) -> None:
    """Cap private writable memory: RLIMIT_AS would also count the address space that CUDA only reserves."""
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def _beat(reporter: Reporter) -> None:
    while True:
        reporter.send("alive")
        time.sleep(HEARTBEAT_S)


def _run(command: dict[str, Any], entry: str, commands: Commands, reporter: Reporter) -> bool:
    """Run one job and report how it ended; whether this process can no longer be trusted."""
    job_id, output_dir = str(command["job_id"]), Path(command["output_dir"])
    log = JobLog(Path(command["log_file"]), job_id)
    log.write("worker started", pid=os.getpid(), settings=command["settings"])
    try:
        module, _, function = entry.partition(":")
        reconstruct = getattr(importlib.import_module(module), function)
        settings = Settings.model_validate(command["settings"])
        progress = _progress_callback(job_id, commands, reporter)
        report = reconstruct(Path(command["input_dir"]), output_dir, settings, progress)
        _write_page(report, output_dir, str(command["title"]))
        failpoints.hit("before:run-finished")
        _finish_output(output_dir, int(command["output_bytes"]))
        failpoints.hit("after:run-finished")
        reporter.send("finished", job_id=job_id, verdict=str(report.verdict), summary=report.summary)
        return False
    except Cancelled:
        kind, is_fatal = "cancelled", False
        about: dict[str, object] = {}
    except BaseException as error:  # the one broad except: the boundary between a job and its worker
        failure, is_fatal = failure_from_exception(error)
        log.write("worker failed", code=failure.code, traceback=traceback.format_exc())
        kind, about = "failed", {"failure": failure.to_json(), "is_fatal": is_fatal}
    # Not before: until here the exception has held the job's frames and all that is in them.
    if not is_fatal:
        _give_back_gpu_memory()
    reporter.send(kind, job_id=job_id, **about)
    return is_fatal


def _give_back_gpu_memory() -> None:
    """PyTorch keeps what a job has freed for the next one; when none may follow, others wait for it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _write_page(report: object, output_dir: Path, title: str) -> None:
    """The page that people open first; other entry points than recon's bring their own, or none."""
    from recon.previews.report_html import write_report_html
    from recon.report import Report

    if isinstance(report, Report):
        write_report_html(output_dir / PAGE, title, report, output_dir, how_to_rerun=HOW_TO_RERUN)


def _progress_callback(job_id: str, commands: Commands, reporter: Reporter) -> Callable[[ProgressUpdate], None]:
    last_sent_s, last_stage = 0.0, ""

    def progress(update: ProgressUpdate) -> None:
        nonlocal last_sent_s, last_stage
        if commands.cancelled_job == job_id:
            raise Cancelled
        now_s = time.monotonic()
        stage = f"{update.model}/{update.stage}"
        if stage == last_stage and update.preview is None and now_s - last_sent_s < FASTEST_REPORT_S:
            return
        last_sent_s, last_stage = now_s, stage
        preview = str(update.preview) if update.preview else ""
        reporter.send(
            "progress", job_id=job_id, model=update.model, stage=update.stage, fraction=update.fraction, preview=preview
        )

    return progress


def failure_from_exception(error: BaseException) -> tuple[Failure, bool]:
    """Say in the user's terms what an exception means, and whether the process must end after it."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, ReconError):
        return failure_from_error(error), error.code == ErrorCode.GPU_UNAVAILABLE
    details: dict[str, object] = {"exception": name, "text": text[:500]}
    if name in _GPU_MEMORY_ERRORS:
        message = "The GPU's memory was not enough."
        suggestion = "Ask for fewer faces or a smaller texture, or use a GPU with more memory."
        return Failure(ErrorCode.MODEL_OUT_OF_GPU_MEMORY, message, suggestion, details=details), True
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return Failure(ErrorCode.MODEL_OUT_OF_MEMORY, "The machine's memory was not enough.", details=details), True
    if any(word in text for word in _CUDA_WORDS):
        suggestion = "Ask the operator to run meshdrop doctor; the job runs again once the GPU is back."
        return Failure(ErrorCode.GPU_UNAVAILABLE, "The GPU failed.", suggestion, details=details), True
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        message = "The disk is full (writing the results)."
        return Failure(
            ErrorCode.DISK_FULL, message, "Free some space; the job runs again by itself.", details=details
        ), False
    return Failure(
        ErrorCode.INTERNAL_ERROR, f"The reconstruction failed unexpectedly ({name}).", details=details
    ), False


def _finish_output(output_dir: Path, limit_bytes: int) -> None:
    """Refuse results that are far too large, and make the rest survive a power cut."""
    total_bytes = 0
    for folder, _, file_names in os.walk(output_dir):
        for name in file_names:
            descriptor = os.open(Path(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            total_bytes += os.fstat(descriptor).st_size
            os.fsync(descriptor)
            os.close(descriptor)
    if total_bytes > limit_bytes:
        raise RuntimeError(f"the results have {total_bytes} bytes, more than worker.output_bytes = {limit_bytes}")


if __name__ == "__main__":
    main(sys.argv[1:])
