"""NAME.zip as a job: what it holds, and unpacking it without trusting it."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from daemon import names
from daemon.config import LimitsConfig
from recon.errors import InputTooLarge, InvalidArchive

_UNIX_TYPE_SHIFT = 16
_LINK_TYPE = 0o120000
_TYPE_MASK = 0o170000
_ENCRYPTED_FLAG = 1
DAMAGE = (
    zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError, OverflowError, struct.error, zlib.error
)  # fmt: skip
"""All that zipfile raises on damaged bytes: NotImplementedError where they name a method or version that it lacks."""
PLAIN_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
ARCHIVE_SUFFIXES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")


class Writer(Protocol):
    """Takes bytes."""

    def write(self, block: bytes, /) -> int:
        """Take a block and return its length."""


class ArchiveUnfinished(Exception):
    """The end of the archive has not arrived yet."""


@contextmanager
def opened_archive(
    stream: BinaryIO, limits: LimitsConfig
) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Open an archive and list its pictures and options by the path that they have in the job.

    A single folder around everything is taken away; what file managers leave is skipped.

    Raises:
        ArchiveUnfinished: There is no central directory (yet).
        InvalidArchive: Too many or too large files, a bomb, a link, a nested archive, a password, or a name that
            leads out of the folder.
    """
    try:
        archive = zipfile.ZipFile(stream)
    except DAMAGE as error:
        raise ArchiveUnfinished(str(error)) from None
    with archive:
        yield archive, _checked_members(archive, limits)


def _checked_members(archive: zipfile.ZipFile, limits: LimitsConfig) -> dict[str, zipfile.ZipInfo]:
    entries = archive.infolist()
    if len(entries) > limits.max_files:
        raise InvalidArchive(f"The archive holds more than {limits.max_files:,} files.")
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in entry.filename[:3]:
            raise InvalidArchive(
                f"{names.shown(entry.filename)} leads out of the folder.", file=names.shown(entry.filename)
            )
        if not path.parts or entry.is_dir() or any(names.is_ignored(part) for part in path.parts):
            continue
        _check_entry(entry, path, limits)
        members[str(path)] = entry
    if sum(entry.file_size for entry in members.values()) > limits.max_job_bytes:
        raise InvalidArchive(f"The archive unpacks to more than {limits.max_job_bytes:,} bytes.")
    return _without_wrapper(members)


def _check_entry(entry: zipfile.ZipInfo, path: PurePosixPath, limits: LimitsConfig) -> None:
    name = names.shown(entry.filename)
    is_link = (entry.external_attr >> _UNIX_TYPE_SHIFT) & _TYPE_MASK == _LINK_TYPE
    ratio = entry.file_size / max(entry.compress_size, 1)
    checks = (
        (is_link, "is a link"),
        (bool(entry.flag_bits & _ENCRYPTED_FLAG), "needs a password"),
        (entry.compress_type not in PLAIN_METHODS, "is packed in a rare way"),
        (path.suffix.lower() in ARCHIVE_SUFFIXES, "is an archive inside the archive"),
        (len(path.parts) > limits.max_depth, "is nested too deeply"),
        (entry.file_size > limits.max_file_bytes, f"unpacks to more than {limits.max_file_bytes:,} bytes"),
        (ratio > limits.max_archive_ratio, f"grows {ratio:.0f}-fold when unpacked"),
    )
    for is_wrong, what in checks:
        if is_wrong:
            raise InvalidArchive(f"{name} {what}.", file=name)


def _without_wrapper(members: dict[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Take away a single folder around everything, as packing a folder makes it."""
    tops = {path.split("/")[0] for path in members}
    is_wrapped = len(tops) == 1 and all("/" in path for path in members)
    return {path.split("/", 1)[1]: entry for path, entry in members.items()} if is_wrapped else members


def read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, max_bytes: int) -> bytes:
    """Unpack one small file into memory.

    Raises:
        InputTooLarge: It declares more than ``max_bytes``.
        InvalidArchive: It is damaged.
    """
    if entry.file_size > max_bytes:
        raise InputTooLarge(f"{names.shown(entry.filename)} is larger than {max_bytes:,} bytes.")
    target = io.BytesIO()
    copy_member(archive, entry, target)
    return target.getvalue()


def copy_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Writer) -> None:
    """Unpack one file, checking its length and checksum.

    Raises:
        InvalidArchive: It holds more than it declares, or is damaged.
    """
    left_bytes = entry.file_size
    try:
        with archive.open(entry) as source:
            while block := source.read(1 << 20):
                left_bytes -= len(block)
                if left_bytes < 0:
                    raise InvalidArchive(f"{names.shown(entry.filename)} unpacks to more than it declares.")
                target.write(block)
    except DAMAGE as error:
        raise InvalidArchive(f"{names.shown(entry.filename)} is damaged: {error}.") from None
