"""The share lies on a file system that fails chosen calls; jobs wait and then end once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import fakes
from audit import Tally
from daemon import filing
from faulty_share import Fault, MountedShare, mounted
from served import ServedShare, served

pytestmark = [pytest.mark.needs("fusermount3")]

ERRORS = ("EIO", "ESTALE", "EBUSY")
THOROUGH = os.environ.get("THOROUGH") == "1"
"""Asked for by hand: every call of every operation, not a sample."""
PLACES = range(12) if THOROUGH else (0, 5)
EFFECTS = ("rename", "mkdir", "unlink", "rmdir", "create")
OPERATIONS = (
    "getattr", "readdir", "open", "read", "create", "write", "fsync", "mkdir", "rename", "unlink", "rmdir", "chmod",
    "chown",
)  # fmt: skip


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ServedShare, MountedShare]]:
    """A served share on the faulty file system, with short pauses after a trouble."""
    monkeypatch.setattr(filing, "FIRST_PAUSE_S", 0.05)
    with mounted(tmp_path) as mount, served(tmp_path) as share:
        yield share, mount


def run_under(share: ServedShare, mount: MountedShare, faults: list[Fault]) -> list[str]:
    """Drop one job per fault, one after the other; their names."""
    dropped = []
    for number, fault in enumerate(faults):
        name = f"job{number:03d}"
        draft = fakes.write_job(mount.backing / name)
        mount.arm(fault)
        draft.rename(mount.backing / "inbox" / name)
        result = mount.backing / f"done/{name}/result.json"
        share.until(lambda: result.exists() and not share.store.active())  # noqa: B023
        mount.arm(Fault())
        dropped.append(name)
    return dropped


def assert_all_whole(mount: MountedShare, dropped: list[str]) -> None:
    """All in done/ with exactly what belongs there, nothing anywhere else."""
    assert os.listdir(mount.backing / "inbox") == os.listdir(mount.backing / "failed") == []
    assert sorted(os.listdir(mount.backing / "done")) == dropped
    expected = {*fakes.JOB_FILES, "log.jsonl", "result.json", "results"}
    assert [name for name in dropped if set(os.listdir(mount.backing / "done" / name)) != expected] == []


@pytest.mark.fault("a call on the share fails with EIO, ESTALE or EBUSY", "own FUSE file system, at the n-th call")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_failing_call_only_delays(share: tuple[ServedShare, MountedShare], tally: Tally, operation: str) -> None:
    """Two failures in a row at a chosen call leave the job to end once in done/, with its first attempt."""
    serving, mount = share
    dropped = run_under(
        serving, mount, [Fault(operation, error, first, times=2) for error in ERRORS for first in PLACES]
    )
    assert any(line.startswith(operation) for line in mount.failed_calls()), "the fault was never met"
    assert {job.attempts for job in serving.store.recent(1000)} == {1}
    assert_all_whole(mount, dropped)
    tally(serving.config, dropped)


@pytest.mark.fault("a call takes effect and its answer is lost", "own FUSE file system: done, then EIO")
@pytest.mark.parametrize("operation", EFFECTS)
def test_a_half_done_call_is_neither_lost_nor_repeated(
    share: tuple[ServedShare, MountedShare], tally: Tally, operation: str
) -> None:
    """A rename, mkdir or removal that happened although it failed is found done at the next try."""
    serving, mount = share
    faults = [
        Fault(operation, error, first, below=below, is_done=True)
        for error in (("EIO", "ESTALE") if THOROUGH else ("EIO",))
        for first in PLACES
        for below in ("/inbox/", "/done/")
    ]
    dropped = run_under(serving, mount, faults)
    assert any(line.startswith(operation) for line in mount.failed_calls()), "the fault was never met"
    assert_all_whole(mount, dropped)
    tally(serving.config, dropped)


@pytest.mark.fault("the file system dies and is mounted again", "own FUSE file system, killed and restarted")
def test_a_remount_loses_nothing(tmp_path: Path, tally: Tally) -> None:
    """While the mount is away jobs keep their state; dropped meanwhile or before, all come back."""
    with mounted(tmp_path) as mount, served(tmp_path) as share:
        fakes.write_job(mount.backing / "inbox/before", {"until": str(tmp_path / "away")})
        share.until(lambda: share.states().get("before") == "running")
        mount.unmount()
        (tmp_path / "away").touch()
        share.until(lambda: share.supervisor.board.offline_reason)
        fakes.write_job(mount.backing / "inbox/meanwhile")
        share.for_s(1.0)
        assert share.states()["before"] in {"running", "publishing"}
        mount.remount()
        fakes.write_job(mount.backing / "inbox/after")
        share.until(lambda: len(os.listdir(mount.backing / "done")) == 3 and not share.store.active())
        tally(share.config, ["before", "meanwhile", "after"])
