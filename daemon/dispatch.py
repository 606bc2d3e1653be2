"""Whose turn is it, and what does the end of an attempt mean?  Feeds the workers on behalf of the ledger."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from daemon import failpoints, folders, names
from daemon.config import Config
from daemon.desks import Desks, cancel, withdraw
from daemon.errors import ATTEMPT, ErrorCode, Failure, StoreError, failure_from_os_error
from daemon.executor import Ended, Executor, Progressed, Run
from daemon.filing import Filing
from daemon.identity import is_folder_of
from daemon.jobs import Job, JobState, run_order
from daemon.ledger import Ledger
from daemon.logs import JobLog
from daemon.options import JobOptions
from daemon.snapshot import INPUT_DIR, LOG_FILE, OUTPUT_DIR

log = structlog.get_logger()

RESTART_PAUSE_S, LONGEST_RESTART_PAUSE_S = 0.2, 30.0
MAX_PREVIEW_BYTES = 4 << 20


@dataclass(frozen=True)
class Progress:
    """Where a running job is.

    Attributes:
        since_s: Monotonic time at which the attempt began.
    """

    model: str = ""
    stage: str = "starting"
    fraction: float = 0.0
    since_s: float = 0.0


class Dispatch:
    """Keeps the workers alive and busy."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        desks: Desks,
        filing: Filing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._desks = desks
        self._filing = filing
        self._clock = clock
        gpus: tuple[int | None, ...] = config.worker.gpus or (None,)
        stderr_file = config.state / "worker.log"
        self.executors = [Executor(config.worker, gpu, stderr_file, clock) for gpu in gpus]
        self._restart_s = [0.0] * len(self.executors)
        self._failed_starts = [0] * len(self.executors)
        self.progress: dict[str, Progress] = {}

    def round(self) -> None:
        """Hear the workers, stop what must stop, start what may start."""
        for job_id in self._desks.cancelling:
            for executor in self.executors:
                if executor.job_id == job_id:
                    executor.cancel()
        for index, executor in enumerate(self.executors):
            for message in executor.poll():
                self._hear(message)
            self._keep_alive(index, executor)
            if executor.is_idle:
                self._failed_starts[index] = 0
                self._give_turn(executor)

    def next_s(self) -> float | None:
        """When a worker must be polled even if it says nothing."""
        deadlines = [executor.next_deadline_s() for executor in self.executors]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def stop(self) -> None:
        """Stop all workers; a job at work goes back to the queue and loses no attempt."""
        for executor in self.executors:
            job_id = executor.job_id
            executor.stop()
            if job_id and job_id in self._ledger:
                job = self._ledger[job_id]
                with suppress(StoreError):
                    self._ledger.move(job, JobState.QUEUED, "the daemon was stopped", attempts=job.attempts - 1)

    def _keep_alive(self, index: int, executor: Executor) -> None:
        if executor.pid == 0 and self._clock() >= self._restart_s[index]:
            pause_s = RESTART_PAUSE_S * 2 ** min(self._failed_starts[index], 10)
            self._restart_s[index] = self._clock() + min(pause_s, LONGEST_RESTART_PAUSE_S)
            self._failed_starts[index] += 1
            try:
                executor.start()
            except OSError as error:
                log.warning("worker cannot be started", reason=str(error))

    def _give_turn(self, executor: Executor) -> None:
        may_run = [
            job
            for job in self._ledger.in_state(JobState.QUEUED)
            if job.input_sha256 and not self._filing.is_held_back(job.job_id)
        ]
        turns = run_order(may_run, self._ledger.last_turn_s)
        if not turns:
            return
        job = turns[0]
        job_dir = self._filing.job_dir(job.job_id)
        try:
            failpoints.hit("before:run-started")
            shutil.rmtree(job_dir / OUTPUT_DIR, ignore_errors=True)
            (job_dir / OUTPUT_DIR).mkdir(parents=True, mode=0o700)
        except OSError as error:
            self._filing.hold_back(job, failure_from_os_error(error, "making room for the results"))
            return
        job = self._ledger.move(job, JobState.RUNNING, f"attempt {job.attempts + 1}", attempts=job.attempts + 1)
        failpoints.hit("after:run-started")
        installation = self._config.reconviagen
        settings = self._options(job).settings_on(installation).model_dump(mode="json")
        settings["installation"] = installation.model_dump(mode="json")  # settings keep it out of reports
        self.progress[job.job_id] = Progress(since_s=self._clock())
        title = names.shown(job.folder)
        executor.run(Run(job.job_id, title, job_dir / INPUT_DIR, job_dir / OUTPUT_DIR, job_dir / LOG_FILE, settings))

    def _options(self, job: Job) -> JobOptions:
        return JobOptions.model_validate(job.options)

    def _hear(self, message: Progressed | Ended) -> None:
        if message.job_id not in self._ledger:
            return
        job = self._ledger[message.job_id]
        if isinstance(message, Progressed):
            since_s = self.progress[job.job_id].since_s
            self._ledger.touched.add(job.job_id)
            self.progress[job.job_id] = Progress(message.model, message.stage, message.fraction, since_s)
            if message.preview:
                self._show_preview(job, Path(message.preview))
            return
        failpoints.hit("before:run-recorded")
        self._end(job, message)
        self.progress.pop(job.job_id, None)
        self._desks.cancelling.pop(job.job_id, None)
        failpoints.hit("after:run-recorded")

    def _end(self, job: Job, ended: Ended) -> None:
        wanted = self._desks.cancelling.get(job.job_id)
        self._job_log(job).write("attempt ended", attempt=job.attempts, verdict=ended.verdict, failure=ended.failure)
        if wanted is JobState.WITHDRAWN:
            withdraw(self._ledger, job)
        elif wanted is JobState.CANCELLED:
            cancel(self._ledger, job)
        elif ended.failure is not None:
            self._after_failure(job, ended.failure)
        elif ended.is_cancelled:
            self._ledger.move(job, JobState.QUEUED, "stopped without being asked", attempts=job.attempts - 1)
        else:
            self._after_success(job, ended)

    def _after_failure(self, job: Job, failure: Failure) -> None:
        if failure.is_transient and not self._filing.hold_back(job, failure):
            self._ledger.move(job, JobState.QUEUED, failure.message, attempts=job.attempts - 1)
        elif failure.code in ATTEMPT and job.attempts < self._config.worker.max_attempts:
            self._ledger.move(job, JobState.QUEUED, f"again after: {failure.message}")
        else:
            self._ledger.fail(job, failure)

    def _after_success(self, job: Job, ended: Ended) -> None:
        summary = {"verdict": ended.verdict} | (ended.summary or {})
        self._filing.troubles.pop(job.job_id, None)
        if ended.verdict == "failure" and self._options(job).on_low_quality == "fail":
            message = "The mesh does not reproduce the photographs well enough."
            failure = Failure(ErrorCode.QUALITY_TOO_LOW, message, stage="quality", details=dict(summary))
            self._ledger.move(
                job, JobState.PUBLISHING, message, outcome=JobState.FAILED, failure=failure, summary=summary
            )
        else:
            self._ledger.move(job, JobState.PUBLISHING, ended.verdict, outcome=JobState.DONE, summary=summary)

    def _show_preview(self, job: Job, preview: Path) -> None:
        """Copy a picture that the worker made, and nothing else that it may name, to the user's folder."""
        try:
            if self._filing.job_dir(job.job_id).resolve() not in preview.resolve().parents:
                return
            descriptor = os.open(preview, folders.FILE_FLAGS)
            with os.fdopen(descriptor, "rb") as stream:
                data = stream.read(MAX_PREVIEW_BYTES + 1)
            with folders.opened(self._config.inbox, job.folder) as folder_fd:
                is_ours = is_folder_of(folder_fd, job, self._filing.job_dir(job.job_id))
                if is_ours and len(data) <= MAX_PREVIEW_BYTES:
                    folders.write_file(folder_fd, "preview.png", data, is_durable=False)
        except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
            log.debug("preview not shown", job_id=job.job_id, reason=str(error))

    def _job_log(self, job: Job) -> JobLog:
        return JobLog(self._filing.job_dir(job.job_id) / LOG_FILE, job.job_id)
