"""A folder is deleted and another dropped under its name between two scans, on ext4 with the same inode numbers."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import fakes
from audit import Tally
from daemon import failpoints
from served import ServedShare, served

pytestmark = [
    pytest.mark.needs("root", "mount", "mkfs.ext4"),
    pytest.mark.fault("another folder under the same name and inode number", "ext4 and tmpfs, between two scans"),
]

FIRST_GREY, SECOND_GREY = 10, 200


@pytest.fixture(params=["ext4", "tmpfs"])
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    if request.param == "ext4":
        with (tmp_path / "image").open("wb") as image:
            image.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", image.name], check=True)
        subprocess.run(["mount", "-o", "loop", image.name, str(place)], check=True)
    else:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def write(folder: Path, grey: int, behave: dict[str, object] | None = None) -> Path:
    """A job like any other: names and sizes of its pictures are the same, their shade is not."""
    fakes.write_job(folder, behave)
    for name in fakes.JOB_FILES:
        (folder / name).write_bytes(fakes.png(grey=grey))
    return folder


def replace(folder: Path) -> None:
    """Delete the first folder and drop the second in its place."""
    inode, is_reused = folder.stat().st_ino, file_system(folder) == "ext2/ext3"
    shutil.rmtree(folder)
    fillers = take_lower_numbers(folder.parent, inode) if is_reused else []
    write(folder, SECOND_GREY)
    for filler in fillers:
        filler.unlink()
    assert not is_reused or folder.stat().st_ino == inode, "ext4 gives the number to the next folder"


def take_lower_numbers(inbox: Path, inode: int) -> list[Path]:
    """Make this the lowest free number, which ext4 gives next: files that were written anew have left others below.

    Returns:
        Hidden files, which no scan sees, with the numbers below.
    """
    fillers = []
    for number in range(1_000):
        filler = inbox / f".filler{number}"
        filler.touch()
        if filler.stat().st_ino >= inode:
            filler.unlink()
            return fillers
        fillers.append(filler)
    raise AssertionError("too many numbers are free")


def file_system(folder: Path) -> str:
    asked = ["stat", "--file-system", "--format=%T", str(folder)]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def assert_second_came_back(share: ServedShare, first: str, tally: Tally) -> None:
    """The first job is withdrawn; the one outcome is that of the second folder's pictures."""
    share.until(lambda: (share.config.done / "shoe/result.json").exists() and not share.store.active())
    result = json.loads((share.config.done / "shoe/result.json").read_text())
    assert result["input"]["files"]["view_00.png"] == hashlib.sha256(fakes.png(grey=SECOND_GREY)).hexdigest()
    assert result["job_id"] != first
    assert share.states()["shoe"] == "done"
    assert [job.state for job in share.store.recent(10) if job.job_id == first] == ["withdrawn"]
    assert {"results", "view_00.png"} <= {path.name for path in (share.config.done / "shoe").iterdir()}
    tally(share.config, ["shoe"])


def test_while_it_waits_for_a_worker(disk: Path, tally: Tally) -> None:
    """The copy of the first folder that lies ready is not run for the second."""
    with served(disk, disk={"min_free_bytes": 0}) as share:
        fakes.write_job(share.config.inbox / "busy", {"until": str(disk / "replaced")})
        share.until(lambda: share.states().get("busy") == "running")
        folder = write(share.config.inbox / "shoe", FIRST_GREY)
        share.until(lambda: share.states().get("shoe") == "queued" and share.job("shoe").input_sha256)
        first = share.job("shoe").job_id
        replace(folder)
        share.until(lambda: share.job("shoe").job_id != first)
        (disk / "replaced").touch()
        assert_second_came_back(share, first, tally)
        assert [job.attempts for job in share.store.recent(10) if job.job_id == first] == [0]


def test_while_it_runs(disk: Path, tally: Tally) -> None:
    """The run of the first folder is stopped, and the second is a job of its own."""
    with served(disk, disk={"min_free_bytes": 0}) as share:
        folder = write(share.config.inbox / "shoe", FIRST_GREY, {"work_s": 600})
        share.until(lambda: share.states().get("shoe") == "running")
        first = share.job("shoe").job_id
        replace(folder)
        assert_second_came_back(share, first, tally)


@pytest.mark.parametrize(
    "moment",
    ["before:run-recorded", "after:run-recorded", "before:stage-created", "after:stage-synced", "before:folder-moved"],
)
def test_while_its_results_are_put_on_the_share(
    disk: Path, monkeypatch: pytest.MonkeyPatch, moment: str, tally: Tally
) -> None:
    """No outcome of the first is put into the second, however late they are exchanged."""
    with served(disk, disk={"min_free_bytes": 0}) as share:
        folder = share.config.inbox / "shoe"
        hit, moments = failpoints.hit, [moment]

        def exchange(name: str) -> None:
            hit(name)
            if name in moments:
                moments.remove(name)
                # The daemon holds the folder open while it fills it: then its number is not free.
                shutil.rmtree(folder)
                write(folder, SECOND_GREY)

        monkeypatch.setattr(failpoints, "hit", exchange)
        write(folder, FIRST_GREY, {"until": str(disk / "seen")})
        share.until(lambda: share.states().get("shoe") == "running")
        first = share.job("shoe").job_id
        (disk / "seen").touch()
        assert_second_came_back(share, first, tally)
        assert not moments


def test_without_a_status_file_the_files_tell(disk: Path, tally: Tally) -> None:
    """A mirror that removes what its source lacks takes status.json away: the job goes on as the same one."""
    with served(disk, disk={"min_free_bytes": 0}) as share:
        folder = write(share.config.inbox / "shoe", SECOND_GREY, {"until": str(disk / "taken away")})
        share.until(lambda: share.states().get("shoe") == "running")
        first = share.job("shoe").job_id
        for _ in range(5):
            (folder / "status.json").unlink(missing_ok=True)
            share.for_s(0.1)
        (disk / "taken away").touch()
        share.until(lambda: (share.config.done / "shoe/result.json").exists() and not share.store.active())
        assert share.job("shoe").job_id == first
        assert share.job("shoe").attempts == 1
        tally(share.config, ["shoe"])
