"""How commands speak: tables and colours on a terminal, plain lines in a pipe, one JSON document with ``--json``.

What goes wrong is told in three parts: what, where, and what to do next.
"""

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import typer
from rich.console import Console

from daemon.errors import DaemonError, ExitCode, Failure
from daemon.names import shown

P = ParamSpec("P")

EXIT_CODES = {
    ExitCode.OK: "good",
    ExitCode.INTERNAL: "internal error",
    ExitCode.USAGE: "wrong use",
    ExitCode.CONFIG: "configuration",
    ExitCode.UNUSABLE: "share, state folder or job table unusable",
    ExitCode.IN_USE: "another daemon serves this share",
    ExitCode.JOB_FAILED: "the job failed",
    ExitCode.NOT_READY: "check: not complete or refused",
    ExitCode.UNHEALTHY: "unhealthy",
    ExitCode.NOT_FOUND: "no such job",
}
"""What a script may rely on; the same words are in docs/operations.md."""

NEXT_STEPS = {
    ExitCode.CONFIG: "correct the configuration (docs/configuration.md), then try: meshdrop doctor",
    ExitCode.UNUSABLE: "find out what is wrong with: meshdrop doctor",
    ExitCode.IN_USE: "stop the other daemon, or give this one its own --root and --state",
}
"""For errors that bring no advice of their own."""


class CommandError(DaemonError):
    """A command cannot do what it was asked; the message says what."""

    def __init__(self, what: str, *, where: str = "", next_step: str = "", exit_code: ExitCode) -> None:
        super().__init__(what)
        self.where = where
        self.next_step = next_step
        self.exit_code = exit_code


def reporting(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command end with lines and an exit code where it would end with a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except DaemonError as error:
            tell_error(error, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(error.exit_code) from None

    return run


def tell_error(error: DaemonError, *, as_json: bool) -> None:
    """What, where and next on standard error; with ``--json`` one document on standard output."""
    parts = {
        "what": shown(str(error)),
        "where": shown(getattr(error, "where", "")),
        "next": getattr(error, "next_step", "") or NEXT_STEPS.get(error.exit_code, ""),
    }
    if as_json:
        say_json({"error": {name: text for name, text in parts.items() if text} | {"exit_code": int(error.exit_code)}})
        return
    typer.echo(f"meshdrop: {parts.pop('what')}", err=True)
    for name, text in parts.items():
        if text:
            typer.echo(f"  {name + ':':<6} {text}", err=True)


def failure_error(failure: Failure, exit_code: ExitCode) -> CommandError:
    """A job's failure as a command's error."""
    where = " ".join(filter(None, (failure.file, f"({failure.stage})" if failure.stage else "")))
    suggestion = str(failure.to_json()["suggestion"])
    return CommandError(
        f"{failure.code.value}: {failure.message}", where=where, next_step=suggestion, exit_code=exit_code
    )


def is_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def console() -> Console:
    """For tables and colours; names are never taken for markup."""
    return Console(markup=False, highlight=False, emoji=False, soft_wrap=False)


def say_json(document: object, *, indent: int | None = 1) -> None:
    """One document for a program."""
    typer.echo(json.dumps(document, indent=indent, default=str))
