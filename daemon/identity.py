"""Is this still the folder that a job was made from?

A name tells nothing, since a folder may be deleted and another dropped under its name between two scans; neither does
an inode number, which the file system gives to the next folder at once.  What tells is a file of ours in the folder
that names the job, or that every file which was copied is there unchanged.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from daemon import folders, names
from daemon.folders import FileSeen
from daemon.jobs import Job

COPIED_FILE = "copied.json"
_OWN_FILES = ("status.json", "result.json", "error.json")


def staging_name(job: Job) -> str:
    """The hidden folder in the job's folder in which its outcome is gathered."""
    return f"{names.STAGING_PREFIX}{job.job_id}"


def note_copied(job_dir: Path, files: Mapping[str, FileSeen]) -> None:
    """Remember of which files the snapshot was taken: their sizes in bytes and modification times in ns."""
    copied = {path: (seen.size_bytes, seen.mtime_ns) for path, seen in files.items()}
    (job_dir / COPIED_FILE).write_text(json.dumps(copied))


def is_folder_of(folder_fd: int, job: Job, job_dir: Path) -> bool:
    """Whether the open folder is the job's.

    Args:
        folder_fd: The folder that has the job's name.
        job: As it is recorded; without a snapshot nothing can be mixed up yet, and the inode number is enough.
        job_dir: Its private folder.

    Raises:
        OSError: The share does not answer.
    """
    copied = _read_copied(job_dir) if job.input_sha256 else {}
    if not copied and os.fstat(folder_fd).st_ino == job.inode:
        return True
    if any(folders.read_own_json_surely(folder_fd, name).get("job_id") == job.job_id for name in _OWN_FILES):
        return True
    if _state(folder_fd, staging_name(job)) is not None:
        return True
    return bool(copied) and all(_state(folder_fd, path) == tuple(state) for path, state in copied.items())


def _read_copied(job_dir: Path) -> dict[str, list[int]]:
    try:
        copied: dict[str, list[int]] = json.loads((job_dir / COPIED_FILE).read_text())
    except FileNotFoundError:
        return {}  # the snapshot is an older version's
    return copied


def _state(folder_fd: int, path: str) -> tuple[int, int] | None:
    try:
        status = folders.status_of(folder_fd, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size, status.st_mtime_ns
