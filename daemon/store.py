"""The job table; with daemon.schema the only module that knows SQLAlchemy.

Rows never leave it: callers get ``Job`` and ``Event`` values.  Every change is one transaction that begins with
the write lock (BEGIN IMMEDIATE: a later upgrade from read to write fails at once under WAL, whatever the busy
timeout) and is on the disk when it returns (synchronous=FULL).
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, RowMapping

from daemon import failpoints
from daemon.errors import IllegalTransition, StoreError, StoreFull, failure_from_json
from daemon.jobs import ACTIVE, Event, Job, JobState, is_legal, new_job_id
from daemon.names import shown
from daemon.schema import bring_up_to_date, make_engine, read_revision

_metadata = sa.MetaData()
_jobs = sa.Table(
    "jobs",
    _metadata,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("folder", sa.LargeBinary),
    sa.Column("state", sa.Text),
    sa.Column("outcome", sa.Text),
    sa.Column("created_at_s", sa.Float),
    sa.Column("queued_at_s", sa.Float),
    sa.Column("started_at_s", sa.Float),
    sa.Column("finished_at_s", sa.Float),
    sa.Column("priority", sa.Integer),
    sa.Column("owner_uid", sa.Integer),
    sa.Column("attempts", sa.Integer),
    sa.Column("inode", sa.Integer),
    sa.Column("model", sa.Text),
    sa.Column("input_bytes", sa.Integer),
    sa.Column("input_sha256", sa.Text),
    sa.Column("options", sa.JSON),
    sa.Column("summary", sa.JSON),
    sa.Column("failure", sa.JSON(none_as_null=True)),
    sa.Column("destination", sa.LargeBinary),
)
_events = sa.Table(
    "events",
    _metadata,
    sa.Column("event_id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.Text),
    sa.Column("at_s", sa.Float),
    sa.Column("from_state", sa.Text),
    sa.Column("to_state", sa.Text),
    sa.Column("note", sa.Text),
)

_is_active = sa.text("state IN ('waiting', 'queued', 'running', 'publishing')")
"""Word for word as in the index of active folders, which SQLite uses only if it recognises the condition."""

_FULL_WORDS = ("disk is full", "disk I/O error")


class Store:
    """Opened job table.

    Args:
        engine: From ``open_store`` or ``open_store_for_reading``.
        clock: Unix time; tests pass their own.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    @cached_property
    def schema(self) -> str:
        """The revision of the table's layout, as Alembic counts."""
        with self._transaction() as connection:
            return read_revision(connection)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.IntegrityError:
            raise
        except sa.exc.DBAPIError as error:
            kind = StoreFull if any(word in str(error.orig) for word in _FULL_WORDS) else StoreError
            raise kind(f"the job table cannot be used: {error.orig}") from error

    def add(self, drops: list[tuple[str, int, int]]) -> list[Job]:
        """Record new folders, all in one transaction.

        Args:
            drops: (folder, inode, owner_uid) of each, some thousands at the most.

        Returns:
            The new jobs; a folder that has an active job already is left out.
        """
        now_s = self._clock()
        failpoints.hit("before:job-added")
        with self._transaction() as connection:
            # Of these folders alone: the cost of a drop must not grow with the number of jobs that wait.
            is_held = sa.and_(_is_active, _jobs.c.folder.in_([os.fsencode(folder) for folder, _, _ in drops]))
            taken = set(connection.execute(sa.select(_jobs.c.folder).where(is_held)).scalars())
            added = [
                Job(new_job_id(now_s), folder, created_at_s=now_s, inode=inode, owner_uid=owner_uid)
                for folder, inode, owner_uid in drops
                if os.fsencode(folder) not in taken
            ]
            if added:
                connection.execute(_jobs.insert(), [_columns(job) for job in added])
                connection.execute(
                    _events.insert(), [_event(job.job_id, now_s, "", job.state, "folder seen") for job in added]
                )
        failpoints.hit("after:job-added")
        return added

    def move(self, job: Job, to_state: JobState, note: str = "", **changes: Any) -> Job:
        """Make one step of a job's life, with its event, in one transaction.

        Args:
            job: As the caller knows it.
            to_state: Must be legal from the state in the table.
            note: Why, for people.
            changes: Other fields of ``Job`` to set.

        Returns:
            The job as it is now.

        Raises:
            IllegalTransition: The table of daemon.jobs forbids it, or someone else moved the job.
        """
        now_s = self._clock()
        stamped = _timestamps(job, to_state, now_s) | changes
        with self._transaction() as connection:
            held = connection.execute(sa.select(_jobs.c.state).where(_jobs.c.job_id == job.job_id)).scalar_one_or_none()
            if held is None or not is_legal(JobState(held), to_state):
                raise IllegalTransition(f"job {job.job_id} cannot go from {held} to {to_state}")
            moved = replace(job, state=to_state, **stamped)
            connection.execute(_jobs.update().where(_jobs.c.job_id == job.job_id).values(**_columns(moved)))
            connection.execute(_events.insert(), [_event(job.job_id, now_s, held, to_state, note)])
        return moved

    def update(self, job: Job, **changes: Any) -> Job:
        """Set fields of a job that stays in its state."""
        updated = replace(job, **changes)
        columns = {name: value for name, value in _columns(updated).items() if name in changes}
        with self._transaction() as connection:
            connection.execute(_jobs.update().where(_jobs.c.job_id == job.job_id).values(**columns))
        return updated

    def active(self) -> list[Job]:
        """All jobs whose folder is in inbox/, oldest first."""
        return self._select(_is_active, limit=-1, newest_first=False)

    def recent(self, limit: int) -> list[Job]:
        """The latest jobs that ended, newest first."""
        return self._select(_jobs.c.finished_at_s.is_not(None), limit=limit, newest_first=True)

    def ended_before(self, state: JobState, before_s: float, limit: int) -> list[Job]:
        """The newest of the jobs that ended in a state before a time and are still on the share."""
        is_old = sa.and_(_jobs.c.state == state.value, _jobs.c.finished_at_s < before_s, _jobs.c.destination != b"")
        return self._select(is_old, limit=limit, newest_first=True)

    def oldest_ended(self, limit: int) -> list[Job]:
        """The jobs that ended first of those that are still on the share."""
        is_there = sa.and_(_jobs.c.finished_at_s.is_not(None), _jobs.c.destination != b"")
        query = sa.select(_jobs).where(is_there).order_by(_jobs.c.finished_at_s).limit(limit)
        with self._transaction() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def is_empty(self) -> bool:
        """Whether no job was ever recorded, or the table was lost."""
        with self._transaction() as connection:
            return connection.execute(sa.select(_jobs.c.job_id).limit(1)).first() is None

    def adopt(self, ended: list[Job]) -> None:
        """Record jobs of which only their outcome on the share is known."""
        events = [_event(job.job_id, job.finished_at_s or 0.0, "", job.state, "found on the share") for job in ended]
        with self._transaction() as connection:
            connection.execute(_jobs.insert(), [_columns(job) for job in ended])
            connection.execute(_events.insert(), events)

    def find(self, wanted: str) -> Job | None:
        """The job of this id, or the newest whose folder has this name."""
        is_wanted = sa.or_(_jobs.c.job_id == shown(wanted), _jobs.c.folder == os.fsencode(wanted))
        found = self._select(is_wanted, limit=1, newest_first=True)
        return found[0] if found else None

    def _select(
        self, condition: sa.ColumnElement[bool] | sa.TextClause, *, limit: int, newest_first: bool
    ) -> list[Job]:
        order = _jobs.c.created_at_s.desc() if newest_first else _jobs.c.created_at_s.asc()
        query = sa.select(_jobs).where(condition).order_by(order, _jobs.c.job_id).limit(limit)
        with self._transaction() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def events(self, job_id: str) -> list[Event]:
        """What happened to a job, in order."""
        query = sa.select(_events).where(_events.c.job_id == job_id).order_by(_events.c.event_id)
        with self._transaction() as connection:
            return [
                Event(row.job_id, row.at_s, row.from_state, row.to_state, row.note) for row in connection.execute(query)
            ]

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        query = sa.select(_jobs.c.state, sa.func.count()).group_by(_jobs.c.state)
        with self._transaction() as connection:
            return {str(state): int(count) for state, count in connection.execute(query)}

    def past_durations_s(self, model: str, input_bytes: int, limit: int = 20) -> list[float]:
        """How long the latest successful jobs of like size took, in no order."""
        is_alike = sa.and_(
            _jobs.c.state == JobState.DONE.value,
            _jobs.c.model == model,
            _jobs.c.input_bytes.between(input_bytes // 2, input_bytes * 2),
            _jobs.c.started_at_s.is_not(None),
            _jobs.c.finished_at_s > _jobs.c.started_at_s,  # unless the clock was set back meanwhile
        )
        duration = _jobs.c.finished_at_s - _jobs.c.started_at_s
        query = sa.select(duration).where(is_alike).order_by(_jobs.c.finished_at_s.desc()).limit(limit)
        with self._transaction() as connection:
            return [float(value) for value in connection.execute(query).scalars()]


def _timestamps(job: Job, to_state: JobState, now_s: float) -> dict[str, Any]:
    if to_state is JobState.QUEUED and job.queued_at_s is None:
        return {"queued_at_s": now_s}
    if to_state is JobState.RUNNING:
        return {"started_at_s": now_s}
    if to_state not in ACTIVE:
        return {"finished_at_s": now_s}
    return {}


def _event(job_id: str, at_s: float, from_state: str, to_state: str, note: str) -> dict[str, object]:
    return {"job_id": job_id, "at_s": at_s, "from_state": from_state, "to_state": to_state, "note": shown(note)}


def _columns(job: Job) -> dict[str, Any]:
    columns = {column.name: getattr(job, column.name) for column in _jobs.columns}
    return columns | {
        "folder": os.fsencode(job.folder),
        "destination": os.fsencode(job.destination),
        "state": job.state.value,
        "outcome": job.outcome.value if job.outcome else None,
        "failure": job.failure.to_json() if job.failure else None,
    }


def _job(row: RowMapping) -> Job:
    fields = dict(row)
    return Job(
        **fields
        | {
            "folder": os.fsdecode(fields["folder"]),
            "destination": os.fsdecode(fields["destination"]),
            "state": JobState(fields["state"]),
            "outcome": JobState(fields["outcome"]) if fields["outcome"] else None,
            "failure": failure_from_json(fields["failure"]) if fields["failure"] else None,
        }
    )


def open_store(file: Path, clock: Callable[[], float] = time.time) -> Store:
    """Open the job table for the daemon, creating or upgrading it.

    Raises:
        StoreError: It is damaged, read-only, locked by someone else, or of a newer version; nothing is deleted.
    """
    engine = make_engine(f"sqlite:///{file}", "BEGIN IMMEDIATE")
    try:
        with engine.connect() as connection:
            verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if verdict != "ok":
            raise StoreError(f"{file} is damaged ({verdict}); nothing was changed; run meshdrop doctor")
        bring_up_to_date(engine)
    except sa.exc.DBAPIError as error:
        engine.dispose()
        raise StoreError(f"{file} cannot be used ({error.orig}); nothing was changed; run meshdrop doctor") from None
    except StoreError:
        engine.dispose()
        raise
    return Store(engine, clock)


def upgrade_beside(file: Path) -> None:
    """Create or upgrade the job table in a process of its own: a daemon that serves for months needs no Alembic.

    What goes wrong is left for ``open_store`` to find.  To be called before there are threads.
    """
    pid = os.fork()
    if pid == 0:
        try:
            with suppress(StoreError):
                open_store(file).close()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def open_store_for_reading(file: Path) -> Store:
    """Open the table for commands that only look, beside a running daemon.

    Raises:
        StoreError: There is no table yet.
    """
    if not file.exists():
        raise StoreError(f"{file} does not exist; has the daemon run?")
    return Store(make_engine(f"sqlite:///file:{file}?mode=ro&uri=true", "BEGIN"))
