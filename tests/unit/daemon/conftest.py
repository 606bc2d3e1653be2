"""Fixtures of more than one module of tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.store import Store, open_store
from table_rooms import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """An empty job table whose time is the clock's."""
    found = open_store(tmp_path / "jobs.sqlite3", clock)
    yield found
    found.close()
