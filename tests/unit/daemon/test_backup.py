"""Copies of the job table."""

import threading
from pathlib import Path

import pytest

from daemon.backup import back_up
from daemon.errors import StoreError
from daemon.jobs import JobState
from daemon.store import open_store


def test_a_copy_is_whole_while_the_daemon_writes(tmp_path: Path) -> None:
    """Made in the middle of writing, it opens as a job table and holds every job that was there before it began."""
    store = open_store(tmp_path / "jobs.sqlite3")
    store.add([(f"before{number}", 1, 1) for number in range(50)])
    is_over = threading.Event()

    def write() -> None:
        number = 0
        while not is_over.is_set():
            store.add([(f"during{number}", 1, 1)])
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        count = back_up(tmp_path / "jobs.sqlite3", tmp_path / "copy.sqlite3")
    finally:
        is_over.set()
        writer.join()
        store.close()
    copy = open_store(tmp_path / "copy.sqlite3")
    folders = {job.folder for job in copy.active()}
    assert {f"before{number}" for number in range(50)} <= folders
    assert len(folders) == count
    assert copy.counts() == {JobState.WAITING.value: count}
    copy.close()
    assert (tmp_path / "copy.sqlite3").stat().st_mode & 0o777 == 0o600


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """An older backup stays as it is, and a missing table is said."""
    with pytest.raises(StoreError, match="has the daemon run"):
        back_up(tmp_path / "jobs.sqlite3", tmp_path / "copy.sqlite3")
    open_store(tmp_path / "jobs.sqlite3").close()
    (tmp_path / "copy.sqlite3").write_text("yesterday's")
    with pytest.raises(StoreError, match="exists already"):
        back_up(tmp_path / "jobs.sqlite3", tmp_path / "copy.sqlite3")
    assert (tmp_path / "copy.sqlite3").read_text() == "yesterday's"


def test_a_damaged_table_is_not_backed_up(tmp_path: Path) -> None:
    """No file is left that looks like a backup."""
    (tmp_path / "jobs.sqlite3").write_bytes(b"no database" * 500)
    with pytest.raises(StoreError, match="cannot be copied"):
        back_up(tmp_path / "jobs.sqlite3", tmp_path / "copy.sqlite3")
    assert not (tmp_path / "copy.sqlite3").exists()
