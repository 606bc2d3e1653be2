"""What users and operators see: status.json in each job's folder, status.html on the share, health and metrics.

All of it is derived and may be lost; nothing is ever read back from it except our own job id.
"""

import json
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import structlog

from daemon import folders
from daemon.config import Config
from daemon.desks import Desks
from daemon.device import worker_in_words
from daemon.dispatch import Dispatch, Progress
from daemon.filing import Filing
from daemon.forecast import Estimate
from daemon.health import Health
from daemon.identity import is_folder_of
from daemon.intake import CONFIRM_NOTE
from daemon.jobs import ACTIVE, Job, JobState, run_order
from daemon.ledger import Ledger
from daemon.metrics import Metrics
from daemon.names import shown
from daemon.outcome import iso_time
from daemon.outlook import Outlook
from daemon.share_page import SharePage, disk_row, queue_row, render_page, result_card, running_card

log = structlog.get_logger()

FASTEST_WRITE_S = 1.0
PAGE_INTERVAL_S = 2.0
PAGE_LONGEST_S = 30.0
"""The page is written at least this often, so that its age tells whether the daemon lives."""
QUEUE_TELL_S = 10.0
"""How often queued jobs hear how their time to wait has changed."""
WRITE_BUDGET_S = 0.05
"""Longest time that one turn spends on status files: what is new on the share is recorded first."""
ROWS = 50
RESULTS = 24


