"""States, transitions and turns."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.jobs import ACTIVE, OUTCOMES, TRANSITIONS, Job, JobState, is_legal, new_job_id, run_order

S = JobState


def job(name: str, owner: int = 0, priority: int = 0, queued: float = 0.0) -> Job:
    return Job(name, name, S.QUEUED, owner_uid=owner, priority=priority, queued_at_s=queued)


def order(jobs: list[Job], last_turn_s: dict[int, float] | None = None) -> list[str]:
    return [item.job_id for item in run_order(jobs, last_turn_s or {})]


def test_the_table_names_every_state() -> None:
    """Every state has its row, and only the four ends have no way out."""
    assert set(TRANSITIONS) == set(JobState)
    assert set(JobState) - ACTIVE == {*OUTCOMES, S.WITHDRAWN}


def test_an_outcome_is_only_reached_through_publishing() -> None:
    """No job is done, failed or cancelled before its outcome is on the share."""
    for state in JobState:
        for outcome in OUTCOMES:
            assert is_legal(state, outcome) == (state is S.PUBLISHING)


@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_every_active_job_can_end(state: JobState) -> None:
    """From every active state there is a way to an end."""
    reached, frontier = {state}, {state}
    while frontier:
        frontier = {after for before in frontier for after in TRANSITIONS[before]} - reached
        reached |= frontier
    assert reached - ACTIVE


def test_first_come_first_served() -> None:
    """Without priorities and with one owner the queue is a queue."""
    assert order([job("b", queued=2), job("a", queued=1), job("c", queued=3)]) == ["a", "b", "c"]


def test_priority_beats_arrival() -> None:
    """A higher priority runs first whoever came before."""
    assert order([job("early", queued=1), job("urgent", queued=9, priority=3)]) == ["urgent", "early"]


def test_owners_take_turns() -> None:
    """Somebody's hundred jobs do not keep somebody else's single job waiting."""
    flood = [job(f"flood{number}", owner=1, queued=number) for number in range(3)]
    assert order([*flood, job("single", owner=2, queued=9)]) == ["flood0", "single", "flood1", "flood2"]


def test_who_was_served_last_waits() -> None:
    """Among owners the one whose turn is longest ago goes first."""
    assert order([job("a", owner=1, queued=1), job("b", owner=2, queued=2)], {1: 50.0, 2: 40.0}) == ["b", "a"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2), st.floats(0, 100)), max_size=20))
def test_the_order_keeps_every_job(drops: list[tuple[int, int, float]]) -> None:
    """Nothing is lost or doubled, and priorities never go up along the queue."""
    jobs = [job(str(number), *drop) for number, drop in enumerate(drops)]
    turns = run_order(jobs, {})
    assert sorted(turns, key=lambda item: int(item.job_id)) == jobs
    assert [item.priority for item in turns] == sorted((item.priority for item in jobs), reverse=True)


def test_job_ids_sort_by_time_and_do_not_repeat() -> None:
    """Ids of one second differ, and a later second sorts behind."""
    ids = {new_job_id(1_795_177_513.0) for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(re.fullmatch(r"20261120-122513-[0-9a-f]{10}", name) for name in ids)
    assert max(ids) < new_job_id(1_795_177_514.0)
