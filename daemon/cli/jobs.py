"""Commands about the jobs of a share: status, show, cancel, retry."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

from daemon import folders, names
from daemon.cli.options import AsJson, ConfigFile, JobName, Root, State, is_daemon_alive, opened_table
from daemon.cli.queue_view import QueueRow, queue_row, queue_table, read_rows
from daemon.cli.terminal import CommandError, console, is_terminal, say_json
from daemon.config import Config, load_config
from daemon.errors import DaemonError, ExitCode
from daemon.forecast import duration_in_words
from daemon.jobs import Event, Job
from daemon.outcome import iso_time

if TYPE_CHECKING:
    from daemon.store import Store

WATCH_PERIOD_S, LOOK_PERIOD_S = 1.0, 0.05
"""How often a view is renewed, and how soon Ctrl-C is noticed."""


def status(
    config: ConfigFile = None,
    root: Root = None,
    state: State = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the queue, the running jobs and the latest outcomes.

    With --watch a terminal shows a table that stays up to date; a pipe gets a line for every change, with --json one
    document per change on a line of its own.

    \b
    Examples:
      meshdrop status --watch
      meshdrop status --json | jq '.[] | select(.state == "failed")'
    """
    settings = load_config(config, root=root, state=state)
    with suppress(KeyboardInterrupt):
        if not watch:
            _show_once(settings, as_json)
        elif is_terminal() and not as_json:
            _watch_table(settings)
        else:
            _watch_lines(settings, as_json)


def _read(settings: Config) -> list[QueueRow]:
    with opened_table(settings) as table:
        return read_rows(settings, table)


def _note(settings: Config) -> str:
    return "" if is_daemon_alive(settings) else "No daemon serves this share at the moment."


def _show_once(settings: Config, as_json: bool) -> None:
    rows = _read(settings)
    if as_json:
        say_json([row.to_json() for row in rows], indent=None)
    elif is_terminal():
        console().print(queue_table(rows, _note(settings)))
    else:
        for row in rows:
            typer.echo(row.to_line())


def _watch_table(settings: Config) -> None:
    with Live(console=console(), auto_refresh=False) as live:
        _until_interrupted(lambda: live.update(queue_table(_read(settings), _note(settings)), refresh=True))


def _watch_lines(settings: Config, as_json: bool) -> None:
    known: dict[str, QueueRow] = {}

    def tell_changes() -> None:
        rows = _read(settings)
        for row in rows:
            before = known.get(row.job_id)
            if before is None or (before.state, before.message) != (row.state, row.message):
                if as_json:
                    say_json(row.to_json(), indent=None)
                else:
                    typer.echo(row.to_line())
        known.clear()
        known.update((row.job_id, row) for row in rows)

    _until_interrupted(tell_changes)


def _until_interrupted(renew: Callable[[], None]) -> None:
    """Renew once a period until Ctrl-C.

    The first is only noted: an exception is lost where it meets a finaliser.  A second one interrupts what hangs.
    """
    noted: list[int] = []

    def note(number: int, _frame: object) -> None:
        noted.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, note)
    while not noted:
        renew()
        until_s = time.monotonic() + WATCH_PERIOD_S
        while not noted and time.monotonic() < until_s:
            time.sleep(LOOK_PERIOD_S)


def show(
    job: JobName, config: ConfigFile = None, root: Root = None, state: State = None, as_json: AsJson = False
) -> None:
    """Tell the story of one job.

    What happened when, how it ended, where its files are, and what to do next.

    \b
    Examples:
      meshdrop show shoe
      meshdrop show 20261120-121459-9f3a1c04be --json
    """
    settings = load_config(config, root=root, state=state)
    with opened_table(settings) as table:
        found = _found(table, job)
        events = table.events(found.job_id)
    if as_json:
        say_json(_about(settings, found, events))
        return
    for line, style in _story(settings, found, events):
        if is_terminal():
            console().print(Text(line, style=style))
        else:
            typer.echo(line)


def _found(table: "Store", wanted: str) -> Job:
    job = table.find(wanted)
    if job is None:
        raise CommandError(
            f"there is no job {names.shown(wanted)}",
            next_step="list the jobs with: meshdrop status",
            exit_code=ExitCode.NOT_FOUND,
        )
    return job


def _about(settings: Config, job: Job, events: list[Event]) -> dict[str, object]:
    return queue_row(settings, job).to_json() | {
        "created": iso_time(job.created_at_s),
        "started": iso_time(job.started_at_s),
        "finished": iso_time(job.finished_at_s),
        "attempts": job.attempts,
        "destination": names.shown(job.destination),
        "options": job.options,
        "summary": job.summary,
        "failure": job.failure.to_json() if job.failure else None,
        "events": [
            {
                "time": iso_time(event.at_s),
                "from": event.from_state,
                "to": event.to_state,
                "note": names.shown(event.note),
            }
            for event in events
        ],
    }


