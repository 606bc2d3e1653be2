"""Notices that jobs wait and nothing comes forward, and says so once."""

import time
from collections.abc import Callable

import structlog

from daemon.dispatch import Dispatch
from daemon.health import Health
from daemon.jobs import JobState
from daemon.ledger import Ledger
from daemon.notify import Notifier

log = structlog.get_logger()


class StuckQueue:
    """Watches the running jobs on behalf of the waiting ones.

    Args:
        stuck_after_s: How long nothing may come forward.
        ledger: Knows who waits.
        dispatch: Knows how far the running jobs are.
        health: Is told.
        notifier: Tells people.
        clock: Monotonic time.
    """

    def __init__(
        self,
        stuck_after_s: float,
        ledger: Ledger,
        dispatch: Dispatch,
        health: Health,
        notifier: Notifier,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stuck_after_s = stuck_after_s
        self._ledger = ledger
        self._dispatch = dispatch
        self._health = health
        self._notifier = notifier
        self._clock = clock
        self._ended_runs = 0
        self._furthest: dict[str, float] = {}
        self._since_s = clock()

    def round(self) -> None:
        """Compare with the last time."""
        now_s, waiting = self._clock(), self._ledger.count(JobState.QUEUED)
        if self._has_come_forward() or not waiting:
            self._since_s, self._health.is_stuck = now_s, False
        elif not self._health.is_stuck and now_s - self._since_s >= self._stuck_after_s:
            self._health.is_stuck = True
            sentence = f"{waiting} jobs wait, and none has come forward for {now_s - self._since_s:.0f} s."
            log.error("queue is stuck", waiting=waiting)
            self._notifier.warn("stuck", "Meshdrop: the queue is stuck", f"{sentence}\nRun: meshdrop doctor")

    def _has_come_forward(self) -> bool:
        """Whether a job ended or got further than ever; one that starts again and again does neither."""
        has_ended, self._ended_runs = self._ledger.ended_runs != self._ended_runs, self._ledger.ended_runs
        before = self._furthest
        self._furthest = {job_id: fraction for job_id, fraction in before.items() if job_id in self._ledger}
        for job_id, progress in self._dispatch.progress.items():
            self._furthest[job_id] = max(progress.fraction, before.get(job_id, 0.0))
        has_advanced = any(fraction > before.get(job_id, 0.0) for job_id, fraction in self._furthest.items())
        return has_ended or has_advanced
