"""The active jobs in memory; every change is in the table before it is here.

The daemon is the table's only writer, so the copy cannot go stale, and 10,000 waiting jobs cost no query.
"""

from collections.abc import Callable, KeysView, Mapping
from typing import Any

import structlog

from daemon.errors import Failure
from daemon.jobs import Job, JobState
from daemon.store import Store

log = structlog.get_logger()


class Ledger:
    """Active jobs by id and by folder."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._jobs: dict[str, Job] = {}
        self._ids_in_state: dict[JobState, dict[str, None]] = {state: {} for state in JobState}
        self._id_by_folder: dict[str, str] = {}
        self.last_turn_s: dict[int, float] = {}
        self.touched: set[str] = set()
        """Jobs about which there may be something new to show."""
        self.ended_runs = 0
        """Jobs that left a worker or the inbox for good since the start; stands still while the queue is stuck."""
        self.listeners: list[Callable[[Job], None]] = []
        """Told of every step, after it."""
        for job in store.active():
            self._hold(job)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def __getitem__(self, job_id: str) -> Job:
        return self._jobs[job_id]

    def __len__(self) -> int:
        return len(self._jobs)

    def in_state(self, *states: JobState) -> list[Job]:
        """The jobs in any of these states."""
        return [self._jobs[job_id] for state in states for job_id in self._ids_in_state[state]]

    def count(self, state: JobState) -> int:
        """How many jobs are in a state."""
        return len(self._ids_in_state[state])

    def _hold(self, job: Job) -> None:
        self._jobs[job.job_id] = job
        self._ids_in_state[job.state][job.job_id] = None
        self._id_by_folder[job.folder] = job.job_id
        self.touched.add(job.job_id)

    def _drop(self, job: Job) -> None:
        del self._jobs[job.job_id], self._ids_in_state[job.state][job.job_id], self._id_by_folder[job.folder]

    def all(self) -> list[Job]:
        """Every active job."""
        return list(self._jobs.values())

    def ids(self) -> KeysView[str]:
        """The ids of all active jobs."""
        return self._jobs.keys()

    def folders(self) -> KeysView[str]:
        """The folders of all active jobs."""
        return self._id_by_folder.keys()

    def elsewhere(self, folders: Mapping[str, object]) -> list[Job]:
        """The active jobs whose folder is not among these."""
        return [self._jobs[self._id_by_folder[folder]] for folder in self._id_by_folder.keys() - folders.keys()]

    def at(self, folder: str) -> Job | None:
        """The active job of a folder."""
        job_id = self._id_by_folder.get(folder)
        return self._jobs[job_id] if job_id else None

    def add(self, drops: list[tuple[str, int, int]]) -> list[Job]:
        """Record new folders as waiting jobs."""
        added = self.store.add(drops) if drops else []
        for job in added:
            self._hold(job)
            log.info("job seen", job_id=job.job_id, folder=job.folder)
        return added

    def move(self, job: Job, to_state: JobState, note: str = "", **changes: Any) -> Job:
        """Make one legal step."""
        held = self._jobs[job.job_id]
        moved = self.store.move(held, to_state, note, **changes)
        log.info("job moved", job_id=job.job_id, folder=job.folder, state=to_state.value, note=note)
        if to_state is JobState.RUNNING:
            self.last_turn_s[job.owner_uid] = moved.started_at_s or 0.0
        self._drop(held)
        if moved.is_active:
            self._hold(moved)
        self.ended_runs += held.state in (JobState.RUNNING, JobState.PUBLISHING) and to_state is not JobState.QUEUED
        for listener in self.listeners:
            listener(moved)
        return moved

    def update(self, job: Job, **changes: Any) -> Job:
        """Set fields of a job that stays in its state."""
        held = self._jobs[job.job_id]
        updated = self.store.update(held, **changes)
        self._drop(held)
        self._hold(updated)
        return updated

    def fail(self, job: Job, failure: Failure) -> Job:
        """Decide that a job ends in failed/."""
        return self.move(job, JobState.PUBLISHING, failure.message, outcome=JobState.FAILED, failure=failure)
