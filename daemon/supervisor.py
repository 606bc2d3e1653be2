"""The loop: scan, file, dispatch, show; and stop when told.

Everything slow happens elsewhere (threads for files, processes for reconstruction), everything decided happens
here, in one thread, so that there is exactly one order of events.  Signal handlers only set a flag.
"""

import os
import selectors
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from daemon import archive_drop, failpoints, folders
from daemon.config import Config
from daemon.desks import COARSEST_TICK_S
from daemon.dispatch import Dispatch
from daemon.errors import ErrorCode, Failure, ShareOffline, StoreFull
from daemon.filing import Filing
from daemon.history import adopt_outcomes
from daemon.jobs import Job, JobState
from daemon.ledger import Ledger
from daemon.notify import ServiceManager
from daemon.publish import rename_numbered
from daemon.reception import Reception
from daemon.retention import remove_expired
from daemon.snapshot import INPUT_DIR, is_same_boot
from daemon.status import StatusBoard
from daemon.store import Store, open_store, upgrade_beside
from daemon.stuck_queue import StuckQueue
from daemon.watcher import Sighting, Watcher

log = structlog.get_logger()

LONGEST_SLEEP_S = 5.0
POLL_BUSY_S = 0.5
SCAN_SHARE = 0.006
"""Largest share of a core that idle scanning may take: an expensive scan is repeated less often."""
SLOWEST_SCAN_S = 10.0
FASTEST_SCAN_SHARE = 0.2
"""Largest share of the loop's time that scans take, be it that events keep arriving or that the share is slow."""
SWITCH_INTERVAL_S = 0.0005
"""For how long another thread may hold the interpreter when the loop comes back from a system call, of which it makes
thousands when many folders arrive; Python's own 5 ms would cost it minutes."""
DEAF_S, DEAF_SCAN_S = 0.6, 0.05
"""For so long after a folder has left inbox/ watchdog holds events back, to pair that with an arrival elsewhere: until
then the loop scans by itself, so often."""
OFFLINE_PAUSE_S = 1.0
PURGE_INTERVAL_S = 30.0
FULL_PAUSE_S = 1.0


def serve_share(config: Config) -> None:
    """Serve until told to stop; when the table's disk is full, begin again as after a crash once there is room.

    Raises:
        StoreError: The table is locked, read-only or damaged; nothing was changed.
    """
    upgrade_beside(config.database)
    while True:
        store = open_store(config.database)
        try:
            Supervisor(config, store).serve()
        except StoreFull as error:
            log.error("the job table cannot be written; waiting for room", reason=str(error))
            time.sleep(FULL_PAUSE_S)
        else:
            return
        finally:
            store.close()


