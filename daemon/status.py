"""What users and operators see: status.json in each job's folder, status.html on the share, health and metrics.

All of it is derived and may be lost; nothing is ever read back from it except our own job id.
"""

import html
import json
import os
import statistics
import time
from collections.abc import Callable
from itertools import islice

import structlog

from daemon import folders
from daemon.config import Config
from daemon.desks import Desks
from daemon.dispatch import Dispatch, Progress
from daemon.filing import Filing
from daemon.intake import CONFIRM_NOTE
from daemon.jobs import ACTIVE, Job, JobState, run_order
from daemon.ledger import Ledger
from daemon.metrics import write_metrics
from daemon.names import shown
from daemon.outcome import iso_time
from daemon.snapshot import write_durably

log = structlog.get_logger()

FASTEST_WRITE_S = 1.0
PAGE_INTERVAL_S = 2.0
WRITES_PER_ROUND = 200
ROWS = 50
_SHOWN_FIRST = (JobState.RUNNING, JobState.PUBLISHING, JobState.QUEUED, JobState.WAITING)


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
        self._clock = clock
        self._written_s: dict[str, float] = {}
        self._positions: dict[str, int] = {}
        self._page_s = 0.0
        self._page = ""
        self._page_count = -1
        self._is_page_stale = True
        self.offline_reason = ""

    def round(self) -> None:
        """Write what has changed."""
        now_s = self._clock()
        positions = self.positions()
        moved = {job_id for job_id, place in positions.items() if self._positions.get(job_id) != place}
        self._positions = positions
        self._ledger.touched |= moved
        budget = WRITES_PER_ROUND
        self._is_page_stale |= bool(self._ledger.touched)
        for job_id in list(self._ledger.touched):
            if job_id not in self._ledger or self._ledger[job_id].state is JobState.PUBLISHING:
                self._ledger.touched.discard(job_id)
                self._written_s.pop(job_id, None)
            elif budget and now_s - self._written_s.get(job_id, -FASTEST_WRITE_S) >= FASTEST_WRITE_S:
                self._ledger.touched.discard(job_id)
                self._written_s[job_id] = now_s
                self._write(self._ledger[job_id], self.describe(self._ledger[job_id], positions.get(job_id)))
                budget -= 1
        self._is_page_stale |= len(self._ledger) != self._page_count
        if now_s - self._page_s >= PAGE_INTERVAL_S:
            self._page_s = now_s
            if self._is_page_stale:
                self._is_page_stale, self._page_count = False, len(self._ledger)
                self._write_page()
            self.write_health()

    def next_s(self) -> float | None:
        """When something that waits for its second may be written."""
        return self._clock() + FASTEST_WRITE_S / 4 if self._ledger.touched else None

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
            about |= self._eta(job, progress)
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

    def _eta(self, job: Job, progress: Progress) -> dict[str, object]:
        """Time left, from past jobs of like size with their spread, or else from this job's own pace."""
        elapsed_s = self._clock() - progress.since_s
        past_s = self._ledger.store.past_durations_s(job.model, job.input_bytes)
        if len(past_s) >= 3:
            low_s, middle_s, high_s = (value - elapsed_s for value in _spread(past_s))
            return {"eta_s": max(round(middle_s), 0), "eta_range_s": [max(round(low_s), 0), max(round(high_s), 0)]}
        if progress.fraction > 0.05:
            return {"eta_s": round(elapsed_s / progress.fraction - elapsed_s)}
        return {}

    def _write(self, job: Job, content: dict[str, object]) -> None:
        data = json.dumps(content | {"updated": iso_time(time.time())}, indent=1).encode() + b"\n"
        try:
            with folders.opened(self._config.inbox, job.folder) as folder_fd:
                folders.write_file(folder_fd, "status.json", data, is_durable=False)
        except OSError as error:
            log.debug("status not written", job_id=job.job_id, reason=str(error))

    def write_health(self) -> None:
        """One small file that says whether the loop turns; its age is the point of it."""
        counts = {state.value: self._ledger.count(state) for state in sorted(ACTIVE)}
        health = {
            "time_s": time.time(),
            "pid": os.getpid(),
            "is_online": not self.offline_reason,
            "offline_reason": self.offline_reason,
            "jobs": counts,
            "workers": [
                {"pid": item.pid, "job_id": item.job_id, "is_idle": item.is_idle} for item in self._dispatch.executors
            ],
            "waiting_for": sorted({trouble.failure.code.value for trouble in self._filing.troubles.values()}),
        }
        busy = sum(bool(executor.job_id) for executor in self._dispatch.executors)
        try:
            write_durably(self._config.state / "health.json", json.dumps(health, indent=1).encode())
            write_metrics(
                self._config,
                self._ledger,
                is_online=not self.offline_reason,
                busy_workers=busy,
                unix_s=time.time(),
            )
        except OSError as error:
            log.warning("health and metrics not written", reason=str(error))

    def _write_page(self) -> None:
        active = [job for state in _SHOWN_FIRST for job in islice(self._ledger.in_state(state), ROWS)]
        rows = [(job, self._message(job, None)) for job in active[:ROWS]]
        page = render_page(rows, len(self._ledger), self._ledger.store.recent(ROWS))
        if page == self._page or self.offline_reason:
            return
        try:
            with folders.opened(self._config.root.parent, self._config.root.name) as root_fd:
                folders.write_file(root_fd, "status.html", page.encode(), is_durable=False)
            self._page = page
        except OSError as error:
            log.debug("status page not written", reason=str(error))


def _spread(durations_s: list[float]) -> tuple[float, float, float]:
    """The 10 %, 50 % and 90 % points."""
    deciles = statistics.quantiles(durations_s, n=10, method="inclusive")
    return deciles[0], deciles[4], deciles[8]


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="3"><title>Meshdrop</title>
<style>body{{font:15px system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222}}
table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.35em .8em .35em 0;
border-bottom:1px solid #ddd;vertical-align:top}}.failed{{color:#a00}}.done{{color:#070}}
img{{max-width:20em;display:block}}</style></head>
<body><h1>Meshdrop</h1>
<h2>In inbox: {count}</h2><table>{active}</table>
<h2>Finished</h2><table>{recent}</table></body></html>
"""


def render_page(active: list[tuple[Job, str]], count: int, recent: list[Job]) -> str:
    """status.html: static, without scripts, every name escaped."""
    rows = []
    for job, message in active:
        picture = ""
        if job.state is JobState.RUNNING:
            picture = f'<img src="{_link("inbox/" + job.folder)}/preview.png" alt="">'
        rows.append(f"<tr><td>{_text(job.folder)}<td>{job.state.value}<td>{_text(message)}{picture}")
    finished = []
    for job in recent:
        place = f'<a href="{_link(job.destination)}/">{_text(job.folder)}</a>' if job.destination else _text(job.folder)
        why = _text(job.failure.message) if job.failure else _text(str(job.summary.get("verdict", "")))
        finished.append(
            f'<tr><td>{place}<td class="{job.state.value}">{job.state.value}<td>{why}<td>{iso_time(job.finished_at_s)}'
        )
    return _PAGE.format(count=count, active="\n".join(rows), recent="\n".join(finished))


def _text(value: str) -> str:
    return html.escape(shown(value), quote=True)


def _link(path: str) -> str:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(os.fsencode(path))
