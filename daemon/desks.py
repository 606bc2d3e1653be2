"""The desks of the reception: what is known of each folder, when it is looked at again, and what a look leads to."""

import heapq
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from daemon import failpoints, folders, names
from daemon.config import Config
from daemon.errors import DaemonError, ErrorCode, Failure
from daemon.identity import is_folder_of
from daemon.intake import CONFIRM_NOTE, Look, Memory, Verdict, look
from daemon.jobs import Job, JobState
from daemon.ledger import Ledger

log = structlog.get_logger()

COARSEST_TICK_S = 2.1
"""Two changes within this may leave one modification time: SFTP counts whole seconds, FAT every other."""
SHORTEST_PAUSE_S = 0.005
PATROL_S = 0.25
"""Pause between looks for CANCEL in the folders of running jobs, which are few."""
QUEUED_LOOK_S = 5.0
IDLE_LOOKS_PER_S = 20.0
"""Folders of which nothing new is known are looked at this often in all, however many there are."""


@dataclass(slots=True)
class Desk:
    """What the reception remembers of one folder."""

    memory: Memory
    last: Look
    changed_s: float = 0.0
    next_s: float = 0.0


class Desks:
    """Looks at the folders of active jobs when they changed or their time has come.

    Args:
        config: Times and limits.
        ledger: Gets every decision.
        found_batch: Called with a folder that turned out to be a batch of jobs.
        clock: Monotonic time.
    """

    def __init__(
        self, config: Config, ledger: Ledger, found_batch: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._found_batch = found_batch
        self._clock = clock
        self._desks: dict[str, Desk] = {}
        self._due: list[tuple[float, str]] = []
        """When whose look is due; an entry that its desk has overtaken is passed over."""
        self.cancelling: dict[str, JobState] = {}
        """Running jobs that must stop, and the state in which they end."""
        self._next_patrol_s = 0.0

    def get(self, job_id: str) -> Desk | None:
        """What is known about a job's folder."""
        return self._desks.get(job_id)

    def open(self, job: Job, desk: Desk) -> None:
        """Begin with a folder that has just become a job."""
        self._desks[job.job_id] = desk
        self._schedule(job.job_id, desk, 0.0)

    def note_change(self, job: Job) -> None:
        """Look at a folder now, because something was added, removed or renamed in it."""
        desk = self._desk_of(job)
        desk.changed_s = self._clock()
        self._schedule(job.job_id, desk, 0.0)

    def forget_ended(self) -> None:
        """Drop the desks of jobs that are no longer active."""
        for job_id in self._desks.keys() - self._ledger.ids():
            del self._desks[job_id]

    def next_s(self) -> float | None:
        """When the next look is due."""
        deadlines = [self._due[0][0]] if self._due else []
        deadlines += [self._next_patrol_s] if self._ledger.count(JobState.RUNNING) else []
        return min(deadlines, default=None)

    def round(self, settle_s: float, until_s: float) -> None:
        """Take the looks that are due, for as long as the budget lasts."""
        if self._clock() >= self._next_patrol_s:
            self._next_patrol_s = self._clock() + min(PATROL_S, self._config.intake.scan_s)
            self._patrol()
        while self._due and self._due[0][0] <= self._clock() < until_s:
            due_s, job_id = heapq.heappop(self._due)
            desk = self._desks.get(job_id)
            if desk is not None and desk.next_s == due_s and job_id in self._ledger:
                try:
                    self._look_after(self._ledger[job_id], desk, settle_s)
                except DaemonError:
                    raise
                except Exception:  # a folder that meets a mistake of ours must not end the daemon for all others
                    log.exception("folder cannot be handled", job_id=job_id)
                    self._schedule(job_id, desk, self._clock() + QUEUED_LOOK_S)

    def _schedule(self, job_id: str, desk: Desk, due_s: float) -> None:
        desk.next_s = due_s
        heapq.heappush(self._due, (due_s, job_id))

    def _desk_of(self, job: Job) -> Desk:
        return self._desks.setdefault(job.job_id, Desk(Memory(), Look(Verdict.WAIT)))

    def send_back(self, job: Job, note: str) -> None:
        """Let a queued job wait again and look at its folder now."""
        self._schedule(job.job_id, self._desk_of(job), 0.0)
        self._ledger.move(job, JobState.WAITING, note, input_sha256="")

    def look(self, folder: str, desk: Desk, settle_s: float, job: Job | None = None) -> Look:
        """Look at a folder that may not be there any more, or may not be the job's any more."""
        now_s = self._clock()
        try:
            with folders.opened(self._config.inbox, folder) as folder_fd:
                if job is not None and not is_folder_of(folder_fd, job, self._config.work / job.job_id):
                    return Look(Verdict.WAIT, next_s=now_s + self._config.intake.scan_s)
                return look(folder_fd, desk.memory, now_s, self._config, settle_s)
        except FileNotFoundError:
            return Look(Verdict.WAIT, next_s=now_s + self._config.intake.scan_s)
        except OSError as error:
            return Look(Verdict.WAIT, note=f"The folder cannot be read: {error.strerror}.", next_s=now_s + 1.0)

    def _look_after(self, job: Job, desk: Desk, settle_s: float) -> None:
        if job.state is JobState.PUBLISHING:
            return
        if job.state is JobState.RUNNING or job.input_sha256:
            self._look_for_cancel(job, desk)
            self._schedule(job.job_id, desk, self._clock() + QUEUED_LOOK_S)
            return
        before = desk.last
        desk.last = self.look(job.folder, desk, settle_s, job)
        if (before.found, before.note) != (desk.last.found, desk.last.note):
            self._ledger.touched.add(job.job_id)
        self._act(job, desk)
        if job.job_id in self._ledger:
            self._schedule(job.job_id, desk, self._next_look_s(self._ledger[job.job_id], desk, settle_s))

    def _next_look_s(self, job: Job, desk: Desk, settle_s: float) -> float:
        now_s = self._clock()
        due_s = desk.last.next_s if job.state is JobState.WAITING else now_s + QUEUED_LOOK_S
        # Until then a further change may not show, neither in the folder's time nor in a cached listing.
        doubtful_s = desk.changed_s + max(COARSEST_TICK_S, settle_s) - now_s
        if doubtful_s > 0:
            pause_s = max(self._config.intake.scan_s, (now_s - desk.changed_s) / 2)
            due_s = min(due_s, now_s + min(pause_s, doubtful_s))
        elif due_s - now_s >= QUEUED_LOOK_S:
            # Rarer in a crowd: a change in the folder itself is seen by the scan, and the snapshot looks again.
            due_s = max(due_s, now_s + len(self._desks) / IDLE_LOOKS_PER_S)
        return max(due_s, now_s + SHORTEST_PAUSE_S)

    def _patrol(self) -> None:
        """Look for CANCEL in running jobs, often and however many folders wait."""
        for job in self._ledger.in_state(JobState.RUNNING):
            self._look_for_cancel(job, self._desk_of(job))

    def _look_for_cancel(self, job: Job, desk: Desk) -> None:
        try:
            with folders.opened(self._config.inbox, job.folder) as folder_fd:
                present = [name for name in os.listdir(folder_fd) if names.control_word(name) == "cancel"]
        except OSError:
            return
        is_confirmed = not self._config.cancel.confirm or any(names.is_confirmed_cancel(name) for name in present)
        if present and is_confirmed:
            self.cancel(job)
        elif bool(present) != (desk.last.note == CONFIRM_NOTE):
            desk.last = replace(desk.last, note=CONFIRM_NOTE if present else "")
            self._ledger.touched.add(job.job_id)

    def _act(self, job: Job, desk: Desk) -> None:
        found = desk.last.found
        match desk.last.verdict:
            case Verdict.TAKE if job.state is JobState.WAITING:
                options = found.options
                assert options is not None
                chosen = options.model_dump(mode="json", exclude_defaults=True)
                failpoints.hit("before:job-queued")
                self._ledger.move(
                    job, JobState.QUEUED, "complete", options=chosen, priority=options.priority, model=options.model
                )
                failpoints.hit("after:job-queued")
            case Verdict.REFUSE:
                assert desk.last.failure is not None
                self._ledger.fail(job, desk.last.failure)
            case Verdict.CANCEL:
                self.cancel(job)
            case Verdict.BATCH if "/" not in job.folder:
                self._ledger.move(job, JobState.WITHDRAWN, "became a batch of jobs")
                self._found_batch(job.folder)
            case Verdict.WAIT if job.state is JobState.QUEUED:
                self._ledger.move(job, JobState.WAITING, "changed while queued")

    def cancel(self, job: Job) -> None:
        """Decide that a job ends as cancelled; a running one has to stop first."""
        if job.state is JobState.RUNNING:
            self.cancelling.setdefault(job.job_id, JobState.CANCELLED)
            return
        cancel(self._ledger, job)


def cancel(ledger: Ledger, job: Job) -> None:
    """Decide that a job ends as cancelled."""
    failure = Failure(ErrorCode.JOB_CANCELLED, "The job was cancelled by a file named CANCEL.")
    ledger.move(job, JobState.PUBLISHING, "CANCEL found", outcome=JobState.CANCELLED, failure=failure)


def withdraw(ledger: Ledger, job: Job) -> None:
    """Record that the user deleted the folder."""
    failure = Failure(ErrorCode.JOB_WITHDRAWN, "The folder was deleted or moved away.")
    ledger.move(job, JobState.WITHDRAWN, "folder gone", failure=failure)
