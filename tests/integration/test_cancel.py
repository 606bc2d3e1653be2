"""CANCEL ends a job, waiting or running, and what it started."""

import os
import time
from pathlib import Path

import pytest

import fakes
from served import error_of, inbox, is_alive, served, status_in, wait_until


@pytest.mark.parametrize("name", ["CANCEL", "cancel.txt", "Cancel.TXT.txt"])
def test_cancel_while_waiting(tmp_path: Path, name: str) -> None:
    """CANCEL in any case with any extension ends a waiting job in failed/ with JOB_CANCELLED."""
    with served(tmp_path, intake={"incomplete_after_s": 600.0}) as share:
        folder = fakes.write_job(inbox(share, "shoe"))
        (folder / "view_02.png").unlink()
        share.until((folder / "status.json").exists)
        (folder / name).touch()
        share.until((share.config.failed / "shoe").exists)
        assert error_of(share, "shoe")["code"] == "JOB_CANCELLED"
        assert f"CANCELLED{name[6:]}" in os.listdir(share.config.failed / "shoe")


def test_cancel_of_a_working_job_keeps_the_worker(tmp_path: Path) -> None:
    """A job that listens stops within two seconds; its worker stays warm."""
    # The usual grace is short: a busy machine might need it for what is no fault of the job's.
    with served(tmp_path, worker={"cancel_grace_s": 60.0}) as share:
        folder = fakes.write_job(inbox(share, "shoe"), {"work_s": 600})
        share.until(lambda: share.states().get("shoe") == "running")
        share.for_s(0.3)
        pid = share.supervisor.dispatch.executors[0].pid
        started_s = time.monotonic()
        (folder / "CANCEL").touch()
        share.until((share.config.failed / "shoe").exists)
        assert time.monotonic() - started_s < 2.0
        assert error_of(share, "shoe")["code"] == "JOB_CANCELLED"
        assert share.supervisor.dispatch.executors[0].pid == pid


def test_cancel_of_a_stuck_job_kills_everything_it_started(tmp_path: Path) -> None:
    """A job that does not listen is killed with its children within five seconds, and the next job runs."""
    with served(tmp_path) as share:
        child_file = tmp_path / "child"
        folder = fakes.write_job(inbox(share, "stuck"), {"child": str(child_file), "hang": 1})
        share.until(lambda: child_file.exists() and child_file.read_text())
        child, worker = int(child_file.read_text()), share.supervisor.dispatch.executors[0].pid
        assert is_alive(child)
        assert is_alive(worker)
        started_s = time.monotonic()
        (folder / "CANCEL").touch()
        share.until((share.config.failed / "stuck").exists)
        assert time.monotonic() - started_s < 5.0
        assert not is_alive(worker)
        # It was killed with the worker; when it is gone the daemon, who is not its parent, cannot know.
        assert wait_until(lambda: not is_alive(child), started_s + 5.0 - time.monotonic())
        fakes.write_job(inbox(share, "next"))
        share.until((share.config.done / "next").exists)


def test_two_step_cancel(tmp_path: Path) -> None:
    """With cancel.confirm the first CANCEL is answered in status.json and CANCEL.confirm does it."""
    with served(tmp_path, cancel={"confirm": True}, intake={"incomplete_after_s": 600.0}) as share:
        folder = fakes.write_job(inbox(share, "shoe"))
        (folder / "view_02.png").unlink()
        (folder / "CANCEL").touch()
        share.until(lambda: "CANCEL.confirm" in str(status_in(folder).get("message", "")))
        (folder / "CANCEL.confirm").touch()
        share.until((share.config.failed / "shoe").exists)
        assert error_of(share, "shoe")["code"] == "JOB_CANCELLED"


def test_two_step_cancel_of_a_running_job(tmp_path: Path) -> None:
    """The first CANCEL leaves the job running and is answered beside its progress; the second ends it."""
    with served(tmp_path, cancel={"confirm": True}) as share:
        folder = fakes.write_job(inbox(share, "shoe"), {"work_s": 600})
        share.until(lambda: share.states().get("shoe") == "running")
        (folder / "cancel.txt").touch()
        share.until(lambda: "CANCEL.confirm" in str(status_in(folder).get("message", "")))
        assert "Running" in str(status_in(folder).get("message", ""))
        assert share.states()["shoe"] == "running"
        (folder / "cancel.confirm").touch()
        share.until((share.config.failed / "shoe/error.json").exists)
        assert error_of(share, "shoe")["code"] == "JOB_CANCELLED"


def test_cancel_beside_the_jobs_of_a_batch_cancels_them_all(tmp_path: Path) -> None:
    """One CANCEL in the batch's folder ends every job of it, waiting or running."""
    with served(tmp_path, intake={"incomplete_after_s": 600.0}) as share:
        fakes.write_job(inbox(share, "monday") / "shoe", {"work_s": 600})
        (fakes.write_job(inbox(share, "monday") / "boot") / "view_00.png").unlink()
        share.until(lambda: share.states() == {"monday/shoe": "running", "monday/boot": "waiting"})
        (inbox(share, "monday") / "cancel.txt").touch()
        share.until(lambda: set(share.states().values()) == {"cancelled"})
        share.until(lambda: os.listdir(share.config.inbox) == [])
        assert sorted(os.listdir(share.config.failed / "monday")) == ["boot", "shoe"]
