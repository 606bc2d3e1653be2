"""Forecasts from a real job table."""

from types import SimpleNamespace
from typing import Any

import pytest

from daemon.dispatch import Progress
from daemon.jobs import Job, JobState
from daemon.ledger import Ledger
from daemon.outlook import REMEMBER_S, Outlook
from daemon.store import Store
from table_rooms import Clock


def past_job(store: Store, clock: Clock, duration_s: float, input_bytes: int = 1000) -> None:
    (job,) = store.add([(f"past {clock.now_s}", 1, 0)])
    job = store.move(job, JobState.QUEUED, model="nvdiffrec", input_bytes=input_bytes)
    job = store.move(job, JobState.RUNNING)
    clock.now_s += duration_s
    store.move(store.move(job, JobState.PUBLISHING, outcome=JobState.DONE), JobState.DONE)


def outlook(store: Store, clock: Clock, progress: dict[str, Progress], job_ids: tuple[str, ...]) -> Outlook:
    """With workers on these jobs ("" is an idle one) and no folder to look into."""
    dispatch: Any = SimpleNamespace(progress=progress, executors=[SimpleNamespace(job_id=job_id) for job_id in job_ids])
    desks: Any = SimpleNamespace(get=lambda _job_id: None)
    return Outlook(Ledger(store), desks, dispatch, clock)


def job_of(size_bytes: int = 1000, job_id: str = "new") -> Job:
    return Job(job_id, job_id, JobState.QUEUED, model="nvdiffrec", input_bytes=size_bytes)


def test_only_jobs_of_like_size_count(store: Store, clock: Clock) -> None:
    """Three past jobs of the same size give a forecast; a job ten times as large has none."""
    for duration_s in (10.0, 20.0, 30.0):
        past_job(store, clock, duration_s)
    ends = outlook(store, clock, {}, ("",)).queue_ends([job_of(), job_of(10_000, "large")])
    assert ends["new"].middle_s == pytest.approx(20.0)
    assert set(ends) == {"new"}


def test_queue_waits_for_the_running_job(store: Store, clock: Clock) -> None:
    """Behind a job that has half of its 20 s to go, the first ends after 30 s and the second after 50 s."""
    for _ in range(3):
        past_job(store, clock, 20.0)
    (running,) = store.add([("running", 1, 0)])
    running = store.move(store.move(running, JobState.QUEUED, model="nvdiffrec", input_bytes=1000), JobState.RUNNING)
    view = outlook(store, clock, {running.job_id: Progress(fraction=0.1, since_s=clock.now_s)}, (running.job_id,))
    clock.now_s += 10.0
    left = view.time_left(running)
    assert left is not None
    assert left.middle_s == pytest.approx(10.0)
    ends = view.queue_ends([job_of(job_id="a"), job_of(job_id="b")])
    assert [ends[name].middle_s for name in ("a", "b")] == pytest.approx([30.0, 50.0])


def test_new_experience_is_noticed(store: Store, clock: Clock) -> None:
    """What the table said is asked again after a while, and not before: a queue of thousands costs one query."""
    view = outlook(store, clock, {}, ("",))
    assert view.queue_ends([job_of()]) == {}
    before_s = clock.now_s
    for _ in range(3):
        past_job(store, clock, 20.0)
    clock.now_s = before_s + REMEMBER_S / 2
    assert view.queue_ends([job_of()]) == {}
    clock.now_s = before_s + REMEMBER_S
    assert view.queue_ends([job_of()])["new"].middle_s == pytest.approx(20.0)
