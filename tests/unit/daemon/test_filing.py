"""Passing troubles hold a job back, longer each time, visibly, and for so long only."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import fakes
from daemon.desks import Desk
from daemon.errors import ErrorCode, Failure
from daemon.filing import FIRST_PAUSE_S, LONGEST_PAUSE_S
from daemon.intake import Look, Memory, Verdict
from daemon.jobs import Job, JobState
from table_rooms import FilingRoom, opened

FULL = Failure(ErrorCode.DISK_FULL, "m")


class Room(FilingRoom):
    """A filing over a real inbox and a real table, with the clock in the test's hand."""

    def __init__(self, base: Path) -> None:
        super().__init__(base, disk={"min_free_bytes": 0}, intake={"give_up_after_s": 1000.0, "prefetch": 2})

    def queue(self, name: str, **changes: object) -> Job:
        """A whole folder that has been looked at and is queued."""
        folder = fakes.write_job(self.config.inbox / name)
        (job,) = self.ledger.add([(name, folder.stat().st_ino, 0)])
        self.desks.open(job, Desk(Memory(), Look(Verdict.WAIT), self.now_s))
        for now_s in (self.now_s, self.now_s + 3.0):
            self.now_s = now_s
            self.desks.round(2.0, now_s + 60.0)
        return self.ledger.update(self.ledger[job.job_id], **changes) if changes else self.ledger[job.job_id]

    def settle(self) -> None:
        """Let the threads finish what was begun, and collect it."""
        for future in self.filing._snapshots.values():
            future.exception()
        self.filing._collect_snapshots()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with opened(Room(tmp_path)) as made:
        yield made


def test_pauses_double_up_to_a_minute(room: Room) -> None:
    """A short hiccup costs half a second, a long outage no busy loop."""
    job = room.queue("shoe")
    pauses = []
    for _ in range(12):
        assert not room.filing.hold_back(job, FULL)
        pauses.append(room.filing.troubles[job.job_id].until_s - room.now_s)
        assert room.filing.is_held_back(job.job_id)
        assert room.filing.next_s() == room.filing.troubles[job.job_id].until_s
    assert pauses[:4] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S, 8 * FIRST_PAUSE_S]
    assert max(pauses) == pauses[-1] == LONGEST_PAUSE_S


def test_patience_counts_from_the_first_time(room: Room) -> None:
    """Not from the last try, or a trouble that repeats would be waited for for ever."""
    job = room.queue("shoe")
    start_s = room.now_s
    assert not room.filing.hold_back(job, FULL)
    room.now_s = start_s + 1000.0
    assert not room.filing.hold_back(job, FULL)
    room.now_s = start_s + 1000.1
    assert room.filing.hold_back(job, FULL)


def test_a_held_job_is_said_to_be_held(room: Room) -> None:
    """Its status file is renewed."""
    job = room.queue("shoe")
    room.ledger.touched.clear()
    room.filing.hold_back(job, FULL)
    assert room.ledger.touched == {job.job_id}


def test_so_many_are_copied_ahead_and_no_more(room: Room) -> None:
    """The disk holds the copies of the next jobs, not of the whole queue."""
    jobs = [room.queue(f"job{number}") for number in range(4)]
    for _ in range(3):
        room.filing._begin_snapshots()
        room.settle()
    assert sum(bool(room.ledger[job.job_id].input_sha256) for job in jobs) == 2


def test_a_change_before_the_copy_sends_the_job_back(room: Room) -> None:
    """What is copied is what was looked at."""
    job = room.queue("shoe")
    (room.config.inbox / "shoe/view_00.png").write_bytes(fakes.png(8, 8))
    room.filing._begin_snapshots()
    room.settle()
    assert room.ledger[job.job_id].state is JobState.WAITING
    assert room.ledger[job.job_id].input_sha256 == ""


def test_another_folder_of_the_name_is_not_copied(room: Room) -> None:
    """Even one that holds the very same pictures belongs to another job."""
    job = room.queue("shoe")
    (room.config.inbox / "shoe").rename(room.config.root / "away")
    fakes.write_job(room.config.inbox / "shoe")
    room.filing._begin_snapshots()
    room.settle()
    assert room.ledger[job.job_id].state is JobState.WAITING


def test_a_job_that_went_meanwhile_is_passed_over(room: Room) -> None:
    """The thread's result is of no use, and nothing comes of it."""
    job = room.queue("shoe")
    room.filing._begin_snapshots()
    room.ledger.move(room.ledger[job.job_id], JobState.WITHDRAWN)
    room.settle()
    assert job.job_id not in room.ledger
    assert not room.filing.is_at_work(job.job_id)
