"""Commands on one folder, without daemon or share: check and run."""

import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from daemon import folders, names
from daemon.cli.options import AsJson, ConfigFile, Folder
from daemon.cli.terminal import CommandError, console, failure_error, is_terminal, say_json
from daemon.cli.verdicts import FileVerdict, judge_files
from daemon.config import Config, load_config
from daemon.errors import ExitCode, failure_from_error
from daemon.intake import Look, Memory, Verdict, look
from daemon.options import JobOptions
from recon.errors import ReconError
from recon.progress import ProgressUpdate

MOST_SPARE_FILES = 5
VERDICT_STYLES = {"ok": "green", "missing": "red", "incomplete": "yellow", "refused": "red", "ignored": "dim"}


def check(folder: Folder, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say file by file whether a folder would be taken.

    Nothing is copied or run.  Exits 0 when it would be taken, 7 when something is missing, unfinished or refused.

    \b
    Examples:
      meshdrop check ./shoe
      meshdrop check ./shoe --json | jq .missing
    """
    settings = load_config(config, root=folder.absolute().parent)
    with _opened(folder) as folder_fd:
        result = _look(folder_fd, settings)
        is_batch = result.verdict is Verdict.BATCH
        jobs = _jobs_of_batch(folder_fd, settings) if is_batch else {}
        files = [] if is_batch else _files(folder_fd, settings)
    if as_json:
        say_json(_check_json(result, files) | {"jobs": {name: job.verdict.value for name, job in jobs.items()}})
    elif is_batch:
        _tell_batch(jobs)
    else:
        _tell_files(files)
        _tell_verdict(result, files)
    looks = list(jobs.values()) if is_batch else [result]
    is_ready = all(item.verdict is Verdict.TAKE for item in looks)
    raise typer.Exit(ExitCode.OK if is_ready else ExitCode.NOT_READY)


def _look(folder_fd: int, settings: Config) -> Look:
    return look(folder_fd, Memory(), time.monotonic(), settings, settle_s=0.0)


def _jobs_of_batch(batch_fd: int, settings: Config) -> dict[str, Look]:
    jobs = {}
    for name in sorted(folders.list_tree(batch_fd, settings.limits.tree).folders):
        with folders.opened(batch_fd, name) as folder_fd:
            jobs[names.shown(name)] = _look(folder_fd, settings)
    return jobs


def _tell_batch(jobs: dict[str, Look]) -> None:
    typer.echo(f"a batch of {len(jobs)} jobs, one per folder")
    for name, job in jobs.items():
        typer.echo(f"{'complete' if job.verdict is Verdict.TAKE else 'not ready'}: {name}")
    faulty = [name for name, job in jobs.items() if job.verdict is not Verdict.TAKE]
    if faulty:
        typer.echo(f"see its files with: meshdrop check FOLDER/{shlex.quote(faulty[0])}")


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    if not folder.is_dir():
        raise CommandError(
            f"{folder} is not a folder",
            next_step="name the folder that holds the pictures, for example: meshdrop check ./shoe",
            exit_code=ExitCode.USAGE,
        )
    place = folder.resolve()
    with folders.opened(place.parent, place.name) as folder_fd:
        yield folder_fd


def _files(folder_fd: int, settings: Config) -> list[FileVerdict]:
    try:
        return judge_files(folder_fd, settings)
    except ReconError:
        return []  # the folder as a whole is at fault, which the verdict says


def _check_json(result: Look, files: list[FileVerdict]) -> dict[str, object]:
    found = result.found
    return {
        "verdict": result.verdict.value,
        "missing": [names.shown(name) for name in found.missing],
        "unfinished": [
            {"file": names.shown(item.file), "fraction": round(item.fraction, 2)} for item in found.unfinished
        ],
        "pictures": [names.shown(name) for name in found.pictures],
        "files": [vars(file) for file in files],
        "failure": result.failure.to_json() if result.failure else None,
    }


def _tell_files(files: list[FileVerdict]) -> None:
    spare = [file for file in files if file.verdict == "ignored"]
    listed = [file for file in files if file.verdict != "ignored"] + spare[:MOST_SPARE_FILES]
    if is_terminal() and listed:
        table = Table("verdict", "file", "taken for", "what is wrong", box=None, pad_edge=False)
        for file in listed:
            table.add_row(file.verdict, file.file, file.role, file.message, style=VERDICT_STYLES[file.verdict])
        console().print(table)
    else:
        for file in listed:
            about = f": {file.message}" if file.message else ""
            typer.echo(f"{file.verdict}: {file.file} ({file.role}){about}")
    if len(spare) > MOST_SPARE_FILES:
        typer.echo(f"and {len(spare) - MOST_SPARE_FILES} more files that are not used")


def _tell_verdict(result: Look, files: list[FileVerdict]) -> None:
    if result.failure is not None:
        raise failure_error(result.failure, ExitCode.NOT_READY)
    match result.verdict:
        case Verdict.TAKE:
            typer.echo(f"complete: {len(result.found.pictures)} pictures; copy the folder into inbox/")
        case Verdict.CANCEL:
            typer.echo("holds a file named CANCEL: it would be cancelled; remove the file to run it")
        case _:
            counts = Counter(file.verdict for file in files)
            kinds = ("missing", "incomplete", "refused")
            faults = ", ".join(f"{counts[kind]} {kind}" for kind in kinds if counts[kind])
            typer.echo(f"not ready: {faults or result.note or 'no pictures yet'}; the daemon would wait for the rest")


def run(
    folder: Folder,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the results go.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Reconstruct one folder here and now.

    Needs neither daemon nor share.  Writes the meshes, previews and report.html into the output folder.  Options come
    from job.toml in the folder.
    Exits 6 when the job fails, 7 when the folder is not complete.

    \b
    Examples:
      meshdrop run ./shoe -o ./shoe-results
      meshdrop run ./shoe -o ./shoe-results --json | jq .verdict
    """
    settings = load_config(config, root=folder.absolute().parent)
    with _opened(folder) as folder_fd:
        result = _look(folder_fd, settings)
    if result.failure is not None:
        raise failure_error(result.failure, ExitCode.JOB_FAILED)
    if result.verdict is Verdict.WAIT and result.found.unfinished:
        raise failure_error(failure_from_error(result.found.unfinished[0].error), ExitCode.JOB_FAILED)
    if result.verdict is not Verdict.TAKE or result.found.options is None:
        missing = ", ".join(names.shown(name) for name in result.found.missing[:6])
        raise CommandError(
            f"{folder} is not a complete job ({'missing: ' + missing if missing else result.verdict.value})",
            next_step=f"see every file with: meshdrop check {shlex.quote(str(folder))}",
            exit_code=ExitCode.NOT_READY,
        )
    _reconstruct(folder, output, result.found.options, settings, as_json)


def _reconstruct(folder: Path, output: Path, options: JobOptions, config: Config, as_json: bool) -> None:
    from recon import reconstruct

    try:
        with _progress() as show:
            report = reconstruct(folder, output, options.settings_on(config.reconviagen), show)
        _write_page(report, folder, output)
    except ReconError as error:
        raise failure_error(failure_from_error(error), ExitCode.JOB_FAILED) from None
    if as_json:
        say_json({"verdict": report.verdict, "output": str(output)} | report.summary)
    else:
        typer.echo(f"quality: {report.verdict}; results in {output}")
        if (output / "report.html").exists():
            typer.echo(f"look at: {output / 'report.html'}")
    if report.verdict == "failure" and options.on_low_quality == "fail":
        raise typer.Exit(ExitCode.JOB_FAILED)


def _write_page(report: object, folder: Path, output: Path) -> None:
    """The page that people open first."""
    from recon.previews.report_html import write_report_html
    from recon.report import Report

    if isinstance(report, Report):
        again = f"meshdrop run {shlex.quote(str(folder))} -o {shlex.quote(str(output))}"
        name = names.shown(folder.resolve().name)
        write_report_html(output / "report.html", name, report, output, how_to_rerun=f"To run it again: {again}")


@contextmanager
def _progress() -> Iterator[Callable[[ProgressUpdate], None]]:
    """A bar on a terminal, one line per stage in a pipe; both on standard error."""
    if not sys.stderr.isatty():
        yield _line_per_stage()
        return
    columns = (TextColumn("{task.description:<22}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda update: bar.update(task, completed=update.fraction, description=_stage(update))


def _line_per_stage() -> Callable[[ProgressUpdate], None]:
    last = ""

    def show(update: ProgressUpdate) -> None:
        nonlocal last
        if _stage(update) != last:
            last = _stage(update)
            typer.echo(f"{update.fraction:4.0%} {last}", err=True)

    return show


def _stage(update: ProgressUpdate) -> str:
    return f"{update.model} {update.stage}".strip()
