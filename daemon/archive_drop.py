"""NAME.zip dropped into inbox/ gets a folder of its own; from then on it is a job like any other."""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass

from daemon import failpoints, folders, names
from daemon.archive import ArchiveUnfinished, opened_archive
from daemon.config import Config
from daemon.publish import rename_numbered
from daemon.watcher import Candidate
from recon.errors import CaptureError

_WRAPPING = f"{names.STAGING_PREFIX}zip-"


@dataclass
class ArchiveMemory:
    """What earlier looks at an archive saw."""

    signature: int | None = None
    changed_s: float = 0.0
    next_s: float = 0.0


def receive(
    inbox_fd: int, candidate: Candidate, memory: ArchiveMemory, now_s: float, config: Config, settle_s: float
) -> bool:
    """Wrap the archive into a folder once it is quiet and whole, or quiet for so long that it never will be.

    Returns:
        Whether it now has its folder.
    """
    if memory.signature != candidate.signature:
        memory.signature, memory.changed_s = candidate.signature, now_s
    quiet_s = now_s - memory.changed_s
    patience_s = settle_s if _is_whole(inbox_fd, candidate.folder, config) else config.intake.damaged_after_s
    memory.next_s = now_s + max(patience_s - quiet_s, config.intake.scan_s if patience_s > settle_s else 0.0)
    if quiet_s < patience_s:
        return False
    try:
        _wrap(inbox_fd, candidate.folder)
    except OSError:
        memory.next_s = now_s + 1.0
        return False
    return True


def _is_whole(inbox_fd: int, path: str, config: Config) -> bool:
    try:
        with os.fdopen(folders.open_file(inbox_fd, path), "rb") as stream, opened_archive(stream, config.limits):
            return True
    except (ArchiveUnfinished, OSError):
        return False
    except CaptureError:
        return True


def _wrap(inbox_fd: int, path: str) -> None:
    folder, _, name = path.rpartition("/")
    with folders.opened(inbox_fd, folder or ".") as parent_fd:
        wrapping = f"{_WRAPPING}{secrets.token_hex(4)}"
        failpoints.hit("before:archive-wrapped")
        os.mkdir(wrapping, 0o770, dir_fd=parent_fd)
        with folders.opened(parent_fd, wrapping) as wrapping_fd:
            folders.adopt(wrapping_fd, parent_fd)
            os.rename(name, name, src_dir_fd=parent_fd, dst_dir_fd=wrapping_fd)
        failpoints.hit("after:archive-wrapped")
        failpoints.hit("before:archive-named")
        rename_numbered(parent_fd, wrapping, parent_fd, name[: -len(".zip")] or "archive")
        failpoints.hit("after:archive-named")


def finish_interrupted(inbox_fd: int) -> None:
    """After a crash, name the folders that have their archive already and remove those that have not."""
    for wrapping in os.listdir(inbox_fd):
        if not wrapping.startswith(_WRAPPING):
            continue
        with suppress(OSError):
            with folders.opened(inbox_fd, wrapping) as wrapping_fd:
                inside = os.listdir(wrapping_fd)
            if inside:
                rename_numbered(inbox_fd, wrapping, inbox_fd, inside[0][: -len(".zip")] or "archive")
            else:
                os.rmdir(wrapping, dir_fd=inbox_fd)
