"""A private copy of a folder's input, taken through descriptors while the user may still touch the original.

It is not flushed to the disk: it survives the daemon's death in the kernel's memory, and after a restart of the
machine it is taken again (``is_same_boot``), which costs less than a dozen flushes before every job.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from daemon import failpoints, folders, names
from daemon.archive import ArchiveUnfinished, copy_member, opened_archive
from daemon.config import LimitsConfig
from daemon.contents import only_archive
from daemon.errors import ChangedUnderneath
from daemon.folders import FileSeen, Tree
from daemon.identity import note_copied
from daemon.pictures import check_picture
from recon.errors import CaptureError, CorruptInput

INPUT_DIR, OUTPUT_DIR, LOG_FILE, HASHES_FILE = "input", "output", "log.jsonl", "inputs.json"
_PARTIAL_DIR = "input.partial"
BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Snapshot:
    """What was copied."""

    total_bytes: int
    sha256: str


class _HashingWriter:
    """Counts and hashes what passes through."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self.digest = hashlib.sha256()
        self.written_bytes = 0

    def write(self, block: bytes) -> int:
        self.digest.update(block)
        self.written_bytes += len(block)
        return self._target.write(block)


def take_snapshot(
    folder_fd: int, expected: Tree, pictures: tuple[str, ...], job_dir: Path, limits: LimitsConfig
) -> Snapshot:
    """Copy the user's files to ``job_dir/input``, whole or not at all.

    Args:
        folder_fd: The user's folder.
        expected: As the last look saw it.
        pictures: Files that must be whole pictures in the copy, too.
        job_dir: Private; made if absent.
        limits: Caps for what is unpacked.

    Returns:
        Size and digest over all names and contents.

    Raises:
        ChangedUnderneath: A file is not what the look saw; look again.
        CaptureError: A file or archive is refused.
        OSError: The share does not answer, or the disk is full.
    """
    partial = job_dir / _PARTIAL_DIR
    failpoints.hit("before:snapshot-started")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(job_dir / INPUT_DIR, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    failpoints.hit("after:snapshot-started")
    failpoints.hit("before:snapshot-copied")
    hashes, total_bytes = _copy_all(folder_fd, expected, partial, limits)
    _check_same(folder_fd, expected, limits)
    _check_pictures(pictures, partial, limits.max_image_pixels, is_from_archive=bool(only_archive(expected)))
    (job_dir / HASHES_FILE).write_bytes(json.dumps(hashes, indent=1, sort_keys=True).encode())
    note_copied(job_dir, expected.files)
    failpoints.hit("after:snapshot-copied")
    failpoints.hit("before:snapshot-renamed")
    partial.rename(job_dir / INPUT_DIR)
    failpoints.hit("after:snapshot-renamed")
    digest = hashlib.sha256("".join(f"{names.shown(name)}\0{hashes[name]}\n" for name in sorted(hashes)).encode())
    return Snapshot(total_bytes, digest.hexdigest())


def _copy_all(folder_fd: int, expected: Tree, target: Path, limits: LimitsConfig) -> tuple[dict[str, str], int]:
    archive_name = only_archive(expected)
    hashes: dict[str, str] = {}
    total_bytes = 0
    for path, seen in expected.files.items():
        with os.fdopen(_open_same(folder_fd, path, seen), "rb") as stream:
            if path == archive_name:
                unpacked, unpacked_bytes = _unpack(stream, target, limits)
                hashes |= unpacked
                total_bytes += unpacked_bytes
            elif _is_wanted(path):
                hashes[path], copied_bytes = _copy_one(stream, target / path)
                total_bytes += copied_bytes
            if _seen(os.fstat(stream.fileno())) != seen:
                raise ChangedUnderneath(f"{names.shown(path)} changed while it was copied")
    return hashes, total_bytes


def _is_wanted(path: str) -> bool:
    """Names that no reader can mean (control characters, bytes that are not UTF-8) stay with the user."""
    return names.shown(path) == path


def _copy_one(source: BinaryIO, target: Path) -> tuple[str, int]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        writer = _HashingWriter(file)
        while block := source.read(1 << 20):
            writer.write(block)
    return writer.digest.hexdigest(), writer.written_bytes


def _unpack(stream: BinaryIO, target: Path, limits: LimitsConfig) -> tuple[dict[str, str], int]:
    hashes: dict[str, str] = {}
    total_bytes = 0
    try:
        with opened_archive(stream, limits) as (archive, members):
            for path, entry in members.items():
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                with (target / path).open("xb") as file:
                    writer = _HashingWriter(file)
                    copy_member(archive, entry, writer)
                hashes[path] = writer.digest.hexdigest()
                total_bytes += writer.written_bytes
    except ArchiveUnfinished as error:
        raise ChangedUnderneath(f"the archive changed while it was unpacked: {error}") from None
    return hashes, total_bytes


def _open_same(folder_fd: int, path: str, seen: FileSeen) -> int:
    try:
        descriptor = folders.open_file(folder_fd, path)
    except FileNotFoundError:
        raise ChangedUnderneath(f"{names.shown(path)} is gone") from None
    if _seen(os.fstat(descriptor)) != seen:
        os.close(descriptor)
        raise ChangedUnderneath(f"{names.shown(path)} changed since the last look")
    return descriptor


def _seen(status: os.stat_result) -> FileSeen:
    return FileSeen(status.st_size, status.st_mtime_ns, status.st_ino)


def _check_same(folder_fd: int, expected: Tree, limits: LimitsConfig) -> None:
    try:
        now = folders.list_tree(folder_fd, limits.tree)
    except CaptureError as error:
        raise ChangedUnderneath(error.message) from None
    if now.files != expected.files:
        raise ChangedUnderneath("files came, went or changed while the folder was copied")


def _check_pictures(pictures: tuple[str, ...], folder: Path, max_image_pixels: int, *, is_from_archive: bool) -> None:
    for path in pictures:
        with (folder / path).open("rb") as stream:
            try:
                check_picture(path, stream, (folder / path).stat().st_size, max_image_pixels)
            except CorruptInput as error:
                if is_from_archive:
                    raise
                raise ChangedUnderneath(f"{names.shown(path)} changed while it was copied: {error.message}") from None


def is_same_boot(state: Path) -> bool:
    """Whether the machine has run on since this was last asked of the state folder; remembers the present start."""
    file, boot_id = state / "boot_id", BOOT_ID_FILE.read_text()
    is_same = file.exists() and file.read_text() == boot_id
    if not is_same:
        write_durably(file, boot_id.encode())
    return is_same


def write_durably(file: Path, data: bytes) -> None:
    """Replace a private file in one step that survives a power cut."""
    temporary = file.with_name(file.name + ".new")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
