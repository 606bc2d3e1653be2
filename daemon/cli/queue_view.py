"""The queue as rows, and rows as a table, as lines, or as JSON."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from daemon import folders, names
from daemon.config import Config
from daemon.forecast import Estimate, in_words
from daemon.jobs import Job, JobState

if TYPE_CHECKING:
    from daemon.store import Store

RECENT = 10
STATE_STYLES = {
    JobState.RUNNING: "bold cyan",
    JobState.PUBLISHING: "cyan",
    JobState.WAITING: "yellow",
    JobState.DONE: "green",
    JobState.FAILED: "red",
}


@dataclass(frozen=True)
class QueueRow:
    """One job as the share shows it; ``place``, ``fraction`` and ``left`` as far as they are known."""

    job_id: str
    name: str
    state: JobState
    message: str
    place: int | None = None
    fraction: float | None = None
    left: Estimate | None = None

    def to_json(self) -> dict[str, object]:
        """For programs; the time left as in status.json."""
        about: dict[str, object] = {
            "job_id": self.job_id,
            "name": self.name,
            "state": self.state.value,
            "message": self.message,
            "queue_position": self.place,
            "fraction": self.fraction,
        }
        return about | (self.left.to_json() if self.left else {})

    def to_line(self) -> str:
        """For pipes: fields separated by tabs."""
        left = in_words(self.left) if self.left else ""
        return "\t".join((self.job_id, self.name, self.state.value, self.message, left)).rstrip("\t")


def read_rows(config: Config, store: "Store") -> list[QueueRow]:
    """The active jobs in the order of the queue, then the latest outcomes."""
    active = [queue_row(config, job) for job in store.active()]
    order = (JobState.RUNNING, JobState.PUBLISHING, JobState.QUEUED, JobState.WAITING)
    active.sort(key=lambda row: (order.index(row.state), row.place if row.place is not None else 1 << 30))
    return active + [queue_row(config, job) for job in store.recent(RECENT)]


def queue_row(config: Config, job: Job) -> QueueRow:
    """A job with what its status.json says, which is not trusted to be anything."""
    if not job.is_active:
        verdict = job.summary.get("verdict")
        message = job.failure.message if job.failure else job.destination + (f" ({verdict})" if verdict else "")
        return QueueRow(job.job_id, names.shown(job.folder), job.state, names.shown(message))
    said: dict[str, object] = {}
    parent = config.inbox / job.folder
    try:
        with folders.opened(parent.parent, parent.name) as folder_fd:
            said = folders.read_own_json(folder_fd, "status.json")
    except OSError:
        pass
    return QueueRow(
        job.job_id,
        names.shown(job.folder),
        job.state,
        names.shown(str(said.get("message", ""))),
        place if isinstance(place := said.get("queue_position"), int) else None,
        float(fraction) if isinstance(fraction := said.get("fraction"), int | float) else None,
        _estimate(said),
    )


def _estimate(said: dict[str, object]) -> Estimate | None:
    middle, band = said.get("eta_s"), said.get("eta_range_s")
    if not isinstance(middle, int | float):
        return None
    if isinstance(band, list) and len(band) == 2 and all(isinstance(value, int | float) for value in band):
        return Estimate(float(middle), float(band[0]), float(band[1]))
    return Estimate(float(middle))


def queue_table(rows: list[QueueRow], note: str) -> Table:
    """For terminals."""
    table = Table(title=note or None, title_justify="left", title_style="yellow", expand=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("folder", overflow="ellipsis", max_width=40)
    table.add_column("state", no_wrap=True)
    table.add_column("progress", width=20, no_wrap=True)
    table.add_column("time left", overflow="fold")
    table.add_column("message", overflow="fold", ratio=1)
    for row in rows:
        bar = ProgressBar(total=1.0, completed=row.fraction, width=18) if row.fraction is not None else ""
        left = Text(in_words(row.left) if row.left else "")
        state = Text(row.state.value, style=STATE_STYLES.get(row.state, ""))
        table.add_row(str(row.place or ""), Text(row.name), state, bar, left, Text(row.message))
    if not rows:
        table.add_row("", Text("nothing yet: copy a folder into inbox/", style="dim"), "", "", "", "")
    return table
