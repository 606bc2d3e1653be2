"""A file system of the tests' own: it passes every call on to a folder, and fails the calls that a test names.

Run as ``python faulty_share.py BACKING MOUNT FAULT_FILE``.  FAULT_FILE holds one ``Fault`` as JSON; replacing it arms
the next one.  What was failed is written to FAULT_FILE with the suffix ``.log``, one line per call.
"""

import errno
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import mfusepy

OPERATIONS = (
    "getattr", "readdir", "open", "read", "create", "write", "fsync", "mkdir", "rename", "unlink", "rmdir", "chmod",
    "chown", "utimens", "truncate", "release",
)  # fmt: skip
RENAME_NOREPLACE = 1


@dataclass(frozen=True)
class Fault:
    """Which calls fail and how.

    Attributes:
        operation: One of ``OPERATIONS``; empty: none fails.
        error: Name of the errno.
        first: Calls of this operation that still succeed after arming.
        times: Calls that fail then.
        below: Only calls on paths that contain this.
        is_done: The call takes effect and only its answer is lost, as when a server dies in between.
    """

    operation: str = ""
    error: str = "EIO"
    first: int = 0
    times: int = 1
    below: str = "/inbox/"
    is_done: bool = False


class FaultyShare(mfusepy.Operations):  # type: ignore[misc]  # the library is not typed
    """The calls, on paths relative to the mount."""

    use_ns = True

    def __init__(self, backing: str, fault_file: Path) -> None:
        self._backing = backing
        self._fault_file = fault_file
        self._armed_by: tuple[int, int] = (0, 0)
        self._fault = Fault()
        self._calls = 0
        self.rename_flags = 0

    def due_fault(self, operation: str, path: str, arguments: tuple[Any, ...]) -> Fault | None:
        """The armed fault, if this call must fail."""
        written = os.stat(self._fault_file)
        if (written.st_ino, written.st_mtime_ns) != self._armed_by:
            self._armed_by = (written.st_ino, written.st_mtime_ns)
            self._fault, self._calls = Fault(**json.loads(self._fault_file.read_text())), 0
        fault = self._fault
        paths = [path, *(item for item in arguments if isinstance(item, str))]
        if operation != fault.operation or not any(fault.below in item + "/" for item in paths):
            return None
        self._calls += 1
        if not fault.first < self._calls <= fault.first + fault.times:
            return None
        with self._fault_file.with_suffix(".log").open("a") as log:
            log.write(f"{operation} {path}\n")
        return fault

    def _real(self, path: str) -> str:
        return self._backing + path

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        status = os.lstat(self._real(path))
        names = ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size")
        times = {f"st_{kind}time": getattr(status, f"st_{kind}time_ns") for kind in "amc"}
        return {name: getattr(status, name) for name in names} | times

    def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, int], int]]:
        # An entry without its inode number counts as deleted.
        with os.scandir(self._real(path)) as entries:
            status = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        return [(name, {"st_mode": item.st_mode, "st_ino": item.st_ino}, 0) for name, item in status]

    def open(self, path: str, flags: int) -> int:
        return os.open(self._real(path), flags)

    def create(self, path: str, mode: int, fi: object = None) -> int:
        return os.open(self._real(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        os.fsync(fh)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(self._real(path), length)

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._real(path), mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(self._real(path))

    def unlink(self, path: str) -> None:
        os.unlink(self._real(path))

    def rename(self, old: str, new: str) -> None:
        if self.rename_flags & RENAME_NOREPLACE and os.path.lexists(self._real(new)):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.rename(self._real(old), self._real(new))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._real(path), stat.S_IMODE(mode))

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(self._real(path), uid, gid)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        os.utime(self._real(path), ns=times)

    def statfs(self, path: str) -> dict[str, int]:
        status = os.statvfs(self._real(path))
        return {name: getattr(status, name) for name in ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail")}


class _Fuse(mfusepy.FUSE):  # type: ignore[misc]
    """The library drops the flags of rename, without which "never replace" would silently replace."""

    def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
        self.share.rename_flags = flags
        return int(super().rename_fuse_3(old, new, flags) or 0)


def serve(backing: str, mount: str, fault_file: Path) -> None:
    """Mount and answer until unmounted."""
    _Fuse.share = share = FaultyShare(backing, fault_file)
    _route_calls(FaultyShare)
    _Fuse(share, mount, foreground=True, nothreads=True, use_ino=True, attr_timeout=0, entry_timeout=0, fsname="faulty")


def _route_calls(share_type: type[FaultyShare]) -> None:
    """Let every call ask first whether it must fail."""
    for operation in OPERATIONS:
        setattr(share_type, operation, _asking_first(operation, getattr(share_type, operation)))


def _asking_first(operation: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def asking(self: FaultyShare, path: str, *arguments: Any) -> Any:
        fault = self.due_fault(operation, path, arguments)
        answer = method(self, path, *arguments) if fault is None or fault.is_done else None
        if fault is not None:
            number = getattr(errno, fault.error)
            raise OSError(number, os.strerror(number))
        return answer

    return asking


class MountedShare:
    """A mounted ``FaultyShare``, seen from the test."""

    def __init__(self, base: Path) -> None:
        self.backing, self.mount, self._fault_file = base / "backing", base / "share", base / "fault"
        self.backing.mkdir()
        self.mount.mkdir()
        self.arm(Fault())
        self.remount()

    def remount(self) -> None:
        """Mount it (again)."""
        command = [sys.executable, __file__, str(self.backing), str(self.mount), str(self._fault_file)]
        log_file = self._fault_file.with_name("fuse.log")
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log)
        deadline_s = time.monotonic() + 60
        while not os.path.ismount(self.mount):
            assert self._process.poll() is None, log_file.read_text()
            assert time.monotonic() < deadline_s, "not mounted"
            time.sleep(0.02)

    def arm(self, fault: Fault) -> None:
        """Make calls fail from now on."""
        draft = self._fault_file.with_suffix(".new")
        draft.write_text(json.dumps(asdict(fault)))
        draft.rename(self._fault_file)

    def failed_calls(self) -> list[str]:
        """What was failed so far."""
        log = self._fault_file.with_suffix(".log")
        return log.read_text().splitlines() if log.exists() else []

    def unmount(self) -> None:
        """Take it away, whoever still has it open."""
        subprocess.run(["fusermount3", "-u", "-z", str(self.mount)], check=True)
        self._process.kill()
        self._process.wait(10)


@contextmanager
def mounted(base: Path) -> Iterator[MountedShare]:
    """A share below ``base`` whose calls a test may fail."""
    share = MountedShare(base)
    try:
        yield share
    finally:
        share.unmount()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
