"""What a worker may show, and whose turn it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import fakes
from daemon.dispatch import MAX_PREVIEW_BYTES, Dispatch, Progress
from daemon.errors import ErrorCode, Failure
from daemon.executor import Ended, Progressed
from daemon.jobs import Job, JobState
from table_rooms import FilingRoom, opened


class Room(FilingRoom):
    """A dispatch over a real inbox and a real table, with one running job and no process behind it."""

    def __init__(self, base: Path) -> None:
        super().__init__(base, now_s=0.0, worker={"max_attempts": 2})
        self.dispatch = Dispatch(self.config, self.ledger, self.desks, self.filing, self.clock)
        self.folder = fakes.write_job(self.config.inbox / "shoe")
        (job,) = self.ledger.add([("shoe", self.folder.stat().st_ino, 0)])
        job = self.ledger.move(job, JobState.QUEUED, input_sha256="")
        self.job: Job = self.ledger.move(job, JobState.RUNNING, attempts=1)
        self.job_dir = self.filing.job_dir(job.job_id)
        self.job_dir.mkdir()
        self.dispatch.progress[job.job_id] = Progress()

    def hear(self, message: Progressed | Ended) -> JobState:
        self.dispatch._hear(message)
        found = self.store.find(self.job.job_id)
        assert found is not None
        return found.state

    def show(self, preview: str) -> bool:
        """Whether the picture reached the user's folder."""
        self.hear(Progressed(self.job.job_id, "m", "s", 0.5, preview))
        shown = self.folder / "preview.png"
        was_shown = shown.exists()
        shown.unlink(missing_ok=True)
        return was_shown


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with opened(Room(tmp_path)) as made:
        yield made


def test_a_preview_of_the_job_is_shown(room: Room) -> None:
    """A picture below the job's private folder appears beside the user's pictures."""
    (room.job_dir / "preview.png").write_bytes(fakes.png())
    assert room.show(str(room.job_dir / "preview.png"))


def test_nothing_else_is_shown(room: Room, tmp_path: Path) -> None:
    """Neither a stranger's file, nor a link to one, nor a flood, nor what is no path; none of it ends the daemon."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    (room.job_dir / "link").symlink_to(secret)
    with (room.job_dir / "flood").open("wb") as file:
        file.truncate(MAX_PREVIEW_BYTES + 1)
    for preview in (
        str(secret),
        str(room.job_dir / "link"),
        str(room.job_dir / "flood"),
        str(room.job_dir / ".." / ".." / "jobs.sqlite3"),
        str(room.job_dir / "missing"),
        str(room.job_dir),
        "/dev/zero",
        "a\0b",
        "x" * 5000,
    ):
        assert not room.show(preview), preview


def test_a_preview_does_not_go_to_a_stranger(room: Room) -> None:
    """Another folder that has taken the job's name does not get the job's picture."""
    (room.job_dir / "preview.png").write_bytes(fakes.png())
    room.folder.rename(room.config.root / "away")
    room.folder.mkdir()
    assert not room.show(str(room.job_dir / "preview.png"))


@pytest.mark.parametrize(
    ("failure", "states"),
    [
        (Failure(ErrorCode.MODEL_CRASHED, "m"), [JobState.QUEUED, JobState.PUBLISHING]),
        (Failure(ErrorCode.OBJECT_NOT_FOUND, "m"), [JobState.PUBLISHING]),
        (Failure(ErrorCode.GPU_UNAVAILABLE, "m"), [JobState.QUEUED, JobState.QUEUED, JobState.QUEUED]),
    ],
    ids=lambda value: value.code if isinstance(value, Failure) else "",
)
def test_what_an_attempt_costs(room: Room, failure: Failure, states: list[JobState]) -> None:
    """A crash may be tried again once, a mistake of the user's not at all, a passing trouble as often as it takes."""
    for state in states:
        assert room.hear(Ended(room.job.job_id, failure=failure)) is state
        if state is JobState.QUEUED:
            held = room.ledger[room.job.job_id]
            room.ledger.move(held, JobState.RUNNING, attempts=held.attempts + 1)
            room.dispatch.progress[room.job.job_id] = Progress()


def test_a_message_about_an_ended_job_is_passed_over(room: Room) -> None:
    """The worker may answer after the folder has gone."""
    room.ledger.move(room.job, JobState.WITHDRAWN)
    assert room.hear(Ended(room.job.job_id, "normal")) is JobState.WITHDRAWN
