"""Making a share, and refusing what cannot be served safely."""

import gc
import os
import stat
from pathlib import Path

import pytest

from daemon import share as module
from daemon.config import Config, load_config
from daemon.errors import ConfigError, ShareInUse, ShareOffline
from daemon.mounts import Mount
from daemon.share import AREAS, ShareLock, check_share, create_share


@pytest.fixture
def config(tmp_path: Path) -> Config:
    create_share(tmp_path / "share")
    return load_config(root=tmp_path / "share", state=tmp_path / "state")


def test_a_share_is_made_once(config: Config) -> None:
    """Areas that are set-group-id, and a second time nothing changes."""
    for area in AREAS:
        assert stat.S_IMODE((config.root / area).stat().st_mode) == 0o2775
    (config.root / "inbox").chmod(0o2770)
    (config.root / ".meshdrop").write_text("mine")
    create_share(config.root)
    assert stat.S_IMODE((config.root / "inbox").stat().st_mode) == 0o2770
    assert (config.root / ".meshdrop").read_text() == "mine"


def test_a_share_without_its_sentinel_is_not_served(config: Config) -> None:
    """An empty mount point looks like this."""
    (config.root / ".meshdrop").unlink()
    with pytest.raises(ShareOffline, match="not mounted"):
        check_share(config)


def test_state_on_a_network_is_refused(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's log needs shared memory that no network has."""
    monkeypatch.setattr(module, "mount_of", lambda folder: Mount(folder, "nfs4"))
    with pytest.raises(ConfigError, match="nfs4"):
        check_share(config)


def test_state_that_everybody_may_write_is_refused(config: Config) -> None:
    """What is in it is believed."""
    check_share(config)
    config.state.chmod(0o777)
    with pytest.raises(ConfigError, match="chmod"):
        check_share(config)


def test_private_folders_are_private(config: Config) -> None:
    """Nobody else reads strangers' pictures or the job table."""
    check_share(config)
    assert stat.S_IMODE(config.state.stat().st_mode) & 0o007 == 0
    assert stat.S_IMODE(config.work.stat().st_mode) == 0o700


def test_the_second_daemon_is_refused_until_the_first_has_gone(config: Config) -> None:
    """The same share under another state folder, too; nothing of the refused attempt is left behind."""
    check_share(config)
    first = ShareLock(config)
    # What earlier tests left open goes when Python likes; it must not go meanwhile.
    gc.collect()
    open_before = len(os.listdir("/proc/self/fd"))
    for state in (config.state, config.root.parent / "other"):
        other = load_config(root=config.root, state=state)
        check_share(other)
        with pytest.raises(ShareInUse):
            ShareLock(other)
    assert len(os.listdir("/proc/self/fd")) == open_before
    first.release()
    ShareLock(config).release()
