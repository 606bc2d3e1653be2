"""Shares that are busy, full, hiccup or vanish: jobs wait and then end once."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fakes
from audit import Tally
from daemon import failpoints
from daemon.cli import app
from daemon.errors import ShareInUse, StoreError
from daemon.failpoints import STEPS
from daemon.share import ShareLock
from daemon.store import open_store
from served import DaemonProcess, drop, jobs_on_record, make_config, served, wait_until

IN_TABLE_ONLY = {"job-added", "job-queued", "snapshot-recorded", "run-recorded", "publish-recorded", "work-removed"}
FILE_STEPS = [
    f"{when}:{step}"
    for step in STEPS
    for when in ("before", "after")
    if step not in IN_TABLE_ONLY | {"run-finished", "archive-wrapped", "archive-named", "retry-returned"}
    and f"{when}:{step}" != "after:run-started"
]


@pytest.fixture(autouse=True)
def _fresh_failpoints() -> Iterator[None]:
    failpoints._raised.clear()
    yield
    failpoints._raised.clear()


@pytest.mark.fault("a step fails with EIO or ENOSPC, twice", "before and after every step that touches files")
@pytest.mark.parametrize("failpoint", FILE_STEPS)
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_passing_error_at_any_file_step_only_delays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failpoint: str, error: str, tally: Tally
) -> None:
    """A step that fails twice is repeated; the job ends once in done/, with its first attempt."""
    monkeypatch.setenv("MESHDROP_FAILPOINT", f"{failpoint}={error}*2")
    with served(tmp_path) as share:
        fakes.write_job(share.config.inbox / "shoe")
        share.until(lambda: (share.config.done / "shoe/result.json").exists() and not share.store.active())
        assert failpoints._raised[failpoint] in {1, 2}
        assert share.job("shoe").attempts == 1
        assert os.listdir(share.config.inbox) == os.listdir(share.config.failed) == []
        assert set(os.listdir(share.config.done / "shoe")) == {*fakes.JOB_FILES, "log.jsonl", "result.json", "results"}
        tally(share.config, ["shoe"])


@pytest.mark.fault("EBUSY, ESTALE, EACCES or EDQUOT at the move to done/", "at that step, three times")
@pytest.mark.parametrize("error", ["EBUSY", "ESTALE", "EACCES", "EDQUOT"])
def test_a_client_that_holds_the_folder_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, tally: Tally
) -> None:
    """A busy, stale, forbidden or over-quota move is repeated for as long as it takes."""
    monkeypatch.setenv("MESHDROP_FAILPOINT", f"before:folder-moved={error}*3")
    with served(tmp_path) as share:
        fakes.write_job(share.config.inbox / "shoe")
        share.until(lambda: (share.config.done / "shoe").exists() and not share.store.active())
        tally(share.config, ["shoe"])


def test_two_daemons_cannot_serve_one_share(tmp_path: Path) -> None:
    """The second refuses, with the same state folder or another, and takes over when the first has gone."""
    config = make_config(tmp_path)
    first = ShareLock(config)
    with pytest.raises(ShareInUse):
        ShareLock(config)
    with pytest.raises(ShareInUse):
        ShareLock(config.model_copy(update={"state": tmp_path}))
    first.release()
    ShareLock(config).release()


def test_the_lock_of_a_killed_daemon_does_not_stay(tmp_path: Path) -> None:
    """After kill -9 the next daemon serves at once."""
    daemon = DaemonProcess(tmp_path)
    assert wait_until((tmp_path / "state/health.json").exists)
    daemon.kill()
    daemon = DaemonProcess(tmp_path)
    daemon.stop()


def test_a_damaged_table_stops_the_daemon_and_doctor_explains(tmp_path: Path) -> None:
    """Nothing is deleted; moved away as doctor says, what is in inbox/ is found again."""
    config = make_config(tmp_path)
    open_store(config.database).close()
    config.database.write_bytes(b"garbage" * 1000)
    fakes.write_job(config.inbox / "shoe")
    with pytest.raises(StoreError):
        open_store(config.database)
    told = CliRunner().invoke(app, ["doctor", "--root", str(config.root), "--state", str(config.state)])
    assert told.exit_code == 4
    assert "job table: damaged" in told.output
    config.database.rename(tmp_path / "damaged")
    with served(tmp_path) as share:
        share.until((share.config.done / "shoe").exists)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.fault("the disk of share and state is full", "tmpfs, filled before every step of a job")
@pytest.mark.parametrize("step", STEPS)
def test_a_full_disk_at_any_step_delays_and_loses_nothing(small_disk: Path, step: str, tally: Tally) -> None:
    """With a disk that is full for a while from this step on, the job ends once in done/ when there is room."""
    config = make_config(small_disk)
    failpoint = f"before:{step}"
    daemon = DaemonProcess(small_disk, {"MESHDROP_FAILPOINT": f"{failpoint}=SIGSTOP"}, disk={"min_free_bytes": 0})
    result = config.done / "shoe/result.json"
    try:
        drop(small_disk, failpoint)
        assert wait_until(lambda: halted_below(daemon.pid)), "the step was never reached"
        _fill(small_disk / "ballast")
        resume(daemon.pid)
        time.sleep(0.5)
        assert daemon.exit_status is None
        (small_disk / "ballast").unlink()
        assert wait_until(lambda: resume(daemon.pid) and result.exists() and has_ended(config.state))
    finally:
        daemon.stop()
    assert (config.done / "shoe/results/nvdiffrec/mesh.glb").stat().st_size == 1004
    assert [job.state for job in jobs_on_record(config.state)] == ["done"]
    tally(config, ["shoe"])


def resume(pid: int) -> bool:
    """Let what is halted go on; a fresh worker halts at the same step again."""
    halted = halted_below(pid)
    if halted:
        os.kill(halted, signal.SIGCONT)
    return True


def has_ended(state: Path) -> bool:
    return [job.is_active for job in jobs_on_record(state)] == [False]


def halted_below(pid: int) -> int:
    """The process, or one that it started, that a failpoint has halted; 0 for none."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                state, parent = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
                if state == "T" and pid in {int(entry.name), int(parent)}:
                    return int(entry.name)
    return 0


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_the_free_space_gate_holds_jobs_back(tmp_path: Path) -> None:
    """Below disk.min_free_bytes no job is taken; its folder says why."""
    free_bytes = shutil.disk_usage(tmp_path).free
    with served(tmp_path, disk={"min_free_bytes": 2 * free_bytes}) as share:
        folder = fakes.write_job(share.config.inbox / "shoe")
        share.until(lambda: "DISK_FULL" in _text(folder / "status.json"))
        assert share.states() == {"shoe": "queued"}


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""
