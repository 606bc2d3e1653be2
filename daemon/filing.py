"""Copying in and putting out: the slow file work, done beside the loop so that the loop stays quick.

Threads only touch files; every step in the table is made by the loop when it collects the result.
"""

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from daemon import failpoints, folders, names, snapshot
from daemon.config import Config
from daemon.desks import Desks, withdraw
from daemon.errors import ChangedUnderneath, ErrorCode, Failure, failure_from_error, failure_from_os_error
from daemon.identity import is_folder_of
from daemon.jobs import Job, JobState, run_order
from daemon.ledger import Ledger
from daemon.notify import Notifier
from daemon.outcome import failure_page, outcome_json
from daemon.publish import FolderGone, Publication, clear_previous, publish
from daemon.snapshot import Snapshot
from recon.errors import CaptureError

log = structlog.get_logger()

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0


@dataclass(frozen=True)
class Trouble:
    """Why a job has to wait although its turn has come.

    Attributes:
        since_s, until_s: Monotonic time.
        times: How often it was tried.
    """

    failure: Failure
    since_s: float
    until_s: float
    times: int = 1


class Filing:
    """Takes snapshots of queued jobs and publishes finished ones."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        desks: Desks,
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._desks = desks
        self._wake = wake
        self._clock = clock
        self.notifier = Notifier(config.notify, config.state)
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="filing")
        self._snapshots: dict[str, Future[Snapshot]] = {}
        self._publications: dict[str, Future[str]] = {}
        self.troubles: dict[str, Trouble] = {}

    def job_dir(self, job_id: str) -> Path:
        """The job's private folder."""
        return self._config.work / job_id

    def round(self) -> None:
        """Collect what is finished and begin what is due."""
        self._collect_snapshots()
        self._collect_publications()
        self._begin_snapshots()
        self._begin_publications()

    def stop(self) -> None:
        """Wait for the file work at hand."""
        self._pool.shutdown(wait=True)

    def next_s(self) -> float | None:
        """When the next waiting trouble is tried again."""
        return min((trouble.until_s for trouble in self.troubles.values()), default=None)

    def is_at_work(self, job_id: str) -> bool:
        """Whether a thread touches the job's files."""
        return job_id in self._snapshots or job_id in self._publications

    def is_held_back(self, job_id: str) -> bool:
        """Whether a trouble has to pass first."""
        trouble = self.troubles.get(job_id)
        return trouble is not None and self._clock() < trouble.until_s

    def hold_back(self, job: Job, failure: Failure) -> bool:
        """Let a job wait for a passing trouble; whether it has waited too long already."""
        now_s = self._clock()
        before = self.troubles.get(job.job_id)
        times = before.times + 1 if before else 1
        since_s = before.since_s if before else now_s
        pause_s = min(FIRST_PAUSE_S * 2 ** min(times - 1, 10), LONGEST_PAUSE_S)
        if before is None or before.failure.code != failure.code:
            log.warning("job waits", job_id=job.job_id, code=failure.code.value, message=failure.message)
        self._ledger.touched.add(job.job_id)
        self.troubles[job.job_id] = Trouble(failure, since_s, now_s + pause_s, times)
        return now_s - since_s > self._config.intake.give_up_after_s

    def _submit_wake(self, future: "Future[Snapshot] | Future[str]") -> None:
        future.add_done_callback(lambda _done: self._wake())

    def _begin_snapshots(self) -> None:
        queued = self._ledger.in_state(JobState.QUEUED)
        ahead = [job for job in queued if job.input_sha256]
        room = self._config.intake.prefetch - len(ahead) - len(self._snapshots)
        lacking = [job for job in queued if not job.input_sha256 and job.job_id not in self._snapshots]
        for job in run_order(lacking, self._ledger.last_turn_s)[: max(room, 0)]:
            desk = self._desks.get(job.job_id)
            if self.is_held_back(job.job_id):
                continue
            if desk is None or desk.memory.fingerprint is None:
                self._desks.send_back(job, "looked at again")
                continue
            future = self._pool.submit(self._snapshot, job, desk.memory.fingerprint, desk.last.found.pictures)
            self._snapshots[job.job_id] = future
            self._submit_wake(future)

    def _snapshot(self, job: Job, fingerprint: int, pictures: tuple[str, ...]) -> Snapshot:
        limits = self._config.limits
        with folders.opened(self._config.inbox, job.folder) as folder_fd:
            if not is_folder_of(folder_fd, job, self.job_dir(job.job_id)):
                raise ChangedUnderneath("another folder has taken its name")
            try:
                tree = folders.list_tree(folder_fd, limits.tree)
            except CaptureError as error:
                raise ChangedUnderneath(error.message) from None
            if tree.fingerprint != fingerprint:
                raise ChangedUnderneath("files came, went or changed since the last look")
            self._check_space(3 * tree.total_bytes)
            clear_previous(folder_fd, job.job_id)
            return snapshot.take_snapshot(folder_fd, tree, pictures, self.job_dir(job.job_id), limits)

    def _check_space(self, needed_bytes: int) -> None:
        for folder in (self._config.state, self._config.root):
            free_bytes = shutil.disk_usage(folder).free
            if free_bytes < self._config.disk.min_free_bytes + needed_bytes:
                raise OSError(28, f"only {free_bytes:,} bytes are free", str(folder))

    def _collect_snapshots(self) -> None:
        for job_id in [job_id for job_id, future in self._snapshots.items() if future.done()]:
            future = self._snapshots.pop(job_id)
            if job_id not in self._ledger or self._ledger[job_id].state is not JobState.QUEUED:
                continue
            job = self._ledger[job_id]
            try:
                taken = future.result()
            except ChangedUnderneath as error:
                self._desks.send_back(job, str(error))
            except CaptureError as error:
                self._ledger.fail(job, failure_from_error(error))
            except FileNotFoundError:
                self._desks.send_back(job, "the folder moved while it was copied")
            except OSError as error:
                self._hold_or_fail(job, failure_from_os_error(error, "copying the input"))
            except Exception as error:  # a folder that meets a mistake of ours must not end the daemon for all others
                log.exception("snapshot failed", job_id=job_id)
                self._ledger.fail(job, Failure(ErrorCode.INTERNAL_ERROR, f"The folder cannot be copied ({error!r})."))
            else:
                self.troubles.pop(job_id, None)
                failpoints.hit("before:snapshot-recorded")
                self._ledger.update(job, input_sha256=taken.sha256, input_bytes=taken.total_bytes)
                failpoints.hit("after:snapshot-recorded")

    def _hold_or_fail(self, job: Job, failure: Failure) -> None:
        if self.hold_back(job, failure):
            self.troubles.pop(job.job_id, None)
            self._ledger.fail(job, replace(failure, stage="intake"))

    def _begin_publications(self) -> None:
        for job in self._ledger.in_state(JobState.PUBLISHING):
            if job.job_id in self._publications or job.job_id in self._snapshots or self.is_held_back(job.job_id):
                continue
            future = self._pool.submit(self._publish, job)
            self._publications[job.job_id] = future
            self._submit_wake(future)

    def _publish(self, job: Job) -> str:
        return publish(self._config.root, self._publication(job))

    def _publication(self, job: Job) -> Publication:
        job_dir = self.job_dir(job.job_id)
        has_results = job.outcome is JobState.DONE or (
            job.failure is not None and job.failure.code is ErrorCode.QUALITY_TOO_LOW
        )
        return Publication(
            job,
            outcome_json(job, job_dir),
            job_dir / snapshot.OUTPUT_DIR if has_results else None,
            job_dir,
            bool(job.options.get("zip", False)),
            "" if has_results else failure_page(job),
        )

    def _collect_publications(self) -> None:
        for job_id in [job_id for job_id, future in self._publications.items() if future.done()]:
            job, future = self._ledger[job_id], self._publications.pop(job_id)
            assert job.outcome is not None
            try:
                destination = future.result()
            except FolderGone:
                withdraw(self._ledger, job)
            except OSError as error:
                self.hold_back(job, failure_from_os_error(error, "publishing the outcome"))
                continue
            except Exception as error:
                log.exception("publishing failed", job_id=job_id)
                self.hold_back(job, Failure(ErrorCode.INTERNAL_ERROR, f"The outcome cannot be published ({error!r})."))
                continue
            else:
                failpoints.hit("before:publish-recorded")
                ended = self._ledger.move(job, job.outcome, destination, destination=destination)
                failpoints.hit("after:publish-recorded")
                self.notifier.tell(ended)
            self.troubles.pop(job_id, None)
            self._clear_work(job)

    def _clear_work(self, job: Job) -> None:
        failpoints.hit("before:work-removed")
        shutil.rmtree(self.job_dir(job.job_id), ignore_errors=True)
        batch = job.folder.rpartition("/")[0]
        if batch:
            with suppress(OSError), folders.opened(self._config.root, "inbox") as inbox_fd:
                _remove_spent_batch(inbox_fd, batch)
        failpoints.hit("after:work-removed")


def _remove_spent_batch(inbox_fd: int, batch: str) -> None:
    """Take away the folder of a batch whose jobs have all left it."""
    with folders.opened(inbox_fd, batch) as batch_fd:
        left = os.listdir(batch_fd)
        if not all(names.is_ignored(name) or names.is_own(name) or names.control_word(name) for name in left):
            return
        for name in left:
            folders.remove_tree(batch_fd, name)
    os.rmdir(batch, dir_fd=inbox_fd)
