"""What is on the share: the periodic scan is the truth, events only wake it early.

An event library loses events under load, on network mounts, and for what arrives inside a folder that was moved
in; so nothing is ever concluded from an event, nor from its absence.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from daemon import folders, names
from daemon.errors import ShareOffline

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A folder or an archive in inbox/ that may be a job.

    Attributes:
        folder: Relative to inbox/; "BATCH/NAME" inside a batch.
        is_archive: A file NAME.zip that has no folder of its own yet.
        signature: Differs, within this process, when something was added, removed or renamed directly inside; a
            number, for 10,000 folders wait.
    """

    folder: str
    inode: int
    owner_uid: int
    is_archive: bool
    signature: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """A folder's inode and modification time, and the monotonic time since when it has had them."""

    signature: tuple[int, int]
    since_s: float


@dataclass(frozen=True)
class Scan:
    """What is in inbox/.

    Attributes:
        seen: Every candidate by its folder.
        changed: Those that differ from the scan before, so that nobody walks through 10,000 that do not.
    """

    seen: dict[str, Candidate]
    changed: list[Candidate]


class Watcher:
    """Scans the share.

    Args:
        root: The share.
        wake: Called from another thread when something may have happened.
    """

    def __init__(self, root: Path, wake: Callable[[], None]) -> None:
        self._root = root
        self._wake = wake
        self._observer: BaseObserver | None = None
        self._watched_inode = 0
        self._seen: dict[str, Candidate] = {}
        self.batches: set[str] = set()
        self.cancelled_batches: set[str] = set()
        """Batches that have CANCEL beside their jobs, at the last scan."""

    def check_online(self) -> None:
        """Make sure that the share is there.

        Raises:
            ShareOffline: The sentinel or a folder is missing, or the share does not answer.
        """
        try:
            os.stat(self._root / names.SENTINEL, follow_symlinks=False)
            for name in ("inbox", "done", "failed"):
                os.stat(self._root / name)
        except OSError as error:
            raise ShareOffline(f"the share {self._root} is offline: {error.strerror} ({error.filename})") from None

    def scan(self) -> Scan:
        """List everything in inbox/ that may be a job.

        Raises:
            ShareOffline: The share vanished before or during the scan: what was not seen may still be there.
        """
        self.check_online()
        try:
            with folders.opened(self._root, "inbox") as inbox_fd:
                found = list(self._list(inbox_fd, ""))
                self.cancelled_batches.clear()
                for batch in sorted(self.batches):
                    found += self._list_batch(inbox_fd, batch)
        except OSError as error:
            raise ShareOffline(f"inbox/ cannot be listed: {error.strerror}") from None
        self.check_online()
        before = self._seen
        self._seen = {item.folder: item for item in found if item.folder not in self.batches}
        return Scan(self._seen, [item for item in self._seen.values() if before.get(item.folder) is not item])

    def _list_batch(self, inbox_fd: int, batch: str) -> list[Candidate]:
        try:
            with folders.opened(inbox_fd, batch) as batch_fd:
                if any(names.control_word(name) == "cancel" for name in os.listdir(batch_fd)):
                    self.cancelled_batches.add(batch)
                return list(self._list(batch_fd, batch + "/"))
        except (FileNotFoundError, NotADirectoryError):
            self.batches.discard(batch)
            return []

    def _list(self, folder_fd: int, prefix: str) -> Iterator[Candidate]:
        with os.scandir(folder_fd) as entries:
            for entry in entries:
                known = self._seen.get(prefix + entry.name)
                if known is None and (
                    names.is_ignored(entry.name)
                    or (prefix and (names.is_own(entry.name) or names.control_word(entry.name)))
                ):
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    is_folder = entry.is_dir(follow_symlinks=False)
                    signature = hash((status.st_ino, status.st_mtime_ns, 0 if is_folder else status.st_size))
                    if known is not None and known.signature == signature and known.is_archive is not is_folder:
                        yield known
                    elif is_folder or entry.name.lower().endswith(".zip"):
                        yield Candidate(prefix + entry.name, status.st_ino, status.st_uid, not is_folder, signature)

    def wanted_retries(self, seen: dict[str, Sighting], now_s: float, trust_s: float) -> list[str]:
        """Folders in done/ and failed/ in which somebody put RETRY.

        Args:
            seen: Folders without RETRY; updated.
            now_s: Monotonic time.
            trust_s: How long a folder must look the same until its modification time is trusted.
        """
        wanted: list[str] = []
        for area in ("failed", "done"):
            with suppress(OSError), folders.opened(self._root, area) as area_fd:
                wanted += _retries_below(area_fd, area, seen, (now_s, trust_s), is_batch_possible=True)
        return wanted

    def listen(self) -> None:
        """(Re)start listening for events on inbox/; on failure the scan alone does the work."""
        try:
            inode = os.stat(self._root / "inbox").st_ino
            if self._is_listening() and inode == self._watched_inode:
                return
            self.stop_listening()
            observer = Observer()
            observer.schedule(_Waker(self._wake), str(self._root / "inbox"), recursive=False)
            observer.start()
            self._observer, self._watched_inode = observer, inode
        except (OSError, RuntimeError) as error:
            log.warning("events are not available; the periodic scan goes on", reason=str(error))

    def _is_listening(self) -> bool:
        """An observer outlives the threads that do its work."""
        observer = self._observer
        return observer is not None and observer.is_alive() and all(item.is_alive() for item in observer.emitters)

    def stop_listening(self) -> None:
        """Stop the event thread."""
        if self._observer is not None:
            self._observer.stop()
            self._observer = None


class _Waker(FileSystemEventHandler):
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Any event at all is a reason to scan, and nothing more."""
        self._wake()


def _retries_below(
    area_fd: int, area: str, seen: dict[str, Sighting], times: tuple[float, float], *, is_batch_possible: bool
) -> Iterator[str]:
    """Folders in which RETRY is; only those that changed are opened, for done/ may hold many thousands."""
    now_s, trust_s = times
    with os.scandir(area_fd) as entries:
        found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries if _is_folder(entry)]
    for name, status in found:
        place, signature = f"{area}/{name}", (status.st_ino, status.st_mtime_ns)
        since_s = seen[place].since_s if place in seen and seen[place].signature == signature else now_s
        if now_s - since_s > trust_s:
            continue
        with suppress(OSError), folders.opened(area_fd, name) as folder_fd:
            inside = os.listdir(folder_fd)
            if any(names.control_word(inner) == "retry" for inner in inside):
                yield place
            elif is_batch_possible and not {"error.json", "result.json"} & set(inside):
                yield from _retries_below(folder_fd, place, seen, times, is_batch_possible=False)
            else:
                seen[place] = Sighting(signature, since_s)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)
