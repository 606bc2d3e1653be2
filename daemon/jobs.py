"""The life of a job: its states, the legal steps between them, and whose turn is next.  Pure.

    waiting -> queued -> running -> publishing -> done | failed | cancelled
       |          |         |            |
       +----------+---------+------------+-----> withdrawn (the folder was deleted)

``publishing`` knows its outcome already; what is left is to put it on the share, which may be repeated.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from daemon.errors import Failure


class JobState(StrEnum):
    """Where a job is in its life."""

    WAITING = "waiting"
    """Its folder is not complete yet."""
    QUEUED = "queued"
    """Complete; its turn comes."""
    RUNNING = "running"
    """A worker reconstructs it."""
    PUBLISHING = "publishing"
    """The outcome is known and is being put on the share."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"
    """The user deleted the folder."""


S = JobState
TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    S.WAITING: frozenset({S.QUEUED, S.PUBLISHING, S.WITHDRAWN}),
    S.QUEUED: frozenset({S.WAITING, S.RUNNING, S.PUBLISHING, S.WITHDRAWN}),
    S.RUNNING: frozenset({S.QUEUED, S.PUBLISHING, S.WITHDRAWN}),
    S.PUBLISHING: frozenset({S.DONE, S.FAILED, S.CANCELLED, S.WITHDRAWN}),
    S.DONE: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
    S.WITHDRAWN: frozenset(),
}
"""Every legal step; the store refuses all others."""

ACTIVE = frozenset(state for state, following in TRANSITIONS.items() if following)
OUTCOMES = frozenset({S.DONE, S.FAILED, S.CANCELLED})


@dataclass(frozen=True, slots=True)
class Job:
    """One drop.

    Attributes:
        job_id: Names every private path; never derived from what the user typed.
        folder: Relative to inbox/; bytes that are not UTF-8 are surrogate-escaped.
        outcome: Set from ``publishing`` on.
        created_at_s, queued_at_s, started_at_s, finished_at_s: Unix time.
        owner_uid: Who dropped it; turns are shared out between owners.
        attempts: Runs that were started.
        inode: Of the folder, as a hint that it is still the same one.
        input_sha256: Digest of the snapshot; empty until the snapshot is whole.
        options: The validated job.toml, or empty.
        summary: What the reconstruction reported.
        destination: Relative to the root, once published.
    """

    job_id: str
    folder: str
    state: JobState = JobState.WAITING
    outcome: JobState | None = None
    created_at_s: float = 0.0
    queued_at_s: float | None = None
    started_at_s: float | None = None
    finished_at_s: float | None = None
    priority: int = 0
    owner_uid: int = 0
    attempts: int = 0
    inode: int = 0
    model: str = ""
    input_bytes: int = 0
    input_sha256: str = ""
    options: dict[str, object] = field(default_factory=dict)
    summary: dict[str, object] = field(default_factory=dict)
    failure: Failure | None = None
    destination: str = ""

    @property
    def is_active(self) -> bool:
        """Whether its folder is still in inbox/."""
        return self.state in ACTIVE


@dataclass(frozen=True)
class Event:
    """One step of a job, kept for ever."""

    job_id: str
    at_s: float
    from_state: str
    to_state: str
    note: str


def new_job_id(now_s: float) -> str:
    """A name that sorts by time and never repeats, for example 20261120-121459-9f3a1c04be."""
    return f"{datetime.fromtimestamp(now_s, UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(5)}"


def is_legal(from_state: JobState, to_state: JobState) -> bool:
    """Whether a job may make this step."""
    return to_state in TRANSITIONS[from_state]


def run_order(queued: Iterable[Job], last_turn_s: Mapping[int, float]) -> list[Job]:
    """The queue as it will be served: by priority, then owners in turn, then first come first served.

    Args:
        queued: Jobs that may run.
        last_turn_s: When each owner's latest job started; who waited longest goes first.
    """
    arrived = sorted(queued, key=lambda job: (-job.priority, job.queued_at_s or job.created_at_s, job.job_id))
    rank: dict[tuple[int, int], int] = {}
    turns: list[tuple[int, int, float, int]] = []
    for place, job in enumerate(arrived):
        group = (job.priority, job.owner_uid)
        rank[group] = rank.get(group, -1) + 1
        turns.append((-job.priority, rank[group], last_turn_s.get(job.owner_uid, 0.0), place))
    return [arrived[place] for *_, place in sorted(turns)]
