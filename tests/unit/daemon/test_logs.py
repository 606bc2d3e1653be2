"""What the log looks like on a terminal, in a pipe and in the journal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from daemon.logs import JobLog

PROGRAM = """
import sys, structlog
from daemon import logs
from daemon.config import LogConfig
logs.configure(LogConfig.model_validate({"format": sys.argv[1]}))
log = structlog.get_logger()
log.warning("job waits", job_id="j1", folder="evil\\x1b[2J", url="mailto://anna:hushhush@mail.example")
log.debug("not important enough")
try:
    raise RuntimeError("broken")
except RuntimeError:
    log.exception("failed", job_id="j2")
"""


def logged(tmp_path: Path, log_format: str, *, is_journal: bool) -> str:
    """What a process writes to standard error."""
    with (tmp_path / "stderr").open("w+b") as stderr:
        status = os.fstat(stderr.fileno())
        stream = f"{status.st_dev}:{status.st_ino}" if is_journal else "1:1"
        environment = os.environ | {"JOURNAL_STREAM": stream, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", PROGRAM, log_format], stderr=stderr, check=True, env=environment)
        stderr.seek(0)
        return stderr.read().decode()


def test_lines_are_json_with_the_job(tmp_path: Path) -> None:
    """One object per event, its job named, control characters and passwords gone, the traceback inside."""
    first, second = map(json.loads, logged(tmp_path, "json", is_journal=False).splitlines())
    assert (first["event"], first["job_id"], first["level"]) == ("job waits", "j1", "warning")
    assert first["folder"] == "evil\\x1b[2J"
    assert first["url"] == "mailto://***@mail.example"
    assert second["job_id"] == "j2"
    assert "RuntimeError: broken" in second["exception"]


def test_the_journal_gets_priorities(tmp_path: Path) -> None:
    """sd-daemon's prefix and then the same JSON, so that journalctl -p and jq both work."""
    lines = logged(tmp_path, "auto", is_journal=True).splitlines()
    assert [line[:3] for line in lines] == ["<4>", "<3>"]
    assert json.loads(lines[0][3:])["job_id"] == "j1"


def test_another_processs_journal_is_none_of_ours(tmp_path: Path) -> None:
    """A variable inherited from the parent, with standard error led elsewhere, changes nothing."""
    assert logged(tmp_path, "json", is_journal=False).startswith("{")


@pytest.mark.parametrize("place", ["there", "missing/folder"])
def test_a_jobs_log_never_harms_the_job(tmp_path: Path, place: str) -> None:
    """Lines are whole JSON objects; a folder that is gone costs the line only."""
    (tmp_path / "there").mkdir()
    file = tmp_path / place / "log.jsonl"
    for number in range(3):
        JobLog(file, "j1").write("worker started", number=number)
    if place == "there":
        assert [json.loads(line)["number"] for line in file.read_text().splitlines()] == [0, 1, 2]
    else:
        assert not file.exists()


def test_structlog_is_left_alone_on_import() -> None:
    """Importing the module configures nothing."""
    assert not structlog.is_configured()
