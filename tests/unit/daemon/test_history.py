"""A lost job table is read back from the outcomes on the share, of which nothing is believed that could do harm."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.history import adopt_outcomes
from daemon.jobs import JobState
from daemon.share import create_share
from daemon.store import Store, open_store

JOB_ID = "20260101-120000-00112233aa"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    create_share(tmp_path / "share")
    return tmp_path / "share"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "jobs.sqlite3")
    yield opened
    opened.close()


def outcome(folder: Path, name: str, content: object) -> None:
    folder.mkdir(parents=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_outcomes_come_back_with_their_times(root: Path, store: Store) -> None:
    """A done job has its id, its place and its real times again."""
    about = {
        "job_id": JOB_ID,
        "created": "2026-01-01T12:00:00+00:00",
        "started": "2026-01-01T12:00:05+00:00",
        "time": "2026-01-01T12:01:00+00:00",
    }
    outcome(root / "done/shoe", "result.json", about)
    adopt_outcomes(root, store)
    (job,) = store.recent(10)
    assert (job.job_id, job.folder, job.destination, job.state) == (JOB_ID, "shoe", "done/shoe", JobState.DONE)
    assert (job.started_at_s or 0) - job.created_at_s == 5.0
    assert (job.finished_at_s or 0) - job.created_at_s == 60.0


def test_failed_cancelled_and_batches_are_told_apart(root: Path, store: Store) -> None:
    """Each kind of outcome keeps its state; the jobs of a batch are found inside it."""
    outcome(root / "failed/bad", "error.json", {"code": "INPUT_CORRUPT", "message": "m"})
    outcome(root / "failed/stopped", "error.json", {"code": "JOB_CANCELLED", "message": "m"})
    outcome(root / "done/monday/shoe", "result.json", {"job_id": JOB_ID})
    adopt_outcomes(root, store)
    states = {job.destination: job.state for job in store.recent(10)}
    assert states == {
        "failed/bad": JobState.FAILED,
        "failed/stopped": JobState.CANCELLED,
        "done/monday/shoe": JobState.DONE,
    }
    failure = next(job.failure for job in store.recent(10) if job.folder == "bad")
    assert failure is not None
    assert failure.code == "INPUT_CORRUPT"


@pytest.mark.parametrize("claimed", ["../../etc", "", "x" * 5000, 7, None])
def test_an_invented_id_is_replaced(root: Path, store: Store, claimed: object) -> None:
    """An id names private paths, so one that we would not have given is not taken from a file on the share."""
    outcome(root / "done/shoe", "result.json", {"job_id": claimed, "time": "no time"})
    adopt_outcomes(root, store)
    (job,) = store.recent(10)
    assert job.job_id != claimed
    assert len(job.job_id) == len(JOB_ID)
    assert job.finished_at_s == pytest.approx((root / "done/shoe").stat().st_mtime)


def test_what_is_no_outcome_is_left_alone(root: Path, store: Store) -> None:
    """Folders and files of users, and outcome files that cannot be read, become no jobs."""
    outcome(root / "done/mine", "notes.txt", "hello")
    outcome(root / "done/broken", "result.json", '{"job_id": ')
    outcome(root / "failed/list", "error.json", "[1, 2]")
    (root / "done/file").touch()
    (root / "done/link").symlink_to("/etc")
    adopt_outcomes(root, store)
    assert store.recent(10) == []


def test_two_folders_that_claim_one_id_are_one_job(root: Path, store: Store) -> None:
    """A user's copy of an outcome neither stops the start nor doubles the job."""
    outcome(root / "done/shoe", "result.json", {"job_id": JOB_ID})
    outcome(root / "done/shoe copy", "result.json", {"job_id": JOB_ID})
    adopt_outcomes(root, store)
    assert [job.job_id for job in store.recent(10)] == [JOB_ID]


def test_a_table_that_knows_jobs_is_not_touched(root: Path, store: Store) -> None:
    """Only an empty table is filled."""
    store.add([("waiting", 1, 1)])
    outcome(root / "done/shoe", "result.json", {"job_id": JOB_ID})
    adopt_outcomes(root, store)
    assert store.recent(10) == []
