"""When running and queued jobs will be done, from what the job table and the workers know."""

import math
import time
from collections.abc import Callable, Sequence

from daemon import forecast
from daemon.desks import Desks
from daemon.dispatch import Dispatch
from daemon.forecast import Estimate
from daemon.jobs import Job
from daemon.ledger import Ledger

REMEMBER_S = 2.0
"""How long durations of past jobs are kept, so that a long queue costs a handful of queries."""


class Outlook:
    """Forecasts for the status files; asks the table rarely.

    Args:
        ledger: Past jobs.
        desks: Sizes of folders that have not been copied yet.
        dispatch: Progress of the running jobs.
        clock: Monotonic time; tests pass their own.
    """

    def __init__(
        self, ledger: Ledger, desks: Desks, dispatch: Dispatch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._desks = desks
        self._dispatch = dispatch
        self._clock = clock
        self._past_s: dict[tuple[str, int], list[float]] = {}
        self._forget_s = 0.0

    def time_left(self, job: Job) -> Estimate | None:
        """How much longer a running job will take."""
        progress = self._dispatch.progress.get(job.job_id)
        if progress is None:
            return None
        return forecast.time_left(self._durations_s(job), self._clock() - progress.since_s, progress.fraction)

    def queue_ends(self, queued: Sequence[Job]) -> dict[str, Estimate]:
        """How long until each queued job is done; jobs of which that is not known are left out.

        Args:
            queued: The queue from its head, in running order.
        """
        durations = [forecast.whole_job(self._durations_s(job)) for job in queued]
        ends = forecast.queue_ends([self._free(executor.job_id) for executor in self._dispatch.executors], durations)
        return {job.job_id: end for job, end in zip(queued, ends, strict=True) if end is not None}

    def _free(self, job_id: str) -> Estimate | None:
        """When the worker with this job is free."""
        if not job_id:
            return forecast.NOW
        return self.time_left(self._ledger[job_id]) if job_id in self._ledger else None

    def _durations_s(self, job: Job) -> list[float]:
        now_s = self._clock()
        if now_s >= self._forget_s:
            self._past_s.clear()
            self._forget_s = now_s + REMEMBER_S
        size_bytes = self._size_bytes(job)
        key = (job.model, round(4 * math.log2(size_bytes + 1)))  # jobs of nearly one size share their experience
        if key not in self._past_s:
            self._past_s[key] = self._ledger.store.past_durations_s(job.model, size_bytes)
        return self._past_s[key]

    def _size_bytes(self, job: Job) -> int:
        desk = self._desks.get(job.job_id)
        return job.input_bytes or (desk.memory.total_bytes if desk is not None else 0)
