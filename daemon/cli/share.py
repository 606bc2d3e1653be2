"""Commands of whoever runs the daemon: init, serve, health, backup, doctor."""

from pathlib import Path
from typing import Annotated

import typer

from daemon import logs, names
from daemon.cli.options import AsJson, ConfigFile, Root, State
from daemon.cli.terminal import CommandError, console, is_terminal, say_json
from daemon.config import load_config
from daemon.errors import ExitCode
from daemon.health import read_health
from daemon.preflight import load_checked_config
from daemon.share import AREAS, ShareLock, check_share, create_share

GRADE_STYLES = {"ok": "green", "note": "yellow", "bad": "bold red"}


def init(root: Annotated[Path, typer.Argument(help="The folder to export to users.")], as_json: AsJson = False) -> None:
    """Make a share.

    That is the folders inbox, done and failed, and a sentinel file that proves that the share is mounted.  What is
    there already stays as it is.

    \b
    Example:
      meshdrop init /srv/meshdrop
    """
    create_share(root)
    if as_json:
        say_json({"root": str(root.absolute()), "folders": list(AREAS)})
        return
    typer.echo(f"{root.absolute()} is ready; start the daemon with: meshdrop serve --root {root.absolute()}")


def serve(config: ConfigFile = None, root: Root = None, state: State = None, as_json: AsJson = False) -> None:
    """Serve a share until stopped (SIGTERM or Ctrl-C).

    The log goes to standard error: readable on a terminal, JSON lines in a pipe or with --json.

    \b
    Examples:
      meshdrop serve --root /srv/meshdrop
      meshdrop serve --root ./share --state ./state    # without rights on /var/lib
    """
    from daemon.supervisor import serve_share

    settings = load_checked_config(config, root=root, state=state)
    logs.configure(settings.log.model_copy(update={"format": "json"}) if as_json else settings.log)
    check_share(settings)
    lock = ShareLock(settings)
    try:
        serve_share(settings)
    finally:
        lock.release()


def health(config: ConfigFile = None, root: Root = None, state: State = None, as_json: AsJson = False) -> None:
    """Exit 0 if all is well, else 8 and say what is not.

    Looks at what the daemon last said of itself, the share, the disks, the workers and their GPUs.

    \b
    Example, for a container or a watchdog:
      meshdrop health || systemctl restart meshdrop
    """
    settings = load_config(config, root=root, state=state)
    report = read_health(settings.state)
    if report["age_s"] is None:
        raise CommandError(
            "no daemon has left a sign of life",
            where=str(settings.state),
            next_step=f"start one: meshdrop serve --root {settings.root}, or name its state folder with --state",
            exit_code=ExitCode.UNHEALTHY,
        )
    if as_json:
        say_json(report)
    else:
        age = "" if report["age_s"] is None else f"; last sign {report['age_s']:.0f} s ago"
        typer.echo(("healthy" if report["is_healthy"] else "unhealthy") + age)
        for problem in report["problems"]:
            typer.echo(names.shown(problem))
    raise typer.Exit(ExitCode.OK if report["is_healthy"] else ExitCode.UNHEALTHY)


def backup(file: Path, config: ConfigFile = None, state: State = None, as_json: AsJson = False) -> None:
    """Copy the job table into a new file; the daemon may go on meanwhile.

    \b
    Example:
      meshdrop backup /var/backups/meshdrop-jobs.sqlite3
    """
    from daemon.backup import back_up

    count = back_up(load_config(config, state=state).database, file)
    if as_json:
        say_json({"file": str(file), "jobs": count})
    else:
        typer.echo(f"{names.shown(str(file))}: {count} jobs")


def doctor(config: ConfigFile = None, root: Root = None, state: State = None, as_json: AsJson = False) -> None:
    """Test everything that a job needs, and say what to do.

    Share, disk, job table, GPU (with a real kernel) and models.  Exits 4 when one does not work; notes are no faults.

    \b
    Example:
      meshdrop doctor --root /srv/meshdrop
    """
    from daemon.doctor import Finding, examine

    findings: list[Finding] = []
    for finding in examine(load_config(config, root=root, state=state)):
        findings.append(finding)
        if not as_json:
            _tell_finding(finding.grade, f"{finding.what}: {names.shown(finding.message)}", finding.remedy)
    if as_json:
        say_json([vars(finding) for finding in findings])
    has_fault = any(finding.grade == "bad" for finding in findings)
    raise typer.Exit(ExitCode.UNUSABLE if has_fault else ExitCode.OK)


def _tell_finding(grade: str, sentence: str, remedy: str) -> None:
    if is_terminal():
        console().print(f"{grade:<5}", style=GRADE_STYLES.get(grade, ""), end=" ")
        console().print(sentence)
    else:
        typer.echo(f"{grade:<5} {sentence}")
    if remedy:
        typer.echo(f"      -> {remedy}")
