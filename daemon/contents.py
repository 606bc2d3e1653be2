"""What a job consists of, wherever it lies: in a folder, or inside one archive in that folder."""

import os
import zipfile
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from daemon import folders
from daemon.archive import opened_archive, read_member
from daemon.config import LimitsConfig
from daemon.folders import Tree
from daemon.names import OPTION_FILES
from daemon.pictures import check_picture
from recon.errors import CorruptInput


class Contents(Protocol):
    """The files of a job."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file, relative, "/" separated."""

    def read(self, path: str, max_bytes: int) -> bytes:
        """A small file's content; raises InputTooLarge above ``max_bytes``."""

    def check(self, path: str) -> None:
        """Raise NotAnImage, CorruptInput or TooManyPixels unless the picture is whole."""


@dataclass(frozen=True)
class FolderContents:
    """Files that lie in the job's folder.

    Attributes:
        whole: Hashes of pictures, by path and ``FileSeen``, that an earlier look found whole; updated.
    """

    folder_fd: int
    tree: Tree
    whole: MutableSequence[int] = field(repr=False)
    max_image_pixels: int

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self.tree.files)

    def read(self, path: str, max_bytes: int) -> bytes:
        return folders.read_bytes(self.folder_fd, path, max_bytes)

    def check(self, path: str) -> None:
        seen = self.tree.files[path]
        if seen.size_bytes == 0:
            raise CorruptInput("The file is empty.", file=path, details={"complete_fraction": 0.0})
        # Only wholeness is remembered: a damaged file may be mended within one tick of its modification time.
        if hash((path, seen)) in self.whole:
            return
        with os.fdopen(folders.open_file(self.folder_fd, path), "rb") as stream:
            check_picture(path, stream, seen.size_bytes, self.max_image_pixels)
        self.whole.append(hash((path, seen)))


@dataclass(frozen=True)
class ArchiveContents:
    """Files inside an archive; its pictures are checked when they are unpacked."""

    archive: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self.members)

    def read(self, path: str, max_bytes: int) -> bytes:
        return read_member(self.archive, self.members[path], max_bytes)

    def check(self, path: str) -> None:
        if self.members[path].file_size == 0:
            raise CorruptInput("The file is empty.", file=path, details={"complete_fraction": 0.0})


def only_archive(tree: Tree) -> str:
    """The name of the archive that is the whole job, or empty."""
    candidates = [path for path in tree.files if path.lower() not in OPTION_FILES]
    is_archive = len(candidates) == 1 and "/" not in candidates[0] and candidates[0].lower().endswith(".zip")
    return candidates[0] if is_archive else ""


@contextmanager
def opened_contents(
    folder_fd: int, tree: Tree, whole: MutableSequence[int], limits: LimitsConfig, max_image_pixels: int
) -> Iterator[Contents]:
    """The job's files, whichever way they came.

    Raises:
        ArchiveUnfinished: The archive's end has not arrived.
        CaptureError: The archive or a file is refused.
        OSError: The share does not answer.
    """
    archive_name = only_archive(tree)
    if not archive_name:
        yield FolderContents(folder_fd, tree, whole, max_image_pixels)
        return
    with (
        os.fdopen(folders.open_file(folder_fd, archive_name), "rb") as stream,
        opened_archive(stream, limits) as (archive, members),
    ):
        yield ArchiveContents(archive, members)
