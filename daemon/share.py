"""The share itself: making it, and making sure that only one daemon serves it."""

import fcntl
import json
import os
import stat
from pathlib import Path

from daemon import names
from daemon.config import Config
from daemon.errors import ConfigError, ShareInUse, ShareOffline, StoreError
from daemon.mounts import mount_of

AREAS = ("inbox", "done", "failed")
SHARED_MODE = 0o2775
"""Set-group-id: what users and the daemon create belongs to the share's group."""


def create_share(root: Path) -> None:
    """Make the folders of a share and its sentinel; what is there already stays as it is.

    Raises:
        ConfigError: The root cannot be written.
    """
    try:
        for folder in (root, *(root / area for area in AREAS)):
            if not folder.is_dir():
                folder.mkdir(parents=True)
                folder.chmod(SHARED_MODE)
        sentinel = root / names.SENTINEL
        if not sentinel.exists():
            text = {"about": "Meshdrop needs this file: without it the share counts as offline."}
            sentinel.write_text(json.dumps(text) + "\n", "utf-8")
    except OSError as error:
        raise ConfigError(f"the share cannot be made: {error}") from None


def check_share(config: Config) -> None:
    """Refuse a share that was never made, and a state folder that SQLite cannot trust.

    Raises:
        ShareOffline: The root or its sentinel is missing.
        ConfigError: STATE cannot be made, lies on a network file system, or strangers may write there.
        StoreError: STATE cannot be written.
    """
    if not (config.root / names.SENTINEL).exists():
        raise ShareOffline(f"{config.root} is not a Meshdrop share or is not mounted; run: meshdrop init {config.root}")
    try:
        config.state.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise ConfigError(f"state ({config.state}) cannot be made: {error.strerror}") from None
    mount = mount_of(config.state)
    if mount.is_network:
        raise ConfigError(f"state ({config.state}) is on {mount.kind}: SQLite needs a local disk")
    if os.stat(config.state).st_mode & stat.S_IWOTH:
        raise ConfigError(f"state ({config.state}) may be written by everybody: chmod o-w it")
    try:
        config.work.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(f"state ({config.state}) cannot be written: {error.strerror}") from None


class ShareLock:
    """Held for as long as the daemon serves a state folder and a root."""

    def __init__(self, config: Config) -> None:
        """Take both locks.

        Raises:
            ShareInUse: Another daemon holds one of them.
            StoreError: The state folder cannot be written.
        """
        self._descriptors: list[int] = []
        for file in (config.state / "daemon.lock", config.root / names.SENTINEL):
            self._lock(file)
        os.ftruncate(self._descriptors[0], 0)
        os.write(self._descriptors[0], json.dumps({"pid": os.getpid(), "host": os.uname().nodename}).encode())

    def _lock(self, file: Path) -> None:
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            if not self._descriptors:
                raise StoreError(f"state ({file.parent}) cannot be written: {error.strerror}") from None
            # A share that is read-only for now is no reason not to start: jobs wait for it.
            return
        self._descriptors.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise ShareInUse(f"another daemon serves this share already (it holds {file})") from None
        except OSError:
            # Some network file systems know no locks; the lock on STATE, which is local, still holds.
            return

    def release(self) -> None:
        """Give both back."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
