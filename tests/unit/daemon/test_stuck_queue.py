"""A queue that does not come forward is said once."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.dispatch import Progress
from daemon.jobs import Job, JobState
from daemon.ledger import Ledger
from daemon.store import open_store
from daemon.stuck_queue import StuckQueue


class Room:
    """One running job, one that waits, and a clock."""

    def __init__(self, base: Path) -> None:
        self.store = open_store(base / "jobs.sqlite3")
        self.ledger = Ledger(self.store)
        running, self.waiting = self.ledger.add([("running", 1, 0), ("waiting", 2, 0)])
        self.running: Job = self.ledger.move(self.ledger.move(running, JobState.QUEUED), JobState.RUNNING)
        self.waiting = self.ledger.move(self.waiting, JobState.QUEUED)
        self.now_s = 0.0
        self.told: list[str] = []
        self.progress: dict[str, Progress] = {}
        self.health: Any = SimpleNamespace(is_stuck=False)
        dispatch: Any = SimpleNamespace(progress=self.progress)
        notifier: Any = SimpleNamespace(warn=lambda event, _title, _body: self.told.append(event))
        self.stuck_queue = StuckQueue(100.0, self.ledger, dispatch, self.health, notifier, lambda: self.now_s)
        self.stuck_queue.round()

    def at(self, now_s: float) -> bool:
        self.now_s = now_s
        self.stuck_queue.round()
        return bool(self.health.is_stuck)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.store.close()


def test_standing_still_is_said_once(room: Room) -> None:
    """After the time, not before, and not again and again."""
    assert not room.at(99.0)
    assert room.at(100.0)
    assert room.at(500.0)
    assert room.told == ["stuck"]


def test_a_job_that_gets_further_is_progress(room: Room) -> None:
    """And one that starts from the beginning again and again is not."""
    for now_s, fraction in ((50.0, 0.1), (120.0, 0.2), (200.0, 0.3)):
        room.progress[room.running.job_id] = Progress(fraction=fraction)
        assert not room.at(now_s)
    for now_s, fraction in ((240.0, 0.0), (280.0, 0.2), (301.0, 0.3)):
        room.progress[room.running.job_id] = Progress(fraction=fraction)
        is_stuck = room.at(now_s)
    assert is_stuck


def test_an_ended_job_is_progress_and_frees_the_alarm(room: Room) -> None:
    """When it comes forward again it can get stuck again, and that is said again."""
    assert room.at(100.0)
    room.ledger.move(room.running, JobState.PUBLISHING, outcome=JobState.DONE)
    assert not room.at(110.0)
    assert room.at(211.0)
    assert room.told == ["stuck", "stuck"]


def test_nobody_waits_nobody_is_told(room: Room) -> None:
    """A long job alone is a long job."""
    room.ledger.move(room.waiting, JobState.WITHDRAWN)
    assert not room.at(10_000.0)
