"""The commands in a real pseudo-terminal, in a pipe and with --json, on a share with hostile names."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fakes
from daemon.errors import ExitCode
from served import TESTS, ServedShare, served
from terminals import MESHDROP, Terminal, piped, plain

pytestmark = pytest.mark.needs("setsid")

EVIL = "<script>[red]\N{RIGHT-TO-LEFT OVERRIDE}gnp\x1b[2J\x07"
SHOWN = "<script>[red]\\u202egnp\\x1b[2J\\x07"
LONG = "w" * 255
FAKE_RUN = (
    sys.executable, "-c",
    f"import sys; sys.path.insert(0, {str(TESTS)!r}); import fakes, recon; recon.reconstruct = fakes.reconstruct;"
    "from daemon.cli import main; main()",
)  # fmt: skip


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedShare]:
    """Two jobs are done, one has failed, one runs with its progress, one waits behind it."""
    with served(tmp_path_factory.mktemp("served"), intake={"incomplete_after_s": 600.0}) as running:
        for name in (EVIL, LONG):
            fakes.write_job(running.config.inbox / name)
        fakes.write_job(running.config.inbox / "bad", {"raise": "ObjectNotFound", "file": EVIL})
        running.until(lambda: len(running.store.recent(9)) == 3)
        fakes.write_job(running.config.inbox / "at work", {"work_s": 600})
        running.until(lambda: running.store.counts().get("running") == 1)
        fakes.write_job(running.config.inbox / f"next {EVIL}")
        running.until(lambda: running.store.counts().get("queued") == 1)
        running.until(lambda: "optimise" in (running.config.inbox / "at work/status.json").read_text("utf-8"))
        waiting = running.config.inbox / f"next {EVIL}/status.json"
        running.until(lambda: waiting.exists() and "queue_position" in waiting.read_text("utf-8"))
        yield running


@pytest.fixture
def environment(share: ServedShare) -> dict[str, str]:
    return {"MESHDROP_ROOT": str(share.config.root), "MESHDROP_STATE": str(share.config.state)}


def is_harmless(text: str) -> bool:
    """No name has reached the terminal as a command: bidi override, clear screen, bell."""
    return not any(evil in text for evil in ("\N{RIGHT-TO-LEFT OVERRIDE}", "\x1b[2J", "\x07"))


def test_status_on_a_terminal_is_a_table(environment: dict[str, str]) -> None:
    """Colours, a bar for the running job, every name in full or cut with an ellipsis, none of them obeyed."""
    terminal = Terminal("status", environment=environment)
    assert terminal.end() == ExitCode.OK
    assert "\x1b[" in terminal.screen
    assert is_harmless(terminal.screen)
    lines = plain(terminal.screen).splitlines()
    (at_work,) = [line for line in lines if "at work" in line]
    assert "running" in at_work
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" in at_work
    assert any("wwww\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    assert any(SHOWN in line and "done" in line for line in lines)
    assert any(re.match(r"\W*1\W", line) and "queued" in line for line in lines)


def test_status_in_a_pipe_is_lines(environment: dict[str, str]) -> None:
    """One job per line in the order of the queue, fields between tabs, no escapes."""
    finished = piped("status", environment=environment)
    assert finished.returncode == ExitCode.OK
    assert "\x1b" not in finished.stdout
    assert is_harmless(finished.stdout)
    rows = [line.split("\t") for line in finished.stdout.splitlines()]
    assert [(row[1], row[2]) for row in rows[:2]] == [("at work", "running"), (f"next {SHOWN}", "queued")]
    assert {(row[1], row[2]) for row in rows[2:]} == {(SHOWN, "done"), (LONG, "done"), ("bad", "failed")}


def test_status_as_json_is_a_list(environment: dict[str, str]) -> None:
    """The same facts for programs: numbers as numbers, unknown ones as null."""
    finished = piped("status", "--json", environment=environment)
    rows = {row["name"]: row for row in json.loads(finished.stdout)}
    assert rows["at work"]["fraction"] == 0.5
    assert rows[f"next {SHOWN}"]["queue_position"] == 1
    assert rows["bad"]["fraction"] is None
    assert is_harmless(finished.stdout)


def test_watch_follows_in_place(share: ServedShare, environment: dict[str, str]) -> None:
    """On a terminal the table renews itself where it stands, shows a new job, and Ctrl-C ends it with exit code 0."""
    terminal = Terminal("status", "--watch", environment=environment)
    terminal.until(lambda screen: "at work" in screen, lambda: share.for_s(0.1))
    (share.config.inbox / "latecomer").mkdir(exist_ok=True)
    terminal.until(lambda screen: "latecomer" in screen, lambda: share.for_s(0.1))
    assert "\x1b[1A" in terminal.screen  # the cursor went up to draw over the table before
    terminal.press(b"\x03")
    assert terminal.end() == ExitCode.OK
    assert "Traceback" not in terminal.screen
    # What is still to be said of this folder would be news to the next test.
    said = share.config.inbox / "latecomer/status.json"
    share.until(lambda: said.exists() and "Waiting for" in said.read_text("utf-8"))


def test_watch_in_a_pipe_tells_changes(share: ServedShare, environment: dict[str, str]) -> None:
    """A job that comes is one more line; what stays as it is is not repeated."""
    command = [*MESHDROP, "status", "--watch", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**environment, "PATH": ""}) as watcher:
        try:
            assert watcher.stdout is not None
            known = [json.loads(watcher.stdout.readline())["name"] for _ in share.states()]
            (share.config.inbox / "newcomer").mkdir()
            share.until(lambda: share.states().get("newcomer") == "waiting")
            news = [json.loads(watcher.stdout.readline())]
            while news[-1]["name"] != "newcomer":
                news.append(json.loads(watcher.stdout.readline()))
        finally:
            watcher.terminate()  # also where the test fails: leaving the block waits for its end
    assert "newcomer" not in known
    assert news[-1]["state"] == "waiting"
    assert len(news) <= 2  # nothing but what the daemon had to say of the others meanwhile


def test_show_tells_the_story(environment: dict[str, str]) -> None:
    """Steps with their durations, the failure with its place and the next step; the same without colours in a pipe."""
    terminal = Terminal("show", "bad", environment=environment)
    assert terminal.end() == ExitCode.OK
    told = piped("show", "bad", environment=environment).stdout
    assert [line.rstrip() for line in plain(terminal.screen).splitlines()] == told.splitlines()
    assert "\x1b[31m" in terminal.screen
    assert is_harmless(terminal.screen)
    assert "running -> publishing" in told
    assert "OBJECT_NOT_FOUND" in told
    assert f"  where: {SHOWN}" in told
    assert "  next:  " in told
    assert "look at: " in told
    assert "report.html" in told


def test_check_colours_verdicts(share: ServedShare, environment: dict[str, str], tmp_path: Path) -> None:
    """A table on a terminal, one line per file in a pipe; both name the file that is cut off."""
    folder = fakes.write_job(tmp_path / "shoe")
    (folder / "view_01.png").write_bytes(fakes.png(64, 64)[:-20])
    (folder / f"{EVIL}.txt").touch()
    terminal = Terminal("check", str(folder), environment=environment)
    assert terminal.end() == ExitCode.NOT_READY
    assert is_harmless(terminal.screen)
    assert "\x1b[33m" in terminal.screen
    finished = piped("check", str(folder), environment=environment)
    assert finished.returncode == ExitCode.NOT_READY
    assert "incomplete: view_01.png (photograph): " in finished.stdout
    assert f"ignored: {SHOWN}.txt (not used)" in finished.stdout
    assert "\x1b" not in finished.stdout


def test_run_draws_a_bar_on_a_terminal_only(environment: dict[str, str], tmp_path: Path) -> None:
    """A bar that vanishes at the end, or one line per stage on standard error; the verdict on standard output."""
    folder = fakes.write_job(tmp_path / "shoe", {"work_s": 0.5})
    terminal = Terminal("run", str(folder), "-o", str(tmp_path / "a"), environment=environment, program=FAKE_RUN)
    assert terminal.end() == ExitCode.OK
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" in terminal.screen
    assert "nvdiffrec optimise" in plain(terminal.screen)
    finished = piped("run", str(folder), "-o", str(tmp_path / "b"), environment=environment, program=FAKE_RUN)
    assert finished.stdout == f"quality: normal; results in {tmp_path / 'b'}\n"
    stages = ["  0% nvdiffrec capture", " 50% nvdiffrec optimise", "100% nvdiffrec previews"]
    assert finished.stderr.splitlines() == stages


def test_shell_completes_commands_and_jobs(environment: dict[str, str]) -> None:
    """The completion that bash asks for knows the commands and the names of jobs, hostile ones as they are shown."""
    asked = {"_MESHDROP_COMPLETE": "complete_bash", "COMP_CWORD": "1", "COMP_WORDS": "meshdrop sta"}
    program = (sys.executable, "-c", "from daemon.cli import app; app(prog_name='meshdrop')")
    assert piped(environment=environment | asked, program=program).stdout.split() == ["status"]
    asked |= {"COMP_CWORD": "2", "COMP_WORDS": "meshdrop show b"}
    assert piped(environment=environment | asked, program=program).stdout.split() == ["bad"]
