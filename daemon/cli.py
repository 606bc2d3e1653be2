"""The commands.  Rich output on a terminal, plain lines in a pipe, JSON with ``--json``; exit codes of daemon.errors.

``cancel`` and ``retry`` do what a user would do: they put a file into the folder.  They work beside a running
daemon, without one, and need no more rights than the user has.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from daemon import folders, logs, names
from daemon.config import Config, check_folders, load_config
from daemon.errors import ConfigError, DaemonError, ExitCode, Failure, failure_from_error
from daemon.intake import Look, Memory, Verdict, look
from daemon.jobs import Job
from daemon.options import JobOptions
from daemon.outcome import iso_time
from daemon.share import ShareLock, check_share, create_share
from daemon.store import Store, open_store_for_reading
from recon.errors import ReconError
from recon.progress import ProgressUpdate

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Folders of photographs in, textured meshes out.")

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file (TOML).")]
Root = Annotated[Path | None, typer.Option("--root", help="The share; overrides the configuration.")]
State = Annotated[
    Path | None, typer.Option("--state", help="The daemon's private folder; overrides the configuration.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]

STALE_HEALTH_S = 60.0


def main() -> None:
    """Run a command and turn what goes wrong into a line on standard error and an exit code."""
    try:
        app()
    except DaemonError as error:
        typer.echo(f"meshdrop: {error}", err=True)
        sys.exit(error.exit_code)


@app.command()
def init(root: Annotated[Path, typer.Argument(help="The folder to export to users.")]) -> None:
    """Make a share: inbox, done, failed and the sentinel file."""
    create_share(root)
    typer.echo(f"{root.absolute()} is ready; start the daemon with: meshdrop serve --root {root.absolute()}")


@app.command()
def serve(config: ConfigFile = None, root: Root = None, state: State = None) -> None:
    """Serve a share until stopped (SIGTERM or Ctrl-C)."""
    from daemon.supervisor import serve_share

    settings = load_config(config, root=root, state=state)
    logs.configure(settings.log)
    check_folders(settings)
    check_share(settings)
    lock = ShareLock(settings)
    try:
        serve_share(settings)
    finally:
        lock.release()


@app.command()
def check(folder: Path, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say whether the daemon would take a folder as it is now, without running it."""
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder")
    settings = load_config(config, root=folder.absolute().parent)
    result = _look_once(folder, settings)
    found = result.found
    report = {
        "verdict": result.verdict.value,
        "missing": [names.shown(name) for name in found.missing],
        "unfinished": [
            {"file": names.shown(item.file), "fraction": round(item.fraction, 2)} for item in found.unfinished
        ],
        "pictures": [names.shown(name) for name in found.pictures],
        "failure": result.failure.to_json() if result.failure else None,
    }
    if as_json:
        typer.echo(json.dumps(report, indent=1))
    else:
        _tell_check(result)
    raise typer.Exit(ExitCode.OK if result.verdict in {Verdict.TAKE, Verdict.BATCH} else ExitCode.NOT_READY)


def _look_once(folder: Path, settings: Config) -> Look:
    with folders.opened(folder.absolute().parent, folder.absolute().name) as folder_fd:
        return look(folder_fd, Memory(), time.monotonic(), settings, settle_s=0.0)


def _tell_check(result: Look) -> None:
    if result.failure is not None:
        _tell_failure(result.failure)
    for name in result.found.missing:
        typer.echo(f"missing: {names.shown(name)}")
    for item in result.found.unfinished:
        typer.echo(f"incomplete: {names.shown(item.file)} ({item.fraction:.0%}): {item.error.message}")
    if result.verdict is Verdict.TAKE:
        typer.echo(f"complete: {len(result.found.pictures)} pictures")
    elif result.verdict is Verdict.BATCH:
        typer.echo("a batch: every folder inside is a job of its own")
    elif result.verdict is Verdict.CANCEL:
        typer.echo("holds a file named CANCEL: it would be cancelled")


