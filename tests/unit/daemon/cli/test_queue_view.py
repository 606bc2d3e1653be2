"""Rows of the queue."""

import json
from pathlib import Path

import pytest

from daemon.cli.queue_view import queue_row, queue_table
from daemon.config import Config, load_config
from daemon.errors import ErrorCode, Failure
from daemon.forecast import Estimate
from daemon.jobs import Job, JobState
from daemon.share import create_share


@pytest.fixture
def config(tmp_path: Path) -> Config:
    create_share(tmp_path / "share")
    (tmp_path / "share/inbox/shoe").mkdir()
    return load_config(root=tmp_path / "share", state=tmp_path / "state")


def test_row_holds_what_status_json_says(config: Config) -> None:
    """Place, fraction and time left with its band."""
    said = {"job_id": "1", "message": "m", "queue_position": 2, "fraction": 0.25, "eta_s": 60, "eta_range_s": [50, 90]}
    (config.inbox / "shoe/status.json").write_text(json.dumps(said))
    row = queue_row(config, Job("1", "shoe", JobState.QUEUED))
    assert (row.message, row.place, row.fraction, row.left) == ("m", 2, 0.25, Estimate(60.0, 50.0, 90.0))
    assert row.to_json()["eta_range_s"] == [50, 90]
    assert row.to_line() == "1\tshoe\tqueued\tm\tabout 60 s (50 s to 2 min)"


@pytest.mark.parametrize("said", ["[]", "{", '{"fraction": "x", "eta_s": [], "eta_range_s": 7, "message": {}}', ""])
def test_strange_status_files_do_no_harm(config: Config, said: str) -> None:
    """Anybody may write into the folder: what is not a number is not taken for one."""
    (config.inbox / "shoe/status.json").write_text(said)
    row = queue_row(config, Job("1", "shoe", JobState.RUNNING))
    assert (row.place, row.fraction, row.left) == (None, None, None)


def test_ended_job_says_where_it_is_or_why_not(config: Config) -> None:
    """Done jobs name their folder and verdict, failed ones their failure."""
    good = Job("1", "a", JobState.DONE, destination="done/a", summary={"verdict": "normal"})
    assert queue_row(config, good).message == "done/a (normal)"
    assert queue_row(config, Job("1", "a", JobState.DONE, destination="done/a")).message == "done/a"
    failure = Failure(ErrorCode.OBJECT_NOT_FOUND, "Nothing\x1b[2J there.")
    assert queue_row(config, Job("1", "a", JobState.FAILED, failure=failure)).message == "Nothing\\x1b[2J there."


def test_empty_queue_says_what_to_do() -> None:
    """A table without jobs has a line for the beginner."""
    assert queue_table([], "").row_count == 1
