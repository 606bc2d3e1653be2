"""``meshdrop demo``: a share and a daemon of one's own for one folder, from the drop to the result."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from daemon import names
from daemon.cli.options import AsJson
from daemon.cli.terminal import CommandError, console, is_terminal, say_json
from daemon.errors import ErrorCode, ExitCode
from daemon.share import create_share

EXAMPLE = Path(__file__).parents[2] / "examples" / "captures" / "teapot"
"""Beside the packages in a checkout; an installed package has none."""

OUTPUTS = {
    "report": "report.html",
    "mesh": "*/mesh.glb",
    "contact sheet": "*/previews/contact_sheet.png",
    "quality": "*/quality.json",
}
POLL_S = 0.2
STOP_PATIENCE_S = 30.0
LOG_LINES = 15


def demo(
    folder: Annotated[Path | None, typer.Argument(help="A job folder, which is copied; else the example.")] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Keep the share here, not in a temporary folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """See it work on a share of its own.

    Makes a share, starts a daemon on it, drops a folder, and follows it to its result.

    Exits 6 when the folder ends in failed/.

    \b
    Examples:
      meshdrop demo                       # the painted teapot of a checkout
      meshdrop demo ./shoe --root ./share
    """
    source = folder or EXAMPLE
    if not source.is_dir():
        raise CommandError(
            f"{source} is not a folder" if folder else "this installation has no example capture",
            next_step="give a folder with pictures (docs/job-folder.md), or run it in a checkout of the repository",
            exit_code=ExitCode.USAGE,
        )
    share = (root or Path(tempfile.mkdtemp(prefix="meshdrop-"))).resolve()
    create_share(share)
    # Being told to end must end the daemon as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with _running_daemon(share) as (daemon, log):
        name = _drop(source.resolve(), share)
        _say(f"Dropped {source} as {share / 'inbox' / name}", as_json)
        try:
            place = _follow(name, share, daemon, is_quiet=as_json)
        except KeyboardInterrupt:
            typer.echo(f"stopped; the folder waits in {share / 'inbox' / name}", err=True)
            raise typer.Exit(ExitCode.JOB_FAILED) from None
        if place is None:
            lines = log.read_text("utf-8", "replace").splitlines()[-LOG_LINES:]
            typer.echo("\n".join(names.shown(line) for line in lines), err=True)
            raise CommandError(
                f"the daemon stopped (exit status {daemon.returncode})",
                where=str(log),
                next_step=f"find out why with: meshdrop doctor --root {share}",
                exit_code=ExitCode.INTERNAL,
            )
    _tell_outcome(place, as_json)


@contextmanager
def _running_daemon(root: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A daemon that serves the share, and its log; stopped in order at the end."""
    state = root / ".state"
    state.mkdir(exist_ok=True)
    log = state / "daemon.log"
    command = [sys.executable, "-m", "daemon", "serve", "--root", str(root), "--state", str(state)]
    environment = os.environ | {"MESHDROP_ROOT": str(root), "MESHDROP_STATE": str(state)}
    with log.open("ab") as stream:
        daemon = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    try:
        yield daemon, log
    finally:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def _drop(folder: Path, root: Path) -> str:
    """Copy a folder into the inbox, as a file manager would; the name that it got there."""
    name, number = folder.name, 1
    while any((root / area / name).exists() for area in ("inbox", "done", "failed")):
        number += 1
        name = f"{folder.name}-{number}"
    shutil.copytree(folder, root / "inbox" / name)
    return name


def _follow(name: str, root: Path, daemon: subprocess.Popen[bytes], *, is_quiet: bool) -> Path | None:
    """Show the job's progress until its folder has moved; where it is then, or None if the daemon ended first."""
    description, percentage = TextColumn("{task.description}"), TextColumn("{task.percentage:>3.0f} %")
    shows_bar = is_terminal() and not is_quiet
    last_line = ""
    with Progress(
        description, BarColumn(), percentage, TimeElapsedColumn(), console=console(), disable=not shows_bar
    ) as bar:
        task = bar.add_task("waiting", total=1.0)
        while True:
            for area in ("done", "failed"):
                if (root / area / name).is_dir():
                    bar.update(task, completed=1.0, description=area)
                    return root / area / name
            if daemon.poll() is not None:
                return None
            status = _read_json(root / "inbox" / name / "status.json")
            line, fraction = _describe(status), float(status.get("fraction") or 0.0)
            bar.update(task, completed=fraction, description=line)
            plain = str(status.get("stage") or line)
            if plain != last_line and not shows_bar:
                _say(f"{fraction:4.0%}  {line}", is_quiet)
                last_line = plain
            time.sleep(POLL_S)


def _describe(status: dict[str, Any]) -> str:
    """One line about a job in the inbox."""
    if status.get("stage"):
        eta_s = status.get("eta_s")
        return f"{status['stage']}" + (f", about {eta_s:.0f} s left" if eta_s is not None else "")
    return str(status.get("message") or status.get("state") or "waiting for the daemon")


def _read_json(path: Path) -> dict[str, Any]:
    """What the daemon last wrote, or nothing yet; it replaces its files whole, so half a file is never seen."""
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return data


def _say(line: str, is_quiet: bool) -> None:
    typer.echo(line, err=is_quiet)


def _tell_outcome(folder: Path, as_json: bool) -> None:
    """Where the results are, or what went wrong and what to do."""
    is_done = folder.parent.name == "done"
    outcome = _read_json(folder / ("result.json" if is_done else "error.json"))
    results = folder / "results"
    files = {label: [str(path) for path in sorted(results.glob(pattern))] for label, pattern in OUTPUTS.items()}
    if as_json:
        say_json({"folder": str(folder), "is_done": is_done, "outcome": outcome, "files": files})
        raise typer.Exit(ExitCode.OK if is_done else ExitCode.JOB_FAILED)
    if not is_done:
        raise CommandError(
            f"{outcome.get('code', ErrorCode.INTERNAL_ERROR)}: {outcome.get('message', '')}",
            where=str(folder),
            next_step=str(outcome.get("suggestion", "")),
            exit_code=ExitCode.JOB_FAILED,
        )
    verdict = outcome.get("reconstruction", {}).get("verdict", "")
    typer.echo(f"done: quality {verdict}")
    for label, paths in files.items():
        for path in paths:
            typer.echo(f"  {label:<14} {path}")