def _story(settings: Config, job: Job, events: list[Event]) -> Iterator[tuple[str, str]]:
    """Lines with their styles: the job, its events with the time that each step took, its end, and what to do."""
    yield f"{names.shown(job.folder)}: {job.state.value} ({job.job_id})", "bold"
    before_s = job.created_at_s
    for event in events:
        passed_s = event.at_s - before_s
        step = f"+{passed_s:.1f} s" if passed_s < 10 else f"+{duration_in_words(passed_s)}"
        note = f"  {names.shown(event.note)}" if event.note else ""
        yield f"{iso_time(event.at_s)}  {step:>8}  {event.from_state or '-'} -> {event.to_state}{note}", ""
        before_s = event.at_s
    if job.is_active:
        yield f"now: {queue_row(settings, job).message or 'no news'}", "cyan"
    if verdict := str(job.summary.get("verdict", "")):
        yield f"quality: {names.shown(verdict)}", "green" if verdict == "normal" else "yellow"
    if job.failure is not None:
        said = job.failure.to_json()
        yield f"{said['code']}: {names.shown(str(said['message']))}", "red"
        if said["file"]:
            yield f"  where: {names.shown(str(said['file']))}", ""
        if said["suggestion"]:
            yield f"  next:  {said['suggestion']}", ""
    if job.destination:
        yield f"folder: {names.shown(str(settings.root / job.destination))}", ""
        page = settings.root / job.destination / "results" / "report.html"
        if page.exists():
            yield f"look at: {names.shown(str(page))}", ""


def cancel(
    job: JobName, config: ConfigFile = None, root: Root = None, state: State = None, as_json: AsJson = False
) -> None:
    """Cancel a job that waits or runs.

    Puts a file named CANCEL into its folder, as a user may do by hand.

    \b
    Example:
      meshdrop cancel shoe
    """
    settings = load_config(config, root=root, state=state)
    file = "CANCEL.confirm" if settings.cancel.confirm else "CANCEL"
    _put(settings, (settings.inbox,), _folder_of(settings, job), file, as_json)


def retry(
    job: JobName, config: ConfigFile = None, root: Root = None, state: State = None, as_json: AsJson = False
) -> None:
    """Run a failed or finished job again.

    Puts a file named RETRY into its folder, as a user may do by hand.

    \b
    Example:
      meshdrop retry shoe
    """
    settings = load_config(config, root=root, state=state)
    _put(settings, (settings.failed, settings.done), _folder_of(settings, job), "RETRY", as_json)


def _folder_of(settings: Config, wanted: str) -> str:
    """The folder's name for a job's id; any other word is a folder's name already."""
    with suppress(DaemonError), opened_table(settings) as table:
        job = table.find(wanted)
        if job is not None and job.job_id == wanted:
            return job.destination.partition("/")[2] or job.folder
    return wanted


def _put(settings: Config, areas: tuple[Path, ...], name: str, file: str, as_json: bool) -> None:
    if any(part in {"", ".", ".."} for part in name.split("/")):
        raise CommandError(
            f"{names.shown(name)!r} is not a folder's name",
            next_step="list the jobs with: meshdrop status",
            exit_code=ExitCode.USAGE,
        )
    for area in areas:
        try:
            with folders.opened(area, name) as folder_fd:
                folders.write_file(folder_fd, file, b"", is_durable=True)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CommandError(
                f"{file} cannot be put into the folder: {error.strerror}",
                where=str(area / name),
                next_step="do it as a user who may write there",
                exit_code=ExitCode.UNUSABLE,
            ) from None
        _tell_put(settings, area / name, file, as_json)
        return
    listed = " or ".join(f"{area.name}/" for area in areas)
    raise CommandError(
        f"there is no folder {names.shown(name)} in {listed}",
        where=str(settings.root),
        next_step="list the jobs with: meshdrop status",
        exit_code=ExitCode.NOT_FOUND,
    )


def _tell_put(settings: Config, folder: Path, file: str, as_json: bool) -> None:
    is_alive = is_daemon_alive(settings)
    if as_json:
        say_json({"file": file, "folder": names.shown(str(folder)), "is_daemon_alive": is_alive})
        return
    typer.echo(f"{file} put into {names.shown(str(folder))}")
    if not is_alive:
        typer.echo("no daemon serves this share at the moment; it will act when it is back", err=True)
