"""Which folder is the job's, when names and inode numbers prove nothing."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import fakes
from daemon import folders
from daemon.folders import TreeLimits
from daemon.identity import is_folder_of, note_copied, staging_name
from daemon.jobs import Job, JobState

LIMITS = TreeLimits(max_files=100, max_depth=3, max_file_bytes=1 << 20, max_job_bytes=1 << 20)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A running job of share/shoe whose snapshot has been taken."""
    folder = fakes.write_job(tmp_path / "shoe")
    (folder / "extra").mkdir()
    (folder / "extra/notes.txt").write_text("notes")
    (tmp_path / "work").mkdir()
    with folders.opened(tmp_path, "shoe") as folder_fd:
        note_copied(tmp_path / "work", folders.list_tree(folder_fd, LIMITS).files)
    return Job("id-1", "shoe", JobState.RUNNING, inode=folder.stat().st_ino, input_sha256="00")


def is_its_own(base: Path, job: Job) -> bool:
    with folders.opened(base, "shoe") as folder_fd:
        return is_folder_of(folder_fd, job, base / "work")


def test_the_copied_files_tell(tmp_path: Path, job: Job) -> None:
    """Unchanged files prove the folder under any inode number; what was added to it does not matter."""
    (tmp_path / "shoe/later.txt").touch()
    assert is_its_own(tmp_path, replace(job, inode=1))


@pytest.mark.parametrize("changed", ["view_00.png", "extra/notes.txt"])
def test_one_other_file_is_another_folder(tmp_path: Path, job: Job, changed: str) -> None:
    """The same inode number does not make a folder the job's when a file has another date, or is gone."""
    os.utime(tmp_path / "shoe" / changed, ns=(1, 1))
    assert not is_its_own(tmp_path, job)
    (tmp_path / "shoe" / changed).unlink()
    assert not is_its_own(tmp_path, job)


def test_a_folder_in_place_of_a_file_is_another_folder(tmp_path: Path, job: Job) -> None:
    """Neither does a file where a folder was."""
    shutil.rmtree(tmp_path / "shoe/extra")
    (tmp_path / "shoe/extra").write_text("a file")
    assert not is_its_own(tmp_path, job)


@pytest.mark.parametrize("name", ["status.json", "result.json", "error.json"])
def test_a_file_of_ours_tells(tmp_path: Path, job: Job, name: str) -> None:
    """A folder that names the job is the job's, whatever became of the pictures; one that names another is not."""
    (tmp_path / "shoe/view_00.png").unlink()
    (tmp_path / "shoe" / name).write_text(json.dumps({"job_id": "id-2"}))
    assert not is_its_own(tmp_path, job)
    (tmp_path / "shoe" / name).write_text(json.dumps({"job_id": "id-1"}))
    assert is_its_own(tmp_path, replace(job, inode=1))


def test_a_share_that_does_not_answer_proves_nothing(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO is no reason to take the folder for another one; a file that may not be read is as good as none."""
    (tmp_path / "shoe/view_00.png").unlink()

    def failing(number: int) -> Callable[..., bytes]:
        def read(*_arguments: object) -> bytes:
            raise OSError(number, os.strerror(number))

        return read

    monkeypatch.setattr(folders, "read_bytes", failing(errno.EACCES))
    assert not is_its_own(tmp_path, job)
    monkeypatch.setattr(folders, "read_bytes", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        is_its_own(tmp_path, job)


def test_a_half_published_outcome_tells(tmp_path: Path, job: Job) -> None:
    """The hidden folder of an interrupted publication is a sign, too."""
    (tmp_path / "shoe/view_00.png").unlink()
    (tmp_path / "shoe" / staging_name(job)).mkdir()
    assert is_its_own(tmp_path, job)


def test_without_a_snapshot_the_inode_is_enough(tmp_path: Path, job: Job) -> None:
    """Nothing of an earlier folder is kept yet that could be mixed with it."""
    waiting = replace(job, state=JobState.WAITING, input_sha256="")
    (tmp_path / "shoe/view_00.png").unlink()
    assert is_its_own(tmp_path, waiting)
    assert not is_its_own(tmp_path, replace(waiting, inode=1))


def test_a_snapshot_of_an_older_version_is_believed(tmp_path: Path, job: Job) -> None:
    """After an upgrade a running job has no list of copied files: the inode number counts as before."""
    (tmp_path / "work/copied.json").unlink()
    assert is_its_own(tmp_path, job)
    assert not is_its_own(tmp_path, replace(job, inode=1))