class Supervisor:
    """Owns every part of the daemon and turns them in order."""

    def __init__(self, config: Config, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.ledger = Ledger(store)
        self.watcher = Watcher(config.root, self._wake_to_scan)
        self.reception = Reception(config, self.ledger, self.watcher, clock)
        self.filing = Filing(config, self.ledger, self.reception.desks, self.wake, clock)
        self.dispatch = Dispatch(config, self.ledger, self.reception.desks, self.filing, clock)
        self.board = StatusBoard(config, self.ledger, self.reception.desks, self.filing, self.dispatch, clock)
        self.stuck_queue = StuckQueue(
            config.notify.stuck_after_s, self.ledger, self.dispatch, self.board.health, self.filing.notifier, clock
        )
        self._service = ServiceManager()
        self._without_retry: dict[str, Sighting] = {}
        self._is_stopping = False
        self._next_scan_s = self._next_purge_s = 0.0
        self._earliest_scan_s = self._deaf_until_s = 0.0
        self.ledger.listeners.append(self._expect_deafness)
        self._next_retry_scan_s = 0.0

    def wake(self) -> None:
        """Make the loop turn now; callable from any thread."""
        with suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"t")

    def _wake_to_scan(self) -> None:
        with suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"s")

    def request_stop(self) -> None:
        """Make the loop end after its present turn."""
        self._is_stopping = True
        self.wake()

    def serve(self) -> None:
        """Run until a stop is requested; every job's state is in the table when this returns."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.request_stop())
        self.recover()
        log.info(
            "daemon serves",
            root=str(self._config.root),
            state=str(self._config.state),
            settle_s=self.reception.settle_s,
        )
        is_announced = False
        try:
            while not self._is_stopping:
                self.turn()
                if not is_announced and self.board.health.scan.ended_s is not None:
                    self._service.ready()
                    is_announced = True
                self._service.alive(f"{len(self.ledger)} jobs")
                self.rest()
        finally:
            self._service.stopping()
            self.close()
            log.info("daemon stopped")

    def close(self) -> None:
        """Stop the workers and finish the file work at hand; running jobs go back to the queue."""
        self.watcher.stop_listening()
        self.dispatch.stop()
        self.filing.stop()
        self.filing.notifier.stop()
        self.board.health.is_stopped = True
        self.board.write_health()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def recover(self) -> None:
        """Finish or repeat what was under way when the daemon last ended."""
        adopt_outcomes(self._config.root, self.ledger.store)
        for job in self.ledger.in_state(JobState.RUNNING):
            if job.attempts >= self._config.worker.max_attempts:
                message = f"The reconstruction was interrupted {job.attempts} times."
                self.ledger.fail(job, Failure(ErrorCode.JOB_INTERRUPTED, message, details={"attempts": job.attempts}))
            else:
                self.ledger.move(job, JobState.QUEUED, "interrupted by a stop of the daemon")
        is_kept = is_same_boot(self._config.state)
        for job in self.ledger.in_state(JobState.QUEUED):
            if not job.input_sha256 or not is_kept or not (self.filing.job_dir(job.job_id) / INPUT_DIR).is_dir():
                self.ledger.move(job, JobState.WAITING, "looked at again after a restart", input_sha256="")
        with suppress(OSError), folders.opened(self._config.root, "inbox") as inbox_fd:
            archive_drop.finish_interrupted(inbox_fd)

    def turn(self) -> None:
        """Do everything that is due now, once."""
        now_s = self._clock()
        if now_s >= self._next_scan_s or self.reception.is_scan_wanted:
            self._scan(now_s)
        if not self.board.offline_reason:
            self._look_round()
            self.filing.round()
        self.dispatch.round()
        if not self.board.offline_reason:
            self.filing.round()
        self.stuck_queue.round()
        self.filing.notifier.round()
        self.board.round()
        if now_s >= self._next_purge_s:
            self._next_purge_s = now_s + PURGE_INTERVAL_S
            self._purge_work()
            if not self.board.offline_reason:
                remove_expired(self._config, self.ledger.store, time.time())

    def _scan(self, now_s: float) -> None:
        cost_before_s, scan = time.thread_time(), self.board.health.scan
        try:
            self.reception.scan()
            if now_s >= self._next_retry_scan_s:
                self._next_retry_scan_s = now_s + self._config.intake.scan_s
                self._return_retried()
            self.watcher.listen()
        except (ShareOffline, OSError) as error:
            self._go_offline(str(error))
            return
        if self.board.offline_reason:
            log.info("share online again")
            self.board.offline_reason = ""
        cost_s = time.thread_time() - cost_before_s
        scan.ended_s = self._clock()
        scan.took_s = scan.ended_s - now_s
        pause_s = min(scan.took_s * (1 / FASTEST_SCAN_SHARE - 1), SLOWEST_SCAN_S)
        self._earliest_scan_s = scan.ended_s + pause_s
        idle_s = max(self._config.intake.scan_s, min(cost_s / SCAN_SHARE, SLOWEST_SCAN_S))
        if scan.ended_s < self._deaf_until_s:
            idle_s = DEAF_SCAN_S
        self._next_scan_s = max(now_s + idle_s, self._earliest_scan_s)

    def _expect_deafness(self, job: Job) -> None:
        if not job.is_active:
            now_s = self._clock()
            self._deaf_until_s = now_s + DEAF_S
            self._next_scan_s = min(self._next_scan_s, max(self._earliest_scan_s, now_s + DEAF_SCAN_S))

    def _look_round(self) -> None:
        try:
            self.reception.look_round()
        except OSError as error:
            self._go_offline(f"inbox/ cannot be read: {error.strerror}")

    def _go_offline(self, reason: str) -> None:
        if not self.board.offline_reason:
            log.warning("share offline; jobs keep their state", reason=reason)
        self.board.offline_reason = reason
        self._next_scan_s = self._clock() + min(OFFLINE_PAUSE_S, self._config.intake.scan_s)

    def _return_retried(self) -> None:
        """Move folders in which somebody put RETRY back to the inbox."""
        trust_s = max(COARSEST_TICK_S, self.reception.settle_s)
        for place in self.watcher.wanted_retries(self._without_retry, self._clock(), trust_s):
            parent, _, name = place.rpartition("/")
            try:
                with (
                    folders.opened(self._config.root, parent) as parent_fd,
                    folders.opened(self._config.root, "inbox") as inbox_fd,
                ):
                    failpoints.hit("before:retry-returned")
                    rename_numbered(parent_fd, name, inbox_fd, name)
                    failpoints.hit("after:retry-returned")
                log.info("job returns to the inbox", place=place)
                self.wake()
            except OSError as error:
                log.warning("RETRY cannot be followed", place=place, reason=str(error))

    def _purge_work(self) -> None:
        """Remove private folders of jobs that have ended."""
        with suppress(OSError):
            for folder in self._config.work.iterdir():
                if folder.name not in self.ledger and not self.filing.is_at_work(folder.name):
                    shutil.rmtree(folder, ignore_errors=True)

    def rest(self) -> None:
        """Wait for an event, a worker's message, finished file work, or the next due time."""
        deadlines = [self._next_scan_s, self.dispatch.next_s(), self.filing.next_s(), self.board.next_s()]
        deadlines.append(self._clock() + LONGEST_SLEEP_S)
        if not self.board.offline_reason:
            deadlines.append(self.reception.next_s())
        if any(executor.job_id or not executor.is_idle for executor in self.dispatch.executors):
            deadlines.append(self._clock() + POLL_BUSY_S)
        timeout_s = max(min(deadline for deadline in deadlines if deadline is not None) - self._clock(), 0.0)
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            for executor in self.dispatch.executors:
                if executor.report_fd >= 0:
                    selector.register(executor.report_fd, selectors.EVENT_READ)
            ready = {key.fd for key, _ in selector.select(timeout_s)}
        if self._wake_read in ready:
            self._answer_wake()

    def _answer_wake(self) -> None:
        with suppress(BlockingIOError):
            while reasons := os.read(self._wake_read, 4096):
                if b"s" in reasons:
                    self._next_scan_s = min(self._next_scan_s, max(self._earliest_scan_s, self._clock()))
