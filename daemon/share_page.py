"""status.html: what waits, what runs, what came back; one static file that every browser opens from the share.

The page carries its own content security policy: pictures of the share, no other request, and the one script whose
hash it names, so that no name from a job can become code.  The script reloads the page unless the reader stops it.
"""

import base64
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote_from_bytes

from jinja2 import Environment, PackageLoader, PrefixLoader, StrictUndefined

from daemon.dispatch import Progress
from daemon.forecast import Estimate, duration_in_words, in_words
from daemon.jobs import Job, JobState
from daemon.names import shown
from daemon.outcome import iso_time
from recon.previews.report_page import HEADLINES
from recon.progress import STAGES

STAGE_LABELS = {
    "capture": "Reading",
    "cameras": "Cameras",
    "geometry": "Shape",
    "optimise": "Refining",
    "texture": "Colours",
    "export": "Files",
    "quality": "Checking",
    "previews": "Pictures",
}
"""The stages in the words of those who wait for them."""

_STATES = {
    JobState.DONE: ("normal", "Done"),
    JobState.FAILED: ("failure", "Failed"),
    JobState.CANCELLED: ("quiet", "Cancelled"),
    JobState.WITHDRAWN: ("quiet", "Withdrawn"),
}


@dataclass(frozen=True)
class RunningCard:
    """A job at work; ``stages`` are (label, "past" | "now" | "to come")."""

    name: str
    preview: str
    stages: list[tuple[str, str]]
    percent: int
    left: str
    note: str


@dataclass(frozen=True)
class QueueRow:
    """A job that is queued, waits for files, or is being published."""

    place: str
    name: str
    message: str
    ready: str


@dataclass(frozen=True)
class ResultCard:
    """A job that has ended; ``mood`` is the class of its badge."""

    name: str
    folder: str
    page: str
    thumbnail: str
    mood: str
    label: str
    why: str
    finished_s: float | None
    took: str


@dataclass(frozen=True)
class DiskRow:
    """Free space where it matters."""

    name: str
    free: str
    percent_used: int
    is_low: bool


@dataclass(frozen=True)
class SharePage:
    """All that the page shows."""

    written_s: float
    counts: dict[str, int] = field(default_factory=dict)
    running: Sequence[RunningCard] = ()
    queue: Sequence[QueueRow] = ()
    more: int = 0
    results: Sequence[ResultCard] = ()
    disks: Sequence[DiskRow] = ()
    devices: Sequence[str] = ()


def running_card(job: Job, progress: Progress, left: Estimate | None, *, has_preview: bool) -> RunningCard:
    """The card of a job at work."""
    place = STAGES.index(progress.stage) if progress.stage in STAGES else -1
    stages = [
        (STAGE_LABELS[name], "past" if index < place else "now" if index == place else "to come")
        for index, name in enumerate(STAGES)
    ]
    notes = [f"Attempt {job.attempts}"] if job.attempts > 1 else []
    if progress.model and job.model == "both":
        notes.append(f"Model {shown(progress.model)}")
    preview = link(f"inbox/{job.folder}/preview.png") if has_preview else ""
    return RunningCard(
        name=shown(job.folder),
        preview=preview,
        stages=stages,
        percent=round(100 * progress.fraction),
        left=f"{in_words(left)} left" if left else "",
        note=". ".join(notes),
    )


def queue_row(job: Job, place: int | None, message: str, ready: Estimate | None) -> QueueRow:
    """The row of a job that is not at work."""
    known = f"in {in_words(ready)}" if ready else "not known yet" if place else ""
    return QueueRow(str(place or ""), shown(job.folder), shown(message), known)


def result_card(job: Job) -> ResultCard:
    """The card of a job that has ended."""
    mood, label = _STATES[job.state]
    why = shown(job.failure.message) if job.failure else ""
    verdict = str(job.summary.get("verdict", ""))
    if job.state is JobState.DONE and verdict in HEADLINES:
        mood, label = verdict, HEADLINES[verdict]
    models = job.summary.get("models")
    model = next(iter(models), "") if isinstance(models, dict) else ""
    has_thumbnail = bool(job.destination and model)
    took_s = (job.finished_at_s or 0.0) - job.started_at_s if job.started_at_s else None
    return ResultCard(
        name=shown(job.folder),
        folder=link(job.destination) + "/" if job.destination else "",
        page=link(f"{job.destination}/results/report.html") if job.destination else "",
        thumbnail=link(f"{job.destination}/results/{model}/folder.jpg") if has_thumbnail else "",
        mood=mood,
        label=label,
        why=why,
        finished_s=job.finished_at_s,
        took=duration_in_words(took_s) if took_s is not None else "",
    )


def disk_row(name: str, folder: Path, min_free_bytes: int) -> DiskRow | None:
    """Free space of a folder's disk; None while it does not answer."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    percent_used = round(100 * (1 - usage.free / usage.total)) if usage.total else 100
    return DiskRow(name, f"{usage.free / 1e9:,.1f} GB", percent_used, usage.free < min_free_bytes)


def render_page(page: SharePage) -> str:
    """The page as HTML; every text is escaped by the template engine."""
    environment = _environment()
    script, style = _text("own/status.js"), _text("report/base.css") + _text("own/status.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("own/status.html").render(
        page=page,
        script=script,
        script_hash=f"sha256-{digest}",
        style=style,
        iso_time=iso_time,
    )


def link(path: str) -> str:
    """A path on the share as an address relative to the page."""
    return quote_from_bytes(os.fsencode(path))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loaders = {"own": PackageLoader("daemon"), "report": PackageLoader("recon.previews")}
    return Environment(
        loader=PrefixLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _text(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
