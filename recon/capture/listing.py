"""Names of files, grouped into views; pure values without any file access."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TypeAlias

COLOUR_SUFFIXES = (".png", ".jpg", ".jpeg")
DEPTH_SUFFIXES = (".png", ".exr", ".npy", ".tif", ".tiff")
MASK_SUFFIXES = (".png", ".jpg", ".jpeg")
_CACHED_NAMES = 4096
"""Job folders hold the same few names, and a daemon looks at thousands of folders."""
MIN_VIEW_COUNT, MAX_VIEW_COUNT, DEFAULT_VIEW_COUNT = 2, 64, 6

ReadBytes: TypeAlias = Callable[[str], bytes]
"""Gives a file's content by its path relative to the job folder."""


@dataclass(frozen=True)
class ViewFiles:
    """The files of one view, as paths relative to the job folder with "/" separators."""

    name: str
    colour: str
    depth: str | None
    mask: str | None

    def paths(self) -> tuple[str, ...]:
        """Every file that the view needs."""
        return tuple(path for path in (self.colour, self.depth, self.mask) if path is not None)


@dataclass(frozen=True)
class Layout:
    """How a job folder is organised and what it still lacks.

    Attributes:
        kind: cube_folders, two_folders, flat_pairs, transforms_json, bop_scene, colmap_text, polycam_raw, record3d,
            or unknown while nothing recognisable has arrived.
        views: Named as far as they are known, also while some of their files are missing.
        missing: Relative paths still to come; a path that ends in "*" stands for files whose names cannot be told.
        manifest: The file that names views or cameras, if there is one.
    """

    kind: str
    views: tuple[ViewFiles, ...]
    missing: tuple[str, ...]
    manifest: str | None


class Listing:
    """The files of a job folder, looked up as people on any operating system would expect.

    Upper and lower case and Unicode composition are ignored, hidden files and the daemon's own folders are not seen.
    """

    def __init__(self, file_names: Collection[str]) -> None:
        self.names = tuple(sorted(name for name in file_names if not _is_ignored(name)))
        self._name_by_key = {comparison_key(name): name for name in self.names}
        self._children: dict[str, list[str]] = {}
        for name in sorted(self.names, key=natural_key):
            self._children.setdefault(comparison_key(str(PurePosixPath(name).parent)), []).append(name)

    def find(self, path: str) -> str | None:
        """The file of that name, as it is really spelled."""
        return self._name_by_key.get(comparison_key(path))

    def find_stem(self, path_without_suffix: str, suffixes: Iterable[str]) -> str | None:
        """The first file with that name and one of the suffixes."""
        return next((name for suffix in suffixes if (name := self.find(path_without_suffix + suffix))), None)

    def children(self, folder: str, suffixes: Collection[str]) -> tuple[str, ...]:
        """Files directly in a folder ("" is the job folder itself) with one of the suffixes, in natural order."""
        inside = self._children.get(comparison_key(folder or "."), [])
        return tuple(name for name in inside if suffix(name) in suffixes)

    def first_folder(self, folders: Iterable[str], suffixes: Collection[str]) -> str | None:
        """The first of the folders that holds a file with one of the suffixes."""
        return next((folder for folder in folders if self.children(folder, suffixes)), None)


@lru_cache(maxsize=_CACHED_NAMES)
def suffix(name: str) -> str:
    """The file type in lower case, with its dot."""
    return PurePosixPath(name).suffix.lower()


@lru_cache(maxsize=_CACHED_NAMES)
def stem(name: str) -> str:
    """The file's name without folder and type."""
    return PurePosixPath(name).stem


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts view_2 before view_10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts]


@lru_cache(maxsize=_CACHED_NAMES)
def comparison_key(path: str) -> str:
    """What two spellings of one name have in common: case and Unicode composition do not count."""
    return unicodedata.normalize("NFC", str(PurePosixPath(path))).casefold()


def _is_ignored(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") for part in parts) or parts[0] in {"results", "__MACOSX"}
