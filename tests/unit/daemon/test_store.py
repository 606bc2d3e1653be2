"""The job table."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from daemon.errors import ErrorCode, Failure, IllegalTransition, StoreError
from daemon.jobs import JobState
from daemon.store import Store, open_store, open_store_for_reading

S = JobState


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "jobs.sqlite3", clock=iter(range(1, 10_000)).__next__)


def test_every_field_survives(store: Store) -> None:
    """What is written comes back equal, also names that are not UTF-8."""
    (job,) = store.add([("caf\udce9", 11, 12)])
    failure = Failure(ErrorCode.INPUT_CORRUPT, "m", "s", "f", "g", {"a": [1]})
    job = store.move(job, S.PUBLISHING, outcome=S.FAILED, failure=failure, options={"seed": 1}, priority=3)
    job = store.move(job, S.FAILED, destination="failed/caf\udce9")
    assert store.find(job.job_id) == store.find("caf\udce9") == job
    assert store.recent(1) == [job]


def test_a_folder_has_one_active_job(store: Store) -> None:
    """A second claim of the same folder adds nothing until the first job has ended."""
    (job,) = store.add([("shoe", 1, 1)])
    assert store.add([("shoe", 1, 1)]) == []
    store.move(job, S.WITHDRAWN)
    assert len(store.add([("shoe", 1, 1)])) == 1


def test_the_database_itself_refuses_a_second_active_job(store: Store, tmp_path: Path) -> None:
    """The unique index holds even against a mistake in the code above it."""
    store.add([("shoe", 1, 1), ("boot", 2, 1)])
    connection = sqlite3.connect(tmp_path / "jobs.sqlite3")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE jobs SET folder = x'00'")
    connection.close()


def test_illegal_steps_are_refused_and_leave_no_trace(store: Store) -> None:
    """A step outside the table changes neither job nor events."""
    (job,) = store.add([("shoe", 1, 1)])
    with pytest.raises(IllegalTransition):
        store.move(job, S.DONE)
    assert store.find(job.job_id) == job
    assert len(store.events(job.job_id)) == 1


def test_a_stale_copy_cannot_move_a_job(store: Store) -> None:
    """The state in the table counts, not the one that the caller remembers."""
    (job,) = store.add([("shoe", 1, 1)])
    store.move(job, S.WITHDRAWN)
    with pytest.raises(IllegalTransition):
        store.move(job, S.QUEUED)


def test_times_are_kept(store: Store) -> None:
    """Creation, first queueing, latest start and end are recorded once each."""
    (job,) = store.add([("shoe", 1, 1)])
    for state in (S.QUEUED, S.RUNNING, S.QUEUED, S.RUNNING):
        job = store.move(job, state)
    job = store.move(job, S.PUBLISHING, outcome=S.DONE)
    job = store.move(job, S.DONE)
    assert (job.created_at_s, job.queued_at_s, job.started_at_s, job.finished_at_s) == (1, 2, 5, 7)
    assert [event.at_s for event in store.events(job.job_id)] == [1, 2, 3, 4, 5, 6, 7]


def test_writes_are_durable_and_immediate(tmp_path: Path) -> None:
    """WAL with synchronous=FULL, and every transaction takes the write lock at its start."""
    store = open_store(tmp_path / "jobs.sqlite3")
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        other = sqlite3.connect(tmp_path / "jobs.sqlite3", timeout=0.01)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
    store.close()


def test_a_reader_beside_the_daemon_sees_but_cannot_write(store: Store, tmp_path: Path) -> None:
    """Commands that look never hold up the daemon and cannot change anything."""
    (job,) = store.add([("shoe", 1, 1)])
    reader = open_store_for_reading(tmp_path / "jobs.sqlite3")
    assert reader.active() == [job]
    with pytest.raises(StoreError):
        reader.move(job, S.WITHDRAWN)
    reader.close()


def test_a_damaged_table_stops_and_is_left_alone(tmp_path: Path) -> None:
    """Nothing is deleted or repaired behind the operator's back."""
    file = tmp_path / "jobs.sqlite3"
    open_store(file).close()
    damaged = bytearray(file.read_bytes())
    damaged[4096:8192] = b"x" * 4096
    file.write_bytes(damaged)
    with pytest.raises(StoreError, match="doctor"):
        open_store(file)
    assert file.read_bytes() == bytes(damaged)


def test_something_else_is_not_taken_for_a_table(tmp_path: Path) -> None:
    """A file that is no database is an error, not a new database."""
    file = tmp_path / "jobs.sqlite3"
    file.write_text("not a database, not a database, not a database")
    with pytest.raises(StoreError):
        open_store(file)


def test_a_table_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """Going back to an older version stops instead of guessing."""
    file = tmp_path / "jobs.sqlite3"
    open_store(file).close()
    connection = sqlite3.connect(file)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="newer"):
        open_store(file)


def test_the_schema_is_what_the_code_expects(store: Store) -> None:
    """The migrations' columns and the table in the code are the same."""
    from daemon.store import _events, _jobs

    inspector = sa.inspect(store._engine)
    for table in (_jobs, _events):
        assert [column["name"] for column in inspector.get_columns(table.name)] == [item.name for item in table.columns]


def test_past_durations_are_of_like_jobs(store: Store) -> None:
    """Only successful jobs of the same model and like size count."""
    for folder, size, model, outcome in (
        ("a", 100, "m", S.DONE), ("b", 1000, "m", S.DONE), ("c", 110, "n", S.DONE), ("d", 90, "m", S.FAILED)
    ):  # fmt: skip
        (job,) = store.add([(folder, 1, 1)])
        job = store.move(job, S.QUEUED, input_bytes=size, model=model)
        job = store.move(job, S.RUNNING)
        job = store.move(job, S.PUBLISHING, outcome=outcome)
        store.move(job, outcome)
    assert store.past_durations_s("m", 100) == [2.0]


def test_ten_thousand_folders_are_recorded_quickly(tmp_path: Path) -> None:
    """One transaction records them all, each with its event."""
    store = open_store(tmp_path / "jobs.sqlite3")
    assert len(store.add([(f"job{number}", number, 1) for number in range(10_000)])) == 10_000
    assert store.counts() == {"waiting": 10_000}
    store.close()
