"""The inbox side of the daemon: sees folders come, change, move and go, and tells the table.

Called once per scan.  Nothing is concluded from a folder's absence unless the share was there before and after
the listing, and nothing from events at all.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from daemon import archive_drop, failpoints, folders, names
from daemon.config import Config
from daemon.errors import DaemonError, ErrorCode, Failure
from daemon.intake import Look, Memory, Verdict, look
from daemon.jobs import Job, JobState
from daemon.ledger import Ledger
from daemon.mounts import mount_of
from daemon.watcher import Candidate, Watcher

log = structlog.get_logger()

LOOK_BUDGET_S = 1.0
"""Longest time that one round spends on looks; the rest has its turn in the next round."""
RELISTINGS = 2
"""A folder's modification time ticks too coarsely to trust it at once: list it this often after a change."""
QUEUED_LOOK_S = 5.0


@dataclass
class Desk:
    """What the reception remembers of one folder."""

    memory: Memory
    last: Look
    signature: tuple[int, int, int] = (0, 0, 0)
    listings: int = 0
    next_s: float = 0.0


class Reception:
    """Watches inbox/ on behalf of the ledger.

    Args:
        config: Times and limits.
        ledger: Gets every decision.
        watcher: Lists the share.
        clock: Monotonic time.
    """

    def __init__(
        self, config: Config, ledger: Ledger, watcher: Watcher, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._watcher = watcher
        self._clock = clock
        self._desks: dict[str, Desk] = {}
        self._archives: dict[str, archive_drop.ArchiveMemory] = {}
        self.cancelling: dict[str, JobState] = {}
        """Running jobs that must stop, and the state in which they end."""
        self.next_s = 0.0
        self._device, self._is_network = -1, False

    @property
    def settle_s(self) -> float:
        """How long a folder must be quiet; longer where attributes are cached."""
        device = os.stat(self._config.inbox).st_dev
        if device != self._device:
            self._device, self._is_network = device, mount_of(self._config.inbox).is_network
        intake = self._config.intake
        return max(intake.settle_s, intake.network_settle_s) if self._is_network else intake.settle_s

    def desk(self, job_id: str) -> Desk | None:
        """What is known about a job's folder."""
        return self._desks.get(job_id)

    def round(self) -> None:
        """Scan once and act on what is found.

        Raises:
            ShareOffline: The share is away; no job was touched.
        """
        started_s = self._clock()
        seen = {candidate.folder: candidate for candidate in self._watcher.scan()}
        self._follow_renames(seen)
        self._withdraw_missing(seen)
        self.next_s = started_s + self._config.intake.scan_s
        settle_s = self.settle_s
        newcomers: list[tuple[Candidate, Desk]] = []
        looking_since_s = self._clock()
        for candidate in sorted(seen.values(), key=self._urgency):
            if self._clock() - looking_since_s > LOOK_BUDGET_S:
                self.next_s = self._clock()
                break
            job = self._ledger.at(candidate.folder)
            try:
                self._receive(candidate, job, newcomers, settle_s)
            except DaemonError:
                raise
            except Exception:  # a folder that meets a mistake of ours must not end the daemon for all others
                log.exception("folder cannot be handled", folder=candidate.folder)
        self._admit(newcomers)
        self._forget_gone()

    def _urgency(self, candidate: Candidate) -> float:
        """Running jobs first (CANCEL), then new folders, then by when a look is due: nobody starves."""
        job = self._ledger.at(candidate.folder)
        if job is None:
            return -1.0
        desk = self._desks.get(job.job_id)
        return -2.0 if job.state is JobState.RUNNING or desk is None else desk.next_s

    def _receive(
        self, candidate: Candidate, job: Job | None, newcomers: list[tuple[Candidate, Desk]], settle_s: float
    ) -> None:
        if candidate.is_archive:
            self._receive_archive(candidate, settle_s)
        elif job is None:
            self._welcome(candidate, newcomers, settle_s)
        elif job.folder.rpartition("/")[0] in self._watcher.cancelled_batches and job.state is not JobState.PUBLISHING:
            self._cancel(job)
        else:
            self._look_after(job, candidate, settle_s)

    def _welcome(self, candidate: Candidate, newcomers: list[tuple[Candidate, Desk]], settle_s: float) -> None:
        desk = Desk(Memory(), Look(Verdict.WAIT))
        self._take_a_look(candidate, desk, settle_s)
        if desk.last.verdict is Verdict.BATCH and "/" not in candidate.folder:
            self._watcher.batches.add(candidate.folder)
            self.next_s = self._clock()
        else:
            newcomers.append((candidate, desk))

    def _admit(self, newcomers: list[tuple[Candidate, Desk]]) -> None:
        added = self._ledger.add([(item.folder, item.inode, item.owner_uid) for item, _ in newcomers])
        desks = {candidate.folder: desk for candidate, desk in newcomers}
        for job in added:
            self._desks[job.job_id] = desks[job.folder]
            self._act(job, desks[job.folder])

    def _look_after(self, job: Job, candidate: Candidate, settle_s: float) -> None:
        desk = self._desks.setdefault(job.job_id, Desk(Memory(), Look(Verdict.WAIT)))
        if candidate.signature != desk.signature:
            desk.listings = 0
        is_due = desk.listings < RELISTINGS or self._clock() >= desk.next_s
        if job.state is JobState.PUBLISHING:
            return
        if job.state is JobState.RUNNING or (is_due and job.input_sha256):
            self._look_for_cancel(job, candidate, desk)
        elif is_due:
            before = desk.last
            self._take_a_look(candidate, desk, settle_s)
            if (before.found, before.note) != (desk.last.found, desk.last.note):
                self._ledger.touched.add(job.job_id)
            self._act(job, desk)
        self.next_s = min(self.next_s, max(desk.next_s, self._clock()))

    def _take_a_look(self, candidate: Candidate, desk: Desk, settle_s: float) -> None:
        now_s = self._clock()
        desk.signature, desk.listings = candidate.signature, desk.listings + 1
        try:
            with folders.opened(self._config.inbox, candidate.folder) as folder_fd:
                desk.last = look(folder_fd, desk.memory, now_s, self._config, settle_s)
        except FileNotFoundError:
            desk.last = Look(Verdict.WAIT, next_s=now_s)
        except OSError as error:
            desk.last = Look(Verdict.WAIT, note=f"The folder cannot be read: {error.strerror}.", next_s=now_s + 1.0)
        desk.next_s = desk.last.next_s
        self.next_s = min(self.next_s, desk.next_s)

    def _look_for_cancel(self, job: Job, candidate: Candidate, desk: Desk) -> None:
        desk.signature, desk.listings = candidate.signature, desk.listings + 1
        desk.next_s = self._clock() + QUEUED_LOOK_S
        try:
            with folders.opened(self._config.inbox, candidate.folder) as folder_fd:
                present = [name for name in os.listdir(folder_fd) if names.control_word(name) == "cancel"]
        except OSError:
            return
        is_confirmed = not self._config.cancel.confirm or any(names.is_confirmed_cancel(name) for name in present)
        if present and is_confirmed:
            self._cancel(job)

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
                self._cancel(job)
            case Verdict.BATCH if "/" not in job.folder:
                self._ledger.move(job, JobState.WITHDRAWN, "became a batch of jobs")
                self._watcher.batches.add(job.folder)
            case Verdict.WAIT if job.state is JobState.QUEUED:
                self._ledger.move(job, JobState.WAITING, "changed while queued")

    def _cancel(self, job: Job) -> None:
        if job.state is JobState.RUNNING:
            self.cancelling.setdefault(job.job_id, JobState.CANCELLED)
            return
        cancel(self._ledger, job)

    def _withdraw_missing(self, seen: dict[str, Candidate]) -> None:
        for job in self._ledger.all():
            candidate = seen.get(job.folder)
            if candidate is not None and (candidate.inode == job.inode or self._is_same_folder(job)):
                continue
            if job.state is JobState.RUNNING:
                self.cancelling[job.job_id] = JobState.WITHDRAWN
            elif job.state is not JobState.PUBLISHING:
                withdraw(self._ledger, job)

    def _is_same_folder(self, job: Job) -> bool:
        """Inodes may change on network mounts; our own status.json in the folder tells for sure."""
        try:
            with folders.opened(self._config.inbox, job.folder) as folder_fd:
                inode = os.fstat(folder_fd).st_ino
                is_same = folders.read_own_json(folder_fd, "status.json").get("job_id") == job.job_id
        except OSError:
            return True
        if is_same:
            self._ledger.update(job, inode=inode)
        return is_same

    def _follow_renames(self, seen: dict[str, Candidate]) -> None:
        lost = {job.inode: job for job in self._ledger.all() if job.folder not in seen}
        if not lost:
            return
        for candidate in seen.values():
            job = lost.get(candidate.inode)
            if job is not None and not candidate.is_archive and self._ledger.at(candidate.folder) is None:
                log.info("job renamed", job_id=job.job_id, folder=candidate.folder)
                self._ledger.update(job, folder=candidate.folder)

    def _receive_archive(self, candidate: Candidate, settle_s: float) -> None:
        memory = self._archives.setdefault(candidate.folder, archive_drop.ArchiveMemory())
        with folders.opened(self._config.root, "inbox") as inbox_fd:
            is_taken = archive_drop.receive(inbox_fd, candidate, memory, self._clock(), self._config, settle_s)
        if is_taken:
            del self._archives[candidate.folder]
        self.next_s = min(self.next_s, self._clock() if is_taken else memory.next_s)

    def _forget_gone(self) -> None:
        for job_id in [job_id for job_id in self._desks if job_id not in self._ledger]:
            del self._desks[job_id]


def cancel(ledger: Ledger, job: Job) -> None:
    """Decide that a job ends as cancelled."""
    failure = Failure(ErrorCode.JOB_CANCELLED, "The job was cancelled by a file named CANCEL.")
    ledger.move(job, JobState.PUBLISHING, "CANCEL found", outcome=JobState.CANCELLED, failure=failure)


def withdraw(ledger: Ledger, job: Job) -> None:
    """Record that the user deleted the folder."""
    failure = Failure(ErrorCode.JOB_WITHDRAWN, "The folder was deleted or moved away.")
    ledger.move(job, JobState.WITHDRAWN, "folder gone", failure=failure)
