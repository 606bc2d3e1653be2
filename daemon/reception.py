"""The inbox side of the daemon: sees folders come, change, move and go, and tells the table.

A scan lists the share and records what came and went; looks, a few at a time, judge the folders that changed or
whose time has come.  Nothing is concluded from a folder's absence unless the share was there before and after the
listing, and nothing from events at all.
"""

import os
import time
from collections.abc import Callable

import structlog

from daemon import archive_drop, folders, names
from daemon.config import Config
from daemon.desks import Desk, Desks, withdraw
from daemon.identity import is_folder_of
from daemon.intake import Look, Memory, Verdict
from daemon.jobs import Job, JobState
from daemon.ledger import Ledger
from daemon.mounts import mount_of
from daemon.watcher import Candidate, Scan, Watcher

log = structlog.get_logger()

LOOK_BUDGET_S = 0.25
"""Longest time that one turn spends on looks; the rest has its turn in the next."""
ADMITTED_PER_TURN = 500
"""In one transaction: few enough to cost little memory."""


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
        self.desks = Desks(config, ledger, self._found_batch, clock)
        self._newcomers: dict[str, Candidate] = {}
        self._archives: dict[str, tuple[Candidate, archive_drop.ArchiveMemory]] = {}
        self.is_scan_wanted = False
        """Whether something was found out that only another listing can show."""
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

    def next_s(self) -> float | None:
        """When the next look is due."""
        if self._newcomers:
            return self._clock()
        deadlines = [memory.next_s for _, memory in self._archives.values()]
        deadlines += [due_s for due_s in (self.desks.next_s(),) if due_s is not None]
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
        self.desks.forget_ended()

    def look_round(self) -> None:
        """Welcome newcomers and look at folders whose time has come, until the budget is spent.

        Raises:
            OSError: The share does not answer.
        """
        until_s = self._clock() + LOOK_BUDGET_S
        settle_s = self.settle_s
        if self._newcomers:
            self._welcome(settle_s, until_s)
        for folder in [folder for folder, (_, memory) in self._archives.items() if self._clock() >= memory.next_s]:
            self._look_at_archive(folder, settle_s)
        self.desks.round(settle_s, until_s)

    def _receive(self, candidate: Candidate) -> None:
        """Make a changed folder's or archive's look due."""
        job = self._ledger.at(candidate.folder)
        if candidate.is_archive:
            known = self._archives.get(candidate.folder)
            self._archives[candidate.folder] = (candidate, known[1] if known else archive_drop.ArchiveMemory())
            self._archives[candidate.folder][1].next_s = 0.0
        elif job is not None:
            self.desks.note_change(job)

    def _welcome(self, settle_s: float, until_s: float) -> None:
        """Record newcomers at once; only what may be a batch of jobs has to be looked at before."""
        admitted: list[tuple[Candidate, Desk]] = []
        with folders.opened(self._config.root, "inbox") as inbox_fd:
            while self._newcomers and len(admitted) < ADMITTED_PER_TURN and self._clock() < until_s:
                folder, candidate = next(iter(self._newcomers.items()))
                del self._newcomers[folder]
                desk = Desk(Memory(), Look(Verdict.WAIT), self._clock())
                if "/" not in folder and self._may_be_batch(inbox_fd, folder):
                    desk.last = self.desks.look(folder, desk, settle_s)
                if desk.last.verdict is Verdict.BATCH:
                    self._found_batch(folder)
                else:
                    admitted.append((candidate, desk))
        added = self._ledger.add([(item.folder, item.inode, item.owner_uid) for item, _ in admitted])
        desks = {candidate.folder: desk for candidate, desk in admitted}
        for job in added:
            self.desks.open(job, desks[job.folder])

    def _found_batch(self, folder: str) -> None:
        self._watcher.batches.add(folder)
        self.is_scan_wanted = True

    def _may_be_batch(self, inbox_fd: int, folder: str) -> bool:
        """Whether there are folders in it and nothing else."""
        try:
            with folders.opened(inbox_fd, folder) as folder_fd, os.scandir(folder_fd) as entries:
                kinds = {entry.is_dir(follow_symlinks=False) for entry in entries if not names.is_ignored(entry.name)}
        except OSError:
            return False
        return kinds == {True}

    def _withdraw_missing(self, scan: Scan) -> None:
        for batch in self._watcher.cancelled_batches:
            for job in self._ledger.all():
                if job.folder.startswith(batch + "/") and job.state is not JobState.PUBLISHING:
                    self.desks.cancel(job)
        gone = self._ledger.elsewhere(scan.seen)
        for candidate in scan.changed:
            held = self._ledger.at(candidate.folder)
            is_doubtful = held is not None and (candidate.inode != held.inode or held.input_sha256)
            if held is not None and is_doubtful and not self._is_same_folder(held):
                gone.append(held)
        for job in gone:
            if job.state is JobState.RUNNING:
                self.desks.cancelling[job.job_id] = JobState.WITHDRAWN
            elif job.state is not JobState.PUBLISHING:
                withdraw(self._ledger, job)

    def _is_same_folder(self, job: Job) -> bool:
        """Whether the folder of the job's name is still the job's; its inode may change on network mounts."""
        try:
            with folders.opened(self._config.inbox, job.folder) as folder_fd:
                if not self._is_folder_of(folder_fd, job):
                    return False
                inode = os.fstat(folder_fd).st_ino
        except OSError:
            return True
        if inode != job.inode:
            self._ledger.update(job, inode=inode)
        return True

    def _is_surely(self, job: Job, folder: str) -> bool:
        try:
            with folders.opened(self._config.inbox, folder) as folder_fd:
                return self._is_folder_of(folder_fd, job)
        except OSError:
            return False

    def _is_folder_of(self, folder_fd: int, job: Job) -> bool:
        return is_folder_of(folder_fd, job, self._config.work / job.job_id)

    def _follow_renames(self, seen: dict[str, Candidate]) -> None:
        lost = {job.inode: job for job in self._ledger.elsewhere(seen)}
        if not lost:
            return
        for candidate in seen.values():
            job = lost.get(candidate.inode)
            if job is None or candidate.is_archive or self._ledger.at(candidate.folder) is not None:
                continue
            # A deleted folder's inode soon belongs to another; results must not end up in a stranger's folder.
            if not job.input_sha256 or self._is_surely(job, candidate.folder):
                log.info("job renamed", job_id=job.job_id, folder=candidate.folder)
                self._ledger.update(job, folder=candidate.folder)

    def _look_at_archive(self, folder: str, settle_s: float) -> None:
        candidate, memory = self._archives[folder]
        with folders.opened(self._config.root, "inbox") as inbox_fd:
            is_taken = archive_drop.receive(inbox_fd, candidate, memory, self._clock(), self._config, settle_s)
        if is_taken:
            del self._archives[folder]
            self.is_scan_wanted = True