class StatusBoard:
    """Writes status files, each at most once a second and only when something changed."""

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        desks: Desks,
        filing: Filing,
        dispatch: Dispatch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._desks = desks
        self._filing = filing
        self._dispatch = dispatch
        self._outlook = Outlook(ledger, desks, dispatch, clock)
        self._clock = clock
        self._written_s: dict[str, float] = {}
        self._positions: dict[str, int] = {}
        self._queue_ends: dict[str, Estimate] = {}
        self._page_s = self._page_written_s = 0.0
        self._forecast_s = self._queue_told_s = -QUEUE_TELL_S
        self._told: dict[str, dict[str, object]] = {}
        self._page_count = -1
        self._is_page_stale = True
        self._is_behind = False
        self.offline_reason = ""
        self.health = Health(config, ledger, filing, dispatch, clock)
        self._metrics = Metrics(config.state, ledger)

    def round(self) -> None:
        """Write what has changed."""
        now_s = self._clock()
        positions = self.positions()
        moved = {job_id for job_id, place in positions.items() if self._positions.get(job_id) != place}
        self._positions = positions
        self._ledger.touched |= moved
        self._forecast_queue(now_s)
        self._is_page_stale |= bool(self._ledger.touched)
        self._write_touched(now_s)
        self._is_page_stale |= len(self._ledger) != self._page_count
        if now_s - self._page_s >= PAGE_INTERVAL_S:
            self._page_s = now_s
            recently_s = now_s - FASTEST_WRITE_S
            self._written_s = {job_id: at_s for job_id, at_s in self._written_s.items() if at_s > recently_s}
            if self._is_page_stale or now_s - self._page_written_s >= PAGE_LONGEST_S:
                self._page_written_s = now_s
                self._is_page_stale, self._page_count = False, len(self._ledger)
                self._write_page()
            self.write_health()

    def _write_touched(self, now_s: float) -> None:
        """Write status files until the budget is spent; the rest has its turn in the next."""
        until_s = self._clock() + WRITE_BUDGET_S
        self._is_behind = False
        for job_id in list(self._ledger.touched):
            if job_id not in self._ledger or self._ledger[job_id].state is JobState.PUBLISHING:
                self._ledger.touched.discard(job_id)
                self._written_s.pop(job_id, None)
            elif now_s - self._written_s.get(job_id, -FASTEST_WRITE_S) >= FASTEST_WRITE_S:
                if self._clock() >= until_s:
                    self._is_behind = True
                    return
                self._ledger.touched.discard(job_id)
                self._written_s[job_id] = now_s
                self._write(self._ledger[job_id], self.describe(self._ledger[job_id], self._positions.get(job_id)))

    def _forecast_queue(self, now_s: float) -> None:
        """Only as often as somebody could read it: the loop turns far more often."""
        if now_s - self._forecast_s < FASTEST_WRITE_S:
            return
        self._forecast_s = now_s
        queued = [self._ledger[job_id] for job_id in self._positions]
        self._queue_ends = self._outlook.queue_ends(queued) if queued else {}
        self._tell_queue(now_s)

    def _tell_queue(self, now_s: float) -> None:
        """Renew status.json of queued jobs when a forecast appears or goes, and now and then as time passes."""
        is_due = now_s - self._queue_told_s >= QUEUE_TELL_S
        if is_due:
            self._queue_told_s = now_s
        told: dict[str, dict[str, object]] = {}
        for job_id in self._positions:
            before, now = self._told.get(job_id, {}), _eta(self._queue_ends.get(job_id))
            is_news = before != now and (is_due or not before or not now)
            told[job_id] = now if is_news else before
            if is_news:
                self._ledger.touched.add(job_id)
        self._told = told

    def next_s(self) -> float | None:
        """When something that waits for its second may be written."""
        pause_s = 0.0 if self._is_behind else FASTEST_WRITE_S / 4
        return self._clock() + pause_s if self._ledger.touched else None

    def positions(self) -> dict[str, int]:
        """Places in the queue, the next one being 1; far places are not told because they change all the time."""
        turns = run_order(self._ledger.in_state(JobState.QUEUED), self._ledger.last_turn_s)
        return {job.job_id: place for place, job in enumerate(turns[:ROWS], start=1)}

    def describe(self, job: Job, position: int | None) -> dict[str, object]:
        """The content of status.json."""
        about: dict[str, object] = {
            "job_id": job.job_id,
            "name": shown(job.folder),
            "state": job.state.value,
            "message": self._message(job, position),
            "created": iso_time(job.created_at_s),
            "queued": iso_time(job.queued_at_s),
            "started": iso_time(job.started_at_s),
            "attempt": job.attempts,
        }
        if position is not None:
            about["queue_position"] = position
        desk = self._desks.get(job.job_id)
        if job.state is JobState.WAITING and desk is not None:
            found = desk.last.found
            about["missing"] = [shown(name) for name in found.missing]
            about["unfinished"] = [
                {"file": shown(item.file), "fraction": round(item.fraction, 2)} for item in found.unfinished
            ]
        progress = self._dispatch.progress.get(job.job_id)
        if job.state is JobState.RUNNING and progress is not None:
            about |= {"model": progress.model, "stage": progress.stage, "fraction": round(progress.fraction, 3)}
            about |= _eta(self._outlook.time_left(job))
        elif position is not None:
            about |= _eta(self._queue_ends.get(job.job_id))
        trouble = self._filing.troubles.get(job.job_id)
        if trouble is not None:
            about["waiting_for"] = trouble.failure.to_json()
        return about

    def _message(self, job: Job, position: int | None) -> str:
        trouble = self._filing.troubles.get(job.job_id)
        if trouble is not None:
            return trouble.failure.message
        if job.state is JobState.WAITING:
            return self._waiting_message(job)
        if job.state is JobState.QUEUED:
            return (f"Number {position} in the queue." if position else "In the queue.") + self._cancel_note(job)
        if job.state is JobState.PUBLISHING:
            return "Being put on the share."
        progress = self._dispatch.progress.get(job.job_id, Progress())
        return f"Running: {progress.stage}, {progress.fraction:.0%}.{self._cancel_note(job)}"

    def _cancel_note(self, job: Job) -> str:
        """The answer to the first step of a two-step cancellation."""
        desk = self._desks.get(job.job_id)
        return f" {CONFIRM_NOTE}" if desk is not None and desk.last.note == CONFIRM_NOTE else ""

    def _waiting_message(self, job: Job) -> str:
        desk = self._desks.get(job.job_id)
        if desk is None:
            return "Being looked at."
        found = desk.last.found
        if desk.last.note:
            return desk.last.note
        if found.unfinished:
            first = found.unfinished[0]
            return f"Waiting: {shown(first.file)} is incomplete ({first.fraction:.0%})."
        if found.missing:
            listed = ", ".join(shown(name) for name in found.missing[:4])
            return f"Waiting for {listed}{' and more' if len(found.missing) > 4 else ''}."
        return "Complete; waiting until nothing changes any more."

    def _write(self, job: Job, content: dict[str, object]) -> None:
        data = json.dumps(content | {"updated": iso_time(time.time())}, indent=1).encode() + b"\n"
        try:
            with folders.opened(self._config.inbox, job.folder) as folder_fd:
                # In another folder of this name it would make that folder the job's own.
                if is_folder_of(folder_fd, job, self._filing.job_dir(job.job_id)):
                    folders.write_file(folder_fd, "status.json", data, is_durable=False)
        except OSError as error:
            log.debug("status not written", job_id=job.job_id, reason=str(error))

    def write_health(self) -> None:
        """health.json and metrics.prom, for monitoring."""
        try:
            report = self.health.report(self.offline_reason)
            self.health.write(report)
            self._metrics.write(report)
        except OSError as error:
            log.warning("health and metrics not written", reason=str(error))

    def _write_page(self) -> None:
        if self.offline_reason:
            return
        try:
            page = render_page(self._share_page())
            with folders.opened(self._config.root.parent, self._config.root.name) as root_fd:
                folders.write_file(root_fd, "status.html", page.encode(), is_durable=False)
        except OSError as error:
            log.debug("status page not written", reason=str(error))

    def _share_page(self) -> SharePage:
        running = []
        for job in islice(self._ledger.in_state(JobState.RUNNING), ROWS):
            progress = self._dispatch.progress.get(job.job_id, Progress())
            has_preview = (self._config.inbox / job.folder / "preview.png").exists()
            left = self._outlook.time_left(job)
            running.append(running_card(job, progress, left, has_preview=has_preview))
        queued = [self._ledger[job_id] for job_id in self._positions]
        others = [*self._ledger.in_state(JobState.PUBLISHING), *queued, *self._ledger.in_state(JobState.WAITING)]
        queue = [
            queue_row(job, self._positions.get(job.job_id), self._message(job, None), self._queue_ends.get(job.job_id))
            for job in others[:ROWS]
        ]
        config = self._config
        disks = [disk_row(name, folder, config.disk.min_free_bytes) for name, folder in _disks(config)]
        return SharePage(
            written_s=time.time(),
            counts={state.value: self._ledger.count(state) for state in ACTIVE},
            running=running,
            queue=queue,
            more=len(self._ledger) - self._ledger.count(JobState.RUNNING) - len(queue),
            results=[result_card(job) for job in self._ledger.store.recent(RESULTS)],
            disks=[row for row in disks if row is not None],
            devices=[
                worker_in_words(executor.probe, is_started=executor.pid != 0, is_busy=bool(executor.job_id))
                for executor in self._dispatch.executors
            ],
        )


def _eta(estimate: Estimate | None) -> dict[str, object]:
    return estimate.to_json() if estimate else {}


def _disks(config: Config) -> list[tuple[str, Path]]:
    return [("Share", config.root), ("Work in progress", config.state)]
