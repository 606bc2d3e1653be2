"""What every command has in common."""

import json
import re
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from daemon.cli import app
from daemon.cli.terminal import EXIT_CODES
from daemon.errors import ExitCode
from repository import REPOSITORY

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    finished = CliRunner().invoke(app, [*arguments], env=environment, prog_name="meshdrop")
    if finished.exception is not None and not isinstance(finished.exception, SystemExit):
        raise finished.exception
    return finished.exit_code, finished.stdout, finished.stderr


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """A share and a state folder where nothing has happened yet."""
    return {"MESHDROP_ROOT": str(tmp_path / "share"), "MESHDROP_STATE": str(tmp_path / "state")}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(command: str) -> None:
    """Every command's help shows how it is called, and every command speaks JSON."""
    code, text, _ = run(command, "--help")
    assert code == ExitCode.OK
    assert re.search(rf"^ {{4}}meshdrop {command}\b", text, re.MULTILINE), text
    assert "--json" in text
    assert "\b" not in text


def test_first_sentences_fit_the_list() -> None:
    """The list of commands cuts no sentence."""
    assert "..." not in run("--help")[1].partition("Commands:")[2]


def test_exit_codes_are_told() -> None:
    """The help names every exit code with the words of docs/operations.md."""
    assert set(EXIT_CODES) == set(ExitCode)
    page = " ".join((REPOSITORY / "docs/operations.md").read_text("utf-8").split())
    told = " ".join(run("--help")[1].split())
    for code, meaning in EXIT_CODES.items():
        assert f"{code.value} {meaning}" in told
        assert f"{code.value} {meaning}" in page.replace("`", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status"], ExitCode.UNUSABLE),
        (["show", "shoe"], ExitCode.UNUSABLE),
        (["serve"], ExitCode.UNUSABLE),
        (["health"], ExitCode.UNHEALTHY),
        (["cancel", "shoe"], ExitCode.NOT_FOUND),
        (["retry", "shoe"], ExitCode.NOT_FOUND),
        (["cancel", "../done"], ExitCode.USAGE),
        (["check", "/nowhere"], ExitCode.USAGE),
        (["run", "/nowhere", "-o", "/nowhere"], ExitCode.USAGE),
        (["demo", "/nowhere"], ExitCode.USAGE),
        (["init", "/proc/no"], ExitCode.CONFIG),
    ],
)
def test_errors_say_what_and_what_next(places: dict[str, str], arguments: list[str], code: ExitCode) -> None:
    """Lines on standard error, nothing on standard output; as JSON the same with the exit code."""
    exit_code, output, errors = run(*arguments, **places)
    assert (exit_code, output) == (code, "")
    assert errors.startswith("meshdrop: ")
    assert re.search(r"^ {2}next: +\S", errors, re.MULTILINE), errors
    exit_code, output, errors = run(*arguments, "--json", **places)
    assert (exit_code, errors) == (code, "")
    error = json.loads(output)["error"]
    assert error["exit_code"] == code
    assert error["what"]
    assert error["next"]


def test_unknown_key_in_the_configuration(tmp_path: Path) -> None:
    """The nearest valid key is named, and where to read about it."""
    (tmp_path / "meshdrop.toml").write_text('root = "/srv"\nstat = "/var"\n')
    code, _, errors = run("status", "--config", str(tmp_path / "meshdrop.toml"))
    assert code == ExitCode.CONFIG
    assert "did you mean state?" in errors
    assert "docs/configuration.md" in errors