def _tell_failure(failure: Failure) -> None:
    typer.echo(f"{failure.code.value}: {failure.message}", err=True)
    suggestion = failure.to_json()["suggestion"]
    if suggestion:
        typer.echo(f"What to do: {suggestion}", err=True)


@app.command()
def run(
    folder: Path,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the results go.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Reconstruct one folder here and now, without daemon or share."""
    settings = load_config(config, root=folder.absolute().parent)
    result = _look_once(folder, settings)
    if result.verdict is Verdict.WAIT and result.found.unfinished:
        _stop_with(failure_from_error(result.found.unfinished[0].error))
    if result.verdict is Verdict.REFUSE and result.failure is not None:
        _stop_with(result.failure)
    if result.verdict is not Verdict.TAKE or result.found.options is None:
        _tell_check(result)
        raise typer.Exit(ExitCode.NOT_READY)
    _reconstruct(folder, output, result.found.options, settings, as_json)


def _reconstruct(folder: Path, output: Path, options: JobOptions, config: Config, as_json: bool) -> None:
    from recon import reconstruct

    with _progress_bar() as show:
        try:
            report = reconstruct(folder, output, options.settings_on(config.reconviagen), show)
        except ReconError as error:
            _stop_with(failure_from_error(error))
    if as_json:
        typer.echo(json.dumps({"verdict": report.verdict} | report.summary, indent=1, default=str))
    else:
        typer.echo(f"quality: {report.verdict}; results in {output}")
    if report.verdict == "failure" and options.on_low_quality == "fail":
        raise typer.Exit(ExitCode.JOB_FAILED)


def _stop_with(failure: Failure) -> None:
    _tell_failure(failure)
    raise typer.Exit(ExitCode.JOB_FAILED)


class _progress_bar:  # noqa: N801  # used like a function
    """A bar on a terminal, one line per stage in a pipe."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description:<22}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._is_terminal = sys.stderr.isatty()
        self._stage = ""

    def __enter__(self) -> Callable[[ProgressUpdate], None]:
        if self._is_terminal:
            self._bar.start()
            self._task = self._bar.add_task("starting", total=1.0)
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _show(self, update: ProgressUpdate) -> None:
        stage = f"{update.model} {update.stage}".strip()
        if self._is_terminal:
            self._bar.update(self._task, completed=update.fraction, description=stage)
        elif stage != self._stage:
            typer.echo(f"{update.fraction:4.0%} {stage}", err=True)
        self._stage = stage


@app.command()
def status(
    config: ConfigFile = None,
    root: Root = None,
    state: State = None,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the queue and the latest outcomes."""
    settings = load_config(config, root=root, state=state)
    while True:
        _show_status(settings, as_json)
        if not watch:
            return
        time.sleep(1.0)


def _show_status(settings: Config, as_json: bool) -> None:
    store = open_store_for_reading(settings.database)
    try:
        active, recent = store.active(), store.recent(10)
    finally:
        store.close()
    rows = [_row(settings, job) for job in [*active, *recent]]
    if as_json:
        typer.echo(json.dumps(rows))
    elif sys.stdout.isatty():
        table = Table("job", "folder", "state", "message")
        for row in rows:
            table.add_row(*(str(row[key]) for key in ("job_id", "name", "state", "message")))
        Console().print(table)
    else:
        for row in rows:
            typer.echo("\t".join(str(row[key]) for key in ("job_id", "name", "state", "message")))


def _row(settings: Config, job: Job) -> dict[str, object]:
    message = job.failure.message if job.failure else job.destination
    if job.is_active:
        parent = settings.inbox / job.folder
        try:
            with folders.opened(parent.parent, parent.name) as folder_fd:
                message = str(folders.read_own_json(folder_fd, "status.json").get("message", ""))
        except OSError:
            message = ""
    return {
        "job_id": job.job_id,
        "name": names.shown(job.folder),
        "state": job.state.value,
        "message": names.shown(message),
    }


@app.command()
def show(job: str, config: ConfigFile = None, root: Root = None, state: State = None, as_json: AsJson = False) -> None:
    """Show everything that is known about one job (its id, or its folder's name)."""
    settings = load_config(config, root=root, state=state)
    store = open_store_for_reading(settings.database)
    try:
        found = _found(store, job)
        events = store.events(found.job_id)
    finally:
        store.close()
    about: dict[str, object] = _row(settings, found) | {
        "created": iso_time(found.created_at_s),
        "started": iso_time(found.started_at_s),
        "finished": iso_time(found.finished_at_s),
        "attempts": found.attempts,
        "destination": names.shown(found.destination),
        "options": found.options,
        "failure": found.failure.to_json() if found.failure else None,
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
    if as_json:
        typer.echo(json.dumps(about, indent=1))
        return
    for key, value in about.items():
        if key != "events" and value not in (None, "", {}):
            typer.echo(f"{key}: {value}")
    for event in events:
        typer.echo(f"{iso_time(event.at_s)}  {event.from_state or '-'} -> {event.to_state}  {names.shown(event.note)}")


def _found(store: Store, wanted: str) -> Job:
    job = store.find(wanted)
    if job is None:
        typer.echo(f"meshdrop: no job {names.shown(wanted)}", err=True)
        raise typer.Exit(ExitCode.NOT_FOUND)
    return job


@app.command()
def cancel(name: str, config: ConfigFile = None, root: Root = None) -> None:
    """Cancel a job by its folder's name, as a file named CANCEL in the folder does."""
    settings = load_config(config, root=root)
    _put(settings.inbox, name, "CANCEL.confirm" if settings.cancel.confirm else "CANCEL")


@app.command()
def retry(name: str, config: ConfigFile = None, root: Root = None) -> None:
    """Run a failed (or done) folder again, as a file named RETRY in the folder does."""
    settings = load_config(config, root=root)
    area = settings.failed if (settings.failed / name).is_dir() else settings.done
    _put(area, name, "RETRY")


def _put(area: Path, name: str, file: str) -> None:
    try:
        with folders.opened(area, name) as folder_fd:
            folders.write_file(folder_fd, file, b"", is_durable=True)
    except FileNotFoundError:
        typer.echo(f"meshdrop: there is no folder {names.shown(name)} in {area}", err=True)
        raise typer.Exit(ExitCode.NOT_FOUND) from None
    typer.echo(f"{file} put into {area / names.shown(name)}")


@app.command()
def health(config: ConfigFile = None, root: Root = None, state: State = None, as_json: AsJson = False) -> None:
    """Exit 0 if the daemon's loop turns and the share is there."""
    settings = load_config(config, root=root, state=state)
    file = settings.state / "health.json"
    try:
        report = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        raise ConfigError(f"{file} cannot be read; has the daemon run?") from None
    age_s = time.time() - report["time_s"]
    is_healthy = age_s < STALE_HEALTH_S and report["is_online"]
    if as_json:
        typer.echo(json.dumps(report | {"age_s": age_s, "is_healthy": is_healthy}))
    else:
        typer.echo(
            f"{'healthy' if is_healthy else 'unhealthy'}; last sign {age_s:.0f} s ago;"
            f" {report['offline_reason'] or 'online'}"
        )
    raise typer.Exit(ExitCode.OK if is_healthy else ExitCode.UNHEALTHY)


@app.command()
def doctor(config: ConfigFile = None, root: Root = None, state: State = None, as_json: AsJson = False) -> None:
    """Test the share, the disk, the job table, the GPU and the models, and say what to do."""
    from daemon.doctor import Finding, examine

    findings: list[Finding] = []
    for finding in examine(load_config(config, root=root, state=state)):
        findings.append(finding)
        if not as_json:
            remedy = f"\n      -> {finding.remedy}" if finding.remedy else ""
            typer.echo(f"{finding.grade:<5} {finding.what}: {names.shown(finding.message)}{remedy}")
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in findings], indent=1))
    has_fault = any(finding.grade == "bad" for finding in findings)
    raise typer.Exit(ExitCode.UNUSABLE if has_fault else ExitCode.OK)


if __name__ == "__main__":
    main()
