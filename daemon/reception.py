"""The inbox side of the daemon: sees folders come, change, move and go, and tells the table.

A scan lists the share and records what came and went; looks, a few at a time, judge the folders that changed or
whose time has come.  Nothing is concluded from a folder's absence unless the share was there before and after the
listing, and nothing from events at all.
"""

import heapq
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from daemon import archive_drop, failpoints, folders, names
from daemon.config import Config
from daemon.errors import DaemonError, ErrorCode, Failure
from daemon.intake import CONFIRM_NOTE, Look, Memory, Verdict, look
from daemon.jobs import Job, JobState
from daemon.ledger import Ledger
from daemon.mounts import mount_of
from daemon.watcher import Candidate, Scan, Watcher

log = structlog.get_logger()

LOOK_BUDGET_S = 0.25
"""Longest time that one turn spends on looks; the rest has its turn in the next."""
ADMITTED_PER_TURN = 500
"""In one transaction: few enough to cost little memory."""
COARSEST_TICK_S = 2.1
"""Two changes within this may leave one modification time: SFTP counts whole seconds, FAT every other."""
QUEUED_LOOK_S = 5.0
SHORTEST_PAUSE_S = 0.005
PATROL_S = 0.25
"""Pause between looks for CANCEL in the folders of running jobs, which are few."""
IDLE_LOOKS_PER_S = 20.0
"""Folders of which nothing new is known are looked at this often in all, however many there are."""


