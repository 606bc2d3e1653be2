"""What the reception makes of a scan: how long to wait, whose folder it is, what is a batch."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import fakes
from daemon import reception as module
from daemon.jobs import JobState
from daemon.mounts import Mount
from daemon.reception import ADMITTED_PER_TURN, Reception
from daemon.watcher import Watcher
from table_rooms import TableRoom, opened


class Room(TableRoom):
    """A reception over a real inbox and a real table, with the clock in the test's hand."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        watcher = Watcher(self.config.root, lambda: None)
        self.reception = Reception(self.config, self.ledger, watcher, self.clock)

    def at(self, now_s: float) -> dict[str, JobState]:
        """One scan and one round of looks; every job ever, by its folder."""
        self.now_s = now_s
        self.reception.scan()
        self.reception.look_round()
        return {job.folder: job.state for job in [*self.store.recent(1000), *self.store.active()]}


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with opened(Room(tmp_path)) as made:
        yield made


@pytest.mark.parametrize(("kind", "settle_s"), [("ext4", 2.0), ("nfs4", 65.0), ("cifs", 65.0), ("fuse.sshfs", 65.0)])
def test_network_mounts_are_given_more_time(
    room: Room, monkeypatch: pytest.MonkeyPatch, kind: str, settle_s: float
) -> None:
    """Longer than attributes are cached, and the log says what was found, once per mount."""
    monkeypatch.setattr(module, "mount_of", lambda folder: Mount(folder, kind))
    with capture_logs() as lines:
        assert [room.reception.settle_s for _ in range(3)] == [settle_s] * 3
    (line,) = lines
    assert (line["event"], line["kind"], line["is_network"]) == ("share mounted", kind, settle_s > 60.0)


def test_a_drop_is_recorded_at_first_sight(room: Room) -> None:
    """Before its first file has arrived, so that nothing that happens later can lose it."""
    (room.config.inbox / "shoe").mkdir()
    assert room.at(100.0) == {"shoe": JobState.WAITING}


def test_a_flood_is_recorded_in_pieces(room: Room) -> None:
    """One turn takes so many that the rest of the daemon has its turn, too; the next goes on without a scan."""
    for number in range(ADMITTED_PER_TURN + 10):
        (room.config.inbox / f"job{number}").mkdir()
    assert len(room.at(100.0)) == ADMITTED_PER_TURN
    assert room.reception.next_s() == 100.0
    room.reception.look_round()
    assert len(room.ledger) == ADMITTED_PER_TURN + 10


def test_a_folder_that_goes_is_withdrawn_and_one_that_moves_is_followed(room: Room) -> None:
    """The inode tells one from the other."""
    for name in ("goes", "moves"):
        (room.config.inbox / name).mkdir()
    room.at(100.0)
    job_id = room.ledger.at("moves")
    shutil.rmtree(room.config.inbox / "goes")
    (room.config.inbox / "moves").rename(room.config.inbox / "moved")
    assert room.at(101.0) == {"goes": JobState.WITHDRAWN, "moved": JobState.WAITING}
    moved = room.ledger.at("moved")
    assert moved is not None
    assert job_id is not None
    assert moved.job_id == job_id.job_id


def test_an_exchanged_folder_is_two_jobs(room: Room) -> None:
    """Moved away and another put in its place between two scans: the first is withdrawn, the second its own job."""
    (room.config.inbox / "shoe").mkdir()
    room.at(100.0)
    first = room.ledger.at("shoe")
    (room.config.inbox / "shoe").rename(room.config.root / "elsewhere")
    (room.config.inbox / "shoe").mkdir()
    room.at(101.0)
    second = room.ledger.at("shoe")
    assert first is not None
    assert second is not None
    assert first.job_id != second.job_id
    assert (room.store.find(first.job_id) or first).state is JobState.WITHDRAWN


def test_inodes_that_change_on_their_own_are_followed(room: Room) -> None:
    """On a share that renumbers, our status file says that it is still the same folder."""
    fakes.write_job(room.config.inbox / "shoe")
    room.at(100.0)
    first = room.ledger.at("shoe")
    assert first is not None
    (room.config.inbox / "shoe/status.json").write_text(f'{{"job_id": "{first.job_id}"}}')
    (room.config.inbox / "shoe").rename(room.config.root / "elsewhere")
    shutil.copytree(room.config.root / "elsewhere", room.config.inbox / "shoe")
    room.at(101.0)
    second = room.ledger.at("shoe")
    assert second is not None
    assert second.job_id == first.job_id
    assert second.inode == os.stat(room.config.inbox / "shoe").st_ino


def test_a_batch_is_its_jobs(room: Room) -> None:
    """A folder of job folders is never a job; its folders are, from the next scan on."""
    fakes.write_job(room.config.inbox / "monday/shoe")
    fakes.write_job(room.config.inbox / "monday/boot")
    assert room.at(100.0) == {}
    assert room.reception.is_scan_wanted
    assert room.at(100.0) == {"monday/shoe": JobState.WAITING, "monday/boot": JobState.WAITING}
