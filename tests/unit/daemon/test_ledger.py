"""The active jobs in memory are those of the table, whatever happens to them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daemon.errors import ErrorCode, Failure, IllegalTransition
from daemon.jobs import Job, JobState, is_legal
from daemon.ledger import Ledger
from daemon.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "jobs.sqlite3")
    yield opened
    opened.close()


def test_a_fresh_ledger_knows_what_was_active(store: Store) -> None:
    """After a restart every active job is there, under its folder and its state."""
    before = Ledger(store)
    kept, gone = before.add([("kept", 1, 1), ("gone", 2, 1)])
    before.move(gone, JobState.WITHDRAWN)
    after = Ledger(store)
    assert after.all() == [kept]
    assert after.at("kept") == kept
    assert after.at("gone") is None
    assert after.touched == {kept.job_id}, "its status file may be old"


def test_an_illegal_step_changes_neither_side(store: Store) -> None:
    """The table refuses first, and the memory stays as it was."""
    ledger = Ledger(store)
    (job,) = ledger.add([("shoe", 1, 1)])
    with pytest.raises(IllegalTransition):
        ledger.move(job, JobState.DONE)
    assert ledger.all() == [job] == store.active()


def test_listeners_hear_every_step_after_it(store: Store) -> None:
    """In order, and of failures, too."""
    ledger, heard = Ledger(store), []
    ledger.listeners.append(lambda job: heard.append((job.state, store.find(job.job_id) == job)))
    (job,) = ledger.add([("shoe", 1, 1)])
    failed = ledger.fail(job, Failure(ErrorCode.INPUT_CORRUPT, "m"))
    assert failed.outcome is JobState.FAILED
    ledger.move(failed, JobState.FAILED)
    assert heard == [(JobState.PUBLISHING, True), (JobState.FAILED, True)]


def test_owners_turns_are_remembered(store: Store) -> None:
    """Who was served last waits for the others."""
    ledger = Ledger(store)
    (job,) = ledger.add([("shoe", 1, 1234)])
    running = ledger.move(ledger.move(job, JobState.QUEUED), JobState.RUNNING)
    assert ledger.last_turn_s == {1234: running.started_at_s}


class AnyLife(RuleBasedStateMachine):
    """Jobs come, step and get fields in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.store = open_store(Path(":memory:"))
        self.ledger = Ledger(self.store)
        self.count = 0

    def teardown(self) -> None:
        self.store.close()

    def any_job(self, data: st.DataObject) -> Job:
        return data.draw(st.sampled_from(self.ledger.all()))

    @rule(folder=st.integers(0, 5))
    def drop(self, folder: int) -> None:
        """A folder that has an active job adds none."""
        is_held = self.ledger.at(f"job{folder}") is not None
        assert len(self.ledger.add([(f"job{folder}", folder, 0)])) == (not is_held)

    @precondition(lambda self: self.ledger.all())
    @rule(data=st.data(), to_state=st.sampled_from(JobState))
    def step(self, data: st.DataObject, to_state: JobState) -> None:
        """Legal steps are made, all others refused."""
        job = self.any_job(data)
        if is_legal(job.state, to_state):
            assert self.ledger.move(job, to_state).state is to_state
        else:
            with pytest.raises(IllegalTransition):
                self.ledger.move(job, to_state)

    @precondition(lambda self: self.ledger.all())
    @rule(data=st.data(), size=st.integers(0, 9))
    def update(self, data: st.DataObject, size: int) -> None:
        """Fields are set without a step."""
        self.ledger.update(self.any_job(data), input_bytes=size)

    @invariant()
    def agree(self) -> None:
        """Every view of the memory shows the table's active jobs."""
        active = {job.job_id: job for job in self.store.active()}
        assert {job.job_id: job for job in self.ledger.all()} == active
        assert set(self.ledger.folders()) == {job.folder for job in active.values()}
        for state in JobState:
            held = self.ledger.in_state(state)
            assert {job.job_id for job in held} == {job.job_id for job in active.values() if job.state is state}
            assert self.ledger.count(state) == len(held)
        assert {job.folder for job in self.ledger.elsewhere({"job0": 1})} == set(self.ledger.folders()) - {"job0"}


AnyLife.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestAnyLife = AnyLife.TestCase
