"""When each folder is looked at again, and what the look leads to; the clock is in the test's hand."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import fakes
from daemon.config import load_config
from daemon.desks import IDLE_LOOKS_PER_S, Desk, Desks
from daemon.intake import Look, Memory, Verdict
from daemon.jobs import Job, JobState
from daemon.ledger import Ledger
from daemon.share import create_share
from daemon.store import open_store

SETTLE_S = 2.0


class Room:
    """Desks over a real inbox and a real table."""

    def __init__(self, base: Path, **tables: object) -> None:
        create_share(base / "share")
        (base / "state/work").mkdir(parents=True)
        self.config = load_config(root=base / "share", state=base / "state", **tables)
        self.store = open_store(self.config.database)
        self.ledger = Ledger(self.store)
        self.now_s = 100.0
        self.batches: list[str] = []
        self.desks = Desks(self.config, self.ledger, self.batches.append, lambda: self.now_s)

    def receive(self, name: str) -> Job:
        """Record a folder that is in the inbox."""
        (job,) = self.ledger.add([(name, (self.config.inbox / name).stat().st_ino, 0)])
        self.desks.open(job, Desk(Memory(), Look(Verdict.WAIT), self.now_s))
        return job

    def at(self, now_s: float) -> None:
        """Take the looks that are due at a time."""
        self.now_s = now_s
        self.desks.round(SETTLE_S, now_s + 60.0)

    def state(self, job: Job) -> JobState:
        found = self.store.find(job.job_id)
        assert found is not None
        return found.state


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.store.close()


def test_a_whole_folder_is_queued_when_it_has_settled(room: Room) -> None:
    """Not before, and no event is needed for it."""
    fakes.write_job(room.config.inbox / "shoe")
    job = room.receive("shoe")
    for now_s in (100.0, 101.0, 101.9):
        room.at(now_s)
        assert room.state(job) is JobState.WAITING
    room.at(102.1)
    assert room.state(job) is JobState.QUEUED


def test_a_folder_is_doubted_until_its_time_can_be_trusted(room: Room) -> None:
    """For two seconds after a change it is looked at every second, for a second change may not show in its time."""
    (room.config.inbox / "shoe").mkdir()
    room.receive("shoe")
    room.at(100.0)
    assert (room.desks.next_s() or 0.0) <= 101.0
    room.at(101.0)
    assert (room.desks.next_s() or 0.0) <= 102.1


def test_a_crowd_is_looked_at_in_turn(room: Room) -> None:
    """However many folders wait, so many looks a second and no more are spent on those that do not change."""
    jobs = []
    for number in range(200):
        (room.config.inbox / f"job{number}").mkdir()
        jobs.append(room.receive(f"job{number}"))
    for now_s in (100.0, 101.0, 102.2, 110.0, 140.0):
        room.at(now_s)
    due_s = [desk.next_s for job in jobs if (desk := room.desks.get(job.job_id))]
    assert min(due_s) >= 140.0 + 200 / IDLE_LOOKS_PER_S


def test_a_change_is_looked_at_at_once(room: Room) -> None:
    """What the scan saw change jumps the queue."""
    (room.config.inbox / "shoe").mkdir()
    job = room.receive("shoe")
    for now_s in (100.0, 102.2, 110.0):
        room.at(now_s)
    fakes.write_job(room.config.inbox / "shoe")
    room.desks.note_change(room.ledger[job.job_id])
    assert room.desks.next_s() == 0.0
    room.at(110.0)
    desk = room.desks.get(job.job_id)
    assert desk is not None
    assert len(desk.last.found.pictures) == 12


def test_cancel_in_a_running_job_is_found_by_the_patrol(room: Room) -> None:
    """Within a quarter of a second, without an event, and only once per job."""
    folder = fakes.write_job(room.config.inbox / "shoe")
    job = room.receive("shoe")
    job = room.ledger.move(job, JobState.QUEUED)
    job = room.ledger.move(job, JobState.RUNNING)
    room.at(100.0)
    (folder / "Cancel.txt").touch()
    room.at(100.1)
    assert room.desks.cancelling == {}
    room.at(100.3)
    assert room.desks.cancelling == {job.job_id: JobState.CANCELLED}
    assert room.state(job) is JobState.RUNNING, "the worker has to stop first"


def test_a_folder_changed_while_queued_waits_again(room: Room) -> None:
    """Until its files are copied a queued job follows its folder."""
    folder = fakes.write_job(room.config.inbox / "shoe")
    job = room.receive("shoe")
    room.at(100.0)
    room.at(102.1)
    (folder / "view_00.png").unlink()
    room.desks.note_change(room.ledger[job.job_id])
    room.at(102.2)
    assert room.state(job) is JobState.WAITING


def test_another_folder_of_the_name_is_not_looked_at(room: Room) -> None:
    """A waiting job does not become the job of whatever lies under its name."""
    (room.config.inbox / "shoe").mkdir()
    job = room.receive("shoe")
    room.at(100.0)
    (room.config.inbox / "shoe").rename(room.config.root / "away")
    fakes.write_job(room.config.inbox / "shoe")
    for now_s in (103.0, 106.0, 120.0):
        room.at(now_s)
    assert room.state(job) is JobState.WAITING
    desk = room.desks.get(job.job_id)
    assert desk is not None
    assert desk.last.found.pictures == ()


def test_a_batch_is_handed_over(room: Room) -> None:
    """A folder that turns out to hold jobs is withdrawn as a job and told about."""
    (room.config.inbox / "monday").mkdir()
    job = room.receive("monday")
    room.at(100.0)
    fakes.write_job(room.config.inbox / "monday/shoe")
    room.desks.note_change(room.ledger[job.job_id])
    room.at(101.0)
    assert room.batches == ["monday"]
    assert room.state(job) is JobState.WITHDRAWN


def test_a_mistake_of_ours_hurts_one_folder(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that fails unexpectedly is tried again later, and the other folders have their turn."""
    fakes.write_job(room.config.inbox / "a")
    fakes.write_job(room.config.inbox / "b")
    first, second = room.receive("a"), room.receive("b")
    look = room.desks.look

    def fail_on_first(folder: str, *arguments: object) -> Look:
        if folder == "a":
            raise KeyError("ours")
        return look(folder, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(room.desks, "look", fail_on_first)
    for now_s in (100.0, 102.1):
        room.at(now_s)
    assert (room.state(first), room.state(second)) == (JobState.WAITING, JobState.QUEUED)
    monkeypatch.undo()
    for now_s in (106.0, 109.0):
        room.at(now_s)
    assert room.state(first) is JobState.QUEUED


def test_desks_of_ended_jobs_are_cleared(room: Room) -> None:
    """Memory does not grow with the jobs that were ever served."""
    (room.config.inbox / "shoe").mkdir()
    job = room.receive("shoe")
    room.ledger.move(job, JobState.WITHDRAWN)
    room.desks.forget_ended()
    assert room.desks.get(job.job_id) is None


def test_an_unreadable_folder_waits_and_says_so(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO and the like are not the user's mistake."""
    fakes.write_job(room.config.inbox / "shoe")
    job = room.receive("shoe")
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", _broken)
        room.at(100.0)
    desk = room.desks.get(job.job_id)
    assert desk is not None
    assert "Input/output error" in desk.last.note
    for now_s in (101.1, 103.2):
        room.at(now_s)
    assert room.state(job) is JobState.QUEUED


def _broken(_folder: object) -> None:
    raise OSError(5, os.strerror(5))


def test_a_deleted_folder_is_no_error(room: Room) -> None:
    """That it is gone is for the scan to say, which knows whether the share is there."""
    fakes.write_job(room.config.inbox / "shoe")
    job = room.receive("shoe")
    shutil.rmtree(room.config.inbox / "shoe")
    room.at(100.0)
    assert room.state(job) is JobState.WAITING
