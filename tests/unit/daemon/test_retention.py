"""What is removed when, and that nothing else ever is."""

import json
import os
import shutil
from pathlib import Path

import pytest

from daemon.config import Config, load_config
from daemon.jobs import Job, JobState
from daemon.retention import REMOVALS_PER_ROUND, remove_expired
from daemon.share import create_share
from daemon.store import Store
from table_rooms import Clock


@pytest.fixture
def root(tmp_path: Path) -> Path:
    create_share(tmp_path / "share")
    return tmp_path / "share"


def config(root: Path, **retention: object) -> Config:
    return load_config(root=root, state=root.parent / "state", retention=retention)


def ended(root: Path, store: Store, name: str, state: JobState = JobState.DONE) -> Job:
    """A job that has ended now, with its folder on the share."""
    area, file = ("done", "result.json") if state is JobState.DONE else ("failed", "error.json")
    (job,) = store.add([(name, 1, 1)])
    job = store.move(job, JobState.PUBLISHING, outcome=state)
    job = store.move(job, state, destination=f"{area}/{name}")
    (root / area / name).mkdir(parents=True)
    (root / area / name / file).write_text(json.dumps({"job_id": job.job_id}))
    return job


def test_each_kind_has_its_own_time(root: Path, store: Store, clock: Clock) -> None:
    """Done after one time, failed and cancelled after another, neither a second too early."""
    for name, state in (("d", JobState.DONE), ("f", JobState.FAILED), ("c", JobState.CANCELLED)):
        ended(root, store, name, state)
    settings = config(root, done_after_s=100.0, failed_after_s=200.0)
    remove_expired(settings, store, clock.now_s + 100.0)
    assert os.listdir(root / "done") == ["d"]
    remove_expired(settings, store, clock.now_s + 101.0)
    assert (os.listdir(root / "done"), sorted(os.listdir(root / "failed"))) == ([], ["c", "f"])
    remove_expired(settings, store, clock.now_s + 201.0)
    assert os.listdir(root / "failed") == []


def test_a_folder_that_is_not_ours_any_more_stays(root: Path, store: Store, clock: Clock) -> None:
    """Somebody else's folder at the place of an old outcome is never removed, and is not asked about again."""
    job = ended(root, store, "shoe")
    shutil.rmtree(root / "done/shoe")
    (root / "done/shoe").mkdir()
    (root / "done/shoe/precious.txt").touch()
    remove_expired(config(root, done_after_s=1.0), store, clock.now_s + 10.0)
    assert os.listdir(root / "done/shoe") == ["precious.txt"]
    found = store.find(job.job_id)
    assert found is not None
    assert found.destination == ""


def test_a_link_in_place_of_the_folder_is_not_followed(root: Path, store: Store, clock: Clock) -> None:
    """Nothing outside the share can be reached through an old outcome's name."""
    job = ended(root, store, "shoe")
    outside = root.parent / "outside"
    (root / "done/shoe").rename(outside)
    (root / "done/shoe").symlink_to(outside)
    remove_expired(config(root, done_after_s=1.0), store, clock.now_s + 10.0)
    assert (outside / "result.json").exists()
    assert (root / "done/shoe").is_symlink()
    assert store.find(job.job_id) is not None


def test_a_flood_goes_a_few_at_a_time(root: Path, store: Store, clock: Clock) -> None:
    """One round removes no more than the loop can spare the time for; the next goes on."""
    for number in range(REMOVALS_PER_ROUND + 3):
        ended(root, store, f"job{number}")
    settings = config(root, done_after_s=1.0)
    remove_expired(settings, store, clock.now_s + 10.0)
    assert len(os.listdir(root / "done")) == 3
    remove_expired(settings, store, clock.now_s + 10.0)
    assert os.listdir(root / "done") == []


def test_nothing_goes_by_default(root: Path, store: Store, clock: Clock) -> None:
    """Retention is the operator's decision."""
    ended(root, store, "shoe")
    remove_expired(config(root), store, clock.now_s + 1e12)
    assert os.listdir(root / "done") == ["shoe"]
