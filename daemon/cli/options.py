"""Options that several commands share, and what the shell completes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon import names
from daemon.config import Config, load_config
from daemon.errors import DaemonError
from daemon.health import STALE_S, read_health

if TYPE_CHECKING:
    from daemon.store import Store

COMPLETED_JOBS = 50


@contextmanager
def opened_table(config: Config) -> "Iterator[Store]":
    """The job table for commands that only look; loaded here, because half of the commands need no database.

    Raises:
        StoreError: There is no table yet.
    """
    from daemon.store import open_store_for_reading

    store = open_store_for_reading(config.database)
    try:
        yield store
    finally:
        store.close()


def complete_jobs(incomplete: str) -> list[str]:
    """Names of jobs for the shell; nothing where there is no job table to ask."""
    try:
        with opened_table(load_config(root=Path())) as table:
            jobs = [*table.active(), *table.recent(COMPLETED_JOBS)]
    except DaemonError:
        return []
    found = dict.fromkeys(names.shown(job.folder) for job in jobs)
    return [name for name in found if name.startswith(incomplete)]


ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file (TOML).")]
Root = Annotated[Path | None, typer.Option("--root", help="The share; overrides the configuration.")]
State = Annotated[
    Path | None, typer.Option("--state", help="The daemon's private folder; overrides the configuration.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="The folder's name, or the job's id.", autocompletion=complete_jobs)
]
Folder = Annotated[Path, typer.Argument(help="A folder with photographs and depth images.")]


def is_daemon_alive(config: Config) -> bool:
    """Whether a daemon has lately said that it serves this share."""
    report = read_health(config.state)
    return bool(report["age_s"] is not None and report["age_s"] < STALE_S and report["is_online"])
