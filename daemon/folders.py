"""Reading and writing folders that strangers fill, through directory descriptors only.

No path below the root is ever followed by name: every step opens one component relative to its parent with
O_NOFOLLOW, so that a folder swapped for a link between two steps leads nowhere.
"""

import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon import names
from recon.errors import ForbiddenFile, InputTooLarge

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""O_NONBLOCK: opening a FIFO must return at once; it has no effect on regular files."""


@dataclass(frozen=True, slots=True)
class FileSeen:
    """What tells one content of a file from another without reading it."""

    size_bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True)
class TreeLimits:
    """How much of a folder is looked at before it is refused."""

    max_files: int
    max_depth: int
    max_file_bytes: int
    max_job_bytes: int


@dataclass(frozen=True)
class Tree:
    """The user's part of a folder.

    Attributes:
        files: By path relative to the folder, "/" between the parts.
        folders: Names of the folders directly inside.
        control: Control words found at the top (cancel, retry, ready) with the names that carry them.
        temporary: Files that a copying program is still writing.
    """

    files: dict[str, FileSeen]
    folders: tuple[str, ...]
    control: dict[str, tuple[str, ...]]
    temporary: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        """Size of all files together."""
        return sum(seen.size_bytes for seen in self.files.values())

    @property
    def fingerprint(self) -> int:
        """Differs, within this process, when a file came, went or changed; a number, for 10,000 folders wait."""
        return hash((frozenset(self.files.items()), self.temporary))


@contextmanager
def opened(parent: Path | int, relative: str) -> Iterator[int]:
    """Open a folder below ``parent``, one component at a time, following no link.

    Raises:
        OSError: A component is missing, is not a folder, or is a link (ELOOP or ENOTDIR).
    """
    descriptor = os.open(parent, DIRECTORY_FLAGS) if isinstance(parent, Path) else os.dup(parent)
    try:
        for part in relative.split("/"):
            inner = os.open(part, DIRECTORY_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def list_tree(folder_fd: int, limits: TreeLimits) -> Tree:
    """Walk the user's files.

    Raises:
        ForbiddenFile: A link, a file with a second name, a FIFO, socket or device.
        InputTooLarge: More, larger or deeper files than the limits allow.
        OSError: The share does not answer.
    """
    files: dict[str, FileSeen] = {}
    temporary: list[str] = []
    top_folders: list[str] = []
    control: dict[str, tuple[str, ...]] = {}

    def walk(descriptor: int, prefix: str, depth: int) -> None:
        with os.scandir(descriptor) as entries:
            found = list(_capped(entries, limits.max_files))
        for entry in found:
            relative = sys.intern(prefix + entry.name)  # 10,000 waiting folders hold the same few names
            word = names.control_word(entry.name) if depth == 0 else ""
            if word:
                control[word] = (*control.get(word, ()), entry.name)
            elif names.is_temporary(entry.name):
                temporary.append(relative)
            elif names.is_ignored(entry.name) or (depth == 0 and names.is_own(entry.name)):
                continue
            elif entry.is_dir(follow_symlinks=False):
                if depth == 0:
                    top_folders.append(entry.name)
                _check_depth(relative, depth, limits)
                with opened(descriptor, entry.name) as inner:
                    walk(inner, relative + "/", depth + 1)
            else:
                files[relative] = _seen(entry, relative, limits)
                _check_count(files, limits)

    walk(folder_fd, "", 0)
    tree = Tree(files, tuple(sorted(top_folders)), control, tuple(sorted(temporary)))
    _check_total(tree, limits)
    return tree


def _check_total(tree: Tree, limits: TreeLimits) -> None:
    if tree.total_bytes > limits.max_job_bytes:
        raise InputTooLarge(
            f"The folder holds {tree.total_bytes:,} bytes; at most {limits.max_job_bytes:,} are accepted.",
            details={"bytes": tree.total_bytes, "limit_bytes": limits.max_job_bytes},
        )


def _capped(entries: Iterator[os.DirEntry[str]], max_files: int) -> Iterator[os.DirEntry[str]]:
    for count, entry in enumerate(entries):
        if count > 4 * max_files:
            raise _too_many(max_files)
        yield entry


def _too_many(max_files: int) -> InputTooLarge:
    return InputTooLarge(
        f"The folder holds more than {max_files:,} files.",
        suggestion="Leave only the pictures of one object in the folder.",
        details={"limit_files": max_files},
    )


def _check_count(files: dict[str, FileSeen], limits: TreeLimits) -> None:
    if len(files) > limits.max_files:
        raise _too_many(limits.max_files)


def _check_depth(relative: str, depth: int, limits: TreeLimits) -> None:
    if depth >= limits.max_depth:
        raise InputTooLarge(
            f"Folders are nested more than {limits.max_depth} deep.",
            file=names.shown(relative),
            suggestion="Put the pictures directly into the job's folder.",
        )


def _seen(entry: os.DirEntry[str], relative: str, limits: TreeLimits) -> FileSeen:
    status = entry.stat(follow_symlinks=False)
    check_plain(status, relative)
    if status.st_size > limits.max_file_bytes:
        raise InputTooLarge(
            f"{names.shown(relative)} has {status.st_size:,} bytes; at most {limits.max_file_bytes:,} are accepted.",
            file=names.shown(relative),
            details={"bytes": status.st_size, "limit_bytes": limits.max_file_bytes},
        )
    return FileSeen(status.st_size, status.st_mtime_ns, status.st_ino)


def check_plain(status: os.stat_result, relative: str) -> None:
    """Refuse everything but a regular file with a single name.

    Raises:
        ForbiddenFile: Says which kind it is.
    """
    kinds = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    if not stat.S_ISREG(status.st_mode):
        kind = kinds.get(stat.S_IFMT(status.st_mode), "a device")
        raise ForbiddenFile(f"{names.shown(relative)} is {kind}, not a file.", file=names.shown(relative))
    if status.st_nlink > 1:
        raise ForbiddenFile(f"{names.shown(relative)} is a hard link to another file.", file=names.shown(relative))


def status_of(folder_fd: int, relative: str) -> os.stat_result:
    """Of a file or folder below, following no link.

    Raises:
        OSError: It is not there, or the share does not answer.
    """
    parent, _, name = relative.rpartition("/")
    if not parent:
        return os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    with opened(folder_fd, parent) as parent_fd:
        return os.stat(name, dir_fd=parent_fd, follow_symlinks=False)


def open_file(folder_fd: int, relative: str) -> int:
    """Open a user's file for reading by descriptors only.

    Raises:
        ForbiddenFile: It is not a plain file.
        OSError: It is gone, or the share does not answer.
    """
    parent, _, name = relative.rpartition("/")
    if not parent:
        return _open_plain(folder_fd, name, relative)
    with opened(folder_fd, parent) as parent_fd:
        return _open_plain(parent_fd, name, relative)


def _open_plain(parent_fd: int, name: str, relative: str) -> int:
    check_plain(os.stat(name, dir_fd=parent_fd, follow_symlinks=False), relative)
    descriptor = os.open(name, FILE_FLAGS, dir_fd=parent_fd)
    try:
        check_plain(os.fstat(descriptor), relative)
    except ForbiddenFile:
        os.close(descriptor)
        raise
    return descriptor


def read_bytes(folder_fd: int, relative: str, max_bytes: int) -> bytes:
    """Read a small file whole.

    Raises:
        InputTooLarge: It is larger than ``max_bytes``.
        ForbiddenFile, OSError: As ``open_file``.
    """
    with os.fdopen(open_file(folder_fd, relative), "rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise InputTooLarge(f"{names.shown(relative)} is larger than {max_bytes:,} bytes.", file=names.shown(relative))
    return data


def read_own_json(folder_fd: int, name: str) -> dict[str, object]:
    """Read one of our own files back; empty if it cannot be read, is strange, or was replaced by the user."""
    try:
        return read_own_json_surely(folder_fd, name)
    except OSError:
        return {}


def read_own_json_surely(folder_fd: int, name: str) -> dict[str, object]:
    """The same, for those who conclude something from its absence.

    Raises:
        OSError: The share does not answer, so that nobody knows whether it is there.
    """
    try:
        data = json.loads(read_bytes(folder_fd, name, 1 << 20))
    except (FileNotFoundError, PermissionError, ValueError, ForbiddenFile, InputTooLarge, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def write_file(folder_fd: int, name: str, data: bytes, *, is_durable: bool) -> None:
    """Replace a file in one step; a reader sees the old or the new content, a link is replaced, not followed.

    Args:
        folder_fd: The folder; the file gets its owner and group.
        name: One component.
        data: The content.
        is_durable: Whether it must survive a power cut.
    """
    temporary = f"{names.STAGING_PREFIX}{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o664, dir_fd=folder_fd)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            adopt(stream.fileno(), folder_fd)
            stream.flush()
            if is_durable:
                os.fsync(stream.fileno())
        os.rename(temporary, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except OSError:
        remove_name(folder_fd, temporary)
        raise
    if is_durable:
        os.fsync(folder_fd)


def adopt(descriptor: int, folder_fd: int) -> None:
    """Give what we wrote to the one who dropped the folder: owner where we may, group, matching mode."""
    folder = os.fstat(folder_fd)
    is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    for owner in (folder.st_uid, -1):
        try:
            os.fchown(descriptor, owner, folder.st_gid)
            break
        except OSError:
            continue
    shared = 0o770 if is_directory else 0o660
    public = (0o005 if is_directory else 0o004) if folder.st_mode & stat.S_IROTH else 0
    setgid = stat.S_ISGID if is_directory and folder.st_mode & stat.S_ISGID else 0
    os.fchmod(descriptor, shared | public | setgid)


def remove_name(folder_fd: int, name: str) -> None:
    """Remove a file or link; nothing if it is not there."""
    try:
        os.unlink(name, dir_fd=folder_fd)
    except FileNotFoundError:
        return


def remove_tree(parent_fd: int, name: str) -> None:
    """Remove a folder and all in it, however deep, following no link; nothing if it is not there."""
    try:
        with opened(parent_fd, name) as folder_fd:
            while inside := os.listdir(folder_fd):
                for inner in inside:
                    _remove_or_lift(folder_fd, inner)
        os.rmdir(name, dir_fd=parent_fd)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        remove_name(parent_fd, name)


def _remove_or_lift(folder_fd: int, name: str) -> None:
    """Remove a file, or a folder after lifting its folders beside it: depth costs neither stack nor descriptors."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode):
        remove_name(folder_fd, name)
        return
    with opened(folder_fd, name) as inner_fd, os.scandir(inner_fd) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                lifted = f"{names.STAGING_PREFIX}{secrets.token_hex(8)}"
                os.rename(entry.name, lifted, src_dir_fd=inner_fd, dst_dir_fd=folder_fd)
            else:
                remove_name(inner_fd, entry.name)
    os.rmdir(name, dir_fd=folder_fd)
