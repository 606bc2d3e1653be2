"""status.json is written soon, not too often, never into a stranger's folder, and never at the cost of the scan."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daemon import status as module
from daemon.jobs import Job
from daemon.status import FASTEST_WRITE_S, StatusBoard
from table_rooms import FilingRoom, opened


class Room(FilingRoom):
    """A board over a real inbox and a real table, with the clock in the test's hand."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        dispatch: Any = SimpleNamespace(progress={}, executors=[])
        self.board = StatusBoard(self.config, self.ledger, self.desks, self.filing, dispatch, self.clock)

    def receive(self, name: str) -> Job:
        """Record a new folder."""
        (self.config.inbox / name).mkdir()
        (job,) = self.ledger.add([(name, (self.config.inbox / name).stat().st_ino, 0)])
        return job

    def written(self) -> list[str]:
        return sorted(file.parent.name for file in self.config.inbox.glob("*/status.json"))


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with opened(Room(tmp_path)) as made:
        yield made


def test_what_is_new_is_told_at_once_and_then_once_a_second(room: Room) -> None:
    """A second word within the second waits for it, and the loop is told when it is due."""
    job = room.receive("shoe")
    room.board.round()
    file = room.config.inbox / "shoe/status.json"
    assert json.loads(file.read_text())["job_id"] == job.job_id
    file.unlink()
    room.ledger.touched.add(job.job_id)
    room.now_s += FASTEST_WRITE_S / 2
    room.board.round()
    assert not file.exists()
    assert (room.board.next_s() or 0.0) <= room.now_s + FASTEST_WRITE_S / 2
    room.now_s += FASTEST_WRITE_S / 2
    room.board.round()
    assert file.exists()
    assert room.board.next_s() is None


def test_a_flood_is_told_in_pieces(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a turn's time is spent the rest follows in the next turn, which comes at once."""
    for number in range(5):
        room.receive(f"job{number}")
    write = StatusBoard._write

    def slow_write(board: StatusBoard, job: Job, content: dict[str, object]) -> None:
        write(board, job, content)
        room.now_s += module.WRITE_BUDGET_S / 2

    monkeypatch.setattr(StatusBoard, "_write", slow_write)
    for told in (2, 4, 5):
        room.board.round()
        assert len(room.written()) == told
        assert (room.board.next_s() == room.now_s) is (told < 5)


def test_a_stranger_is_told_nothing(room: Room) -> None:
    """Another folder that has taken the job's name gets no status file, which would make it the job's own."""
    job = room.receive("shoe")
    (room.config.inbox / "shoe").rename(room.config.root / "away")
    (room.config.inbox / "shoe").mkdir()
    room.board.round()
    assert room.written() == []
    assert job.job_id in room.ledger


def test_a_folder_that_cannot_be_written_is_no_error(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status is derived; the job goes on without it."""
    room.receive("shoe")

    def full(*_arguments: object, **_named: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(module.folders, "write_file", full)
    room.board.round()
    assert room.written() == []


def test_ended_jobs_are_forgotten(room: Room) -> None:
    """Memory does not grow with the jobs that were ever served."""
    room.receive("shoe")
    room.board.round()
    room.now_s += 2 * FASTEST_WRITE_S + module.PAGE_INTERVAL_S
    room.board.round()
    assert room.board._written_s == {}