@dataclass(slots=True)
class Desk:
    """What the reception remembers of one folder."""

    memory: Memory
    last: Look
    changed_s: float = 0.0
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
        self._due: list[tuple[float, str]] = []
        """When whose look is due; an entry that its desk has overtaken is passed over."""
        self._newcomers: dict[str, Candidate] = {}
        self._archives: dict[str, tuple[Candidate, archive_drop.ArchiveMemory]] = {}
        self.cancelling: dict[str, JobState] = {}
        """Running jobs that must stop, and the state in which they end."""
        self.is_scan_wanted = False
        """Whether something was found out that only another listing can show."""
        self._next_patrol_s = 0.0
        self._device, self._is_network = -1, False

    @property
    def settle_s(self) -> float:
        """How long a folder must be quiet; longer where attributes are cached."""
        device = os.stat(self._config.inbox).st_dev
        if device != self._device:
            mount = mount_of(self._config.inbox)
            self._device, self._is_network = device, mount.is_network
            log.info("share mounted", kind=mount.kind, mount_point=str(mount.point), is_network=mount.is_network)
        intake = self._config.intake
        return max(intake.settle_s, intake.network_settle_s) if self._is_network else intake.settle_s

    def desk(self, job_id: str) -> Desk | None:
        """What is known about a job's folder."""
        return self._desks.get(job_id)

    def next_s(self) -> float | None:
        """When the next look is due."""
        if self._newcomers:
            return self._clock()
        deadlines = [memory.next_s for _, memory in self._archives.values()]
        deadlines += [self._due[0][0]] if self._due else []
        deadlines += [self._next_patrol_s] if self._ledger.count(JobState.RUNNING) else []
        return min(deadlines, default=None)

    def scan(self) -> None:
        """List inbox/ and record what came, went and was renamed.

        Raises:
            ShareOffline: The share is away; no job was touched.
        """
        self.is_scan_wanted = False
        scan = self._watcher.scan()
        self._follow_renames(scan.seen)
        self._withdraw_missing(scan)
        for candidate in scan.changed:
            self._receive(candidate)
        unclaimed = scan.seen.keys() - self._ledger.folders()
        self._newcomers = {folder: scan.seen[folder] for folder in unclaimed if not scan.seen[folder].is_archive}
        self._archives = {folder: pair for folder, pair in self._archives.items() if folder in unclaimed}
        for job_id in self._desks.keys() - self._ledger.ids():
            del self._desks[job_id]

    def look_round(self) -> None:
        """Welcome newcomers and look at folders whose time has come, until the budget is spent.

        Raises:
            OSError: The share does not answer.
        """
        started_s = self._clock()
        if started_s >= self._next_patrol_s:
            self._next_patrol_s = started_s + min(PATROL_S, self._config.intake.scan_s)
            self._patrol()
        settle_s = self.settle_s
        self._welcome(settle_s, started_s + LOOK_BUDGET_S)
        for folder in [folder for folder, (_, memory) in self._archives.items() if started_s >= memory.next_s]:
            self._look_at_archive(folder, settle_s)
        while self._due and self._due[0][0] <= self._clock() < started_s + LOOK_BUDGET_S:
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

    def _receive(self, candidate: Candidate) -> None:
        """Make a changed folder's or archive's look due."""
        job = self._ledger.at(candidate.folder)
        if candidate.is_archive:
            known = self._archives.get(candidate.folder)
            self._archives[candidate.folder] = (candidate, known[1] if known else archive_drop.ArchiveMemory())
            self._archives[candidate.folder][1].next_s = 0.0
        elif job is not None:
            self._desk_of(job).changed_s = self._clock()
            self._schedule(job.job_id, self._desk_of(job), 0.0)

    def _desk_of(self, job: Job) -> Desk:
        return self._desks.setdefault(job.job_id, Desk(Memory(), Look(Verdict.WAIT)))

    def send_back(self, job: Job, note: str) -> None:
        """Let a queued job wait again and look at its folder now."""
        self._schedule(job.job_id, self._desk_of(job), 0.0)
        self._ledger.move(job, JobState.WAITING, note, input_sha256="")

    def _welcome(self, settle_s: float, until_s: float) -> None:
        """Record newcomers at once; only what may be a batch of jobs has to be looked at before."""
        admitted: list[tuple[Candidate, Desk]] = []
        while self._newcomers and len(admitted) < ADMITTED_PER_TURN and self._clock() < until_s:
            folder, candidate = next(iter(self._newcomers.items()))
            del self._newcomers[folder]
            desk = Desk(Memory(), Look(Verdict.WAIT), self._clock())
            if "/" not in folder and self._may_be_batch(folder):
                desk.last = self._look(folder, desk, settle_s)
            if desk.last.verdict is Verdict.BATCH:
                self._watcher.batches.add(folder)
                self.is_scan_wanted = True
            else:
                admitted.append((candidate, desk))
        added = self._ledger.add([(item.folder, item.inode, item.owner_uid) for item, _ in admitted])
        desks = {candidate.folder: desk for candidate, desk in admitted}
        for job in added:
            self._desks[job.job_id] = desks[job.folder]
            self._schedule(job.job_id, desks[job.folder], 0.0)

    def _may_be_batch(self, folder: str) -> bool:
        """Whether there are folders in it and nothing else."""
        try:
            with folders.opened(self._config.inbox, folder) as folder_fd, os.scandir(folder_fd) as entries:
                kinds = {entry.is_dir(follow_symlinks=False) for entry in entries if not names.is_ignored(entry.name)}
        except OSError:
            return False
        return kinds == {True}

    def _look(self, folder: str, desk: Desk, settle_s: float) -> Look:
        now_s = self._clock()
        try:
            with folders.opened(self._config.inbox, folder) as folder_fd:
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
        desk.last = self._look(job.folder, desk, settle_s)
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
            self._cancel(job)
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
                self._cancel(job)
            case Verdict.BATCH if "/" not in job.folder:
                self._ledger.move(job, JobState.WITHDRAWN, "became a batch of jobs")
                self._watcher.batches.add(job.folder)
                self.is_scan_wanted = True
            case Verdict.WAIT if job.state is JobState.QUEUED:
                self._ledger.move(job, JobState.WAITING, "changed while queued")

    def _cancel(self, job: Job) -> None:
        if job.state is JobState.RUNNING:
            self.cancelling.setdefault(job.job_id, JobState.CANCELLED)
            return
        cancel(self._ledger, job)

    def _withdraw_missing(self, scan: Scan) -> None:
        for batch in self._watcher.cancelled_batches:
            for job in self._ledger.all():
                if job.folder.startswith(batch + "/") and job.state is not JobState.PUBLISHING:
                    self._cancel(job)
        gone = self._ledger.elsewhere(scan.seen)
        for candidate in scan.changed:
            held = self._ledger.at(candidate.folder)
            if held is not None and candidate.inode != held.inode and not self._is_same_folder(held):
                gone.append(held)
        for job in gone:
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
        lost = {job.inode: job for job in self._ledger.elsewhere(seen)}
        if not lost:
            return
        for candidate in seen.values():
            job = lost.get(candidate.inode)
            if job is not None and not candidate.is_archive and self._ledger.at(candidate.folder) is None:
                log.info("job renamed", job_id=job.job_id, folder=candidate.folder)
                self._ledger.update(job, folder=candidate.folder)

    def _look_at_archive(self, folder: str, settle_s: float) -> None:
        candidate, memory = self._archives[folder]
        with folders.opened(self._config.root, "inbox") as inbox_fd:
            is_taken = archive_drop.receive(inbox_fd, candidate, memory, self._clock(), self._config, settle_s)
        if is_taken:
            del self._archives[folder]
            self.is_scan_wanted = True


def cancel(ledger: Ledger, job: Job) -> None:
    """Decide that a job ends as cancelled."""
    failure = Failure(ErrorCode.JOB_CANCELLED, "The job was cancelled by a file named CANCEL.")
    ledger.move(job, JobState.PUBLISHING, "CANCEL found", outcome=JobState.CANCELLED, failure=failure)


def withdraw(ledger: Ledger, job: Job) -> None:
    """Record that the user deleted the folder."""
    failure = Failure(ErrorCode.JOB_WITHDRAWN, "The folder was deleted or moved away.")
    ledger.move(job, JobState.WITHDRAWN, "folder gone", failure=failure)
