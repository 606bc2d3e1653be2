"""Where a folder lies, told from what the kernel lists."""

import os
from pathlib import Path

import pytest

from daemon import mounts
from daemon.mounts import mount_of, rename_without_replacing

LISTED = (
    "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
    "40 22 0:50 / /srv/share rw shared:2 - nfs4 server:/export rw,actimeo=60\n"
    "41 22 0:51 / /srv/with\\040space rw - fuse.sshfs user@host: rw\n"
    "42 40 0:52 / /srv/share/local rw - xfs /dev/sdb rw\n"
    "43 22 0:53 / /srv/k\\303\\244se rw - cifs //server/k rw\n"
    "44 22 0:54 / /srv/over rw - ext4 /dev/sdc rw\n"
    "45 44 0:55 / /srv/over rw - cifs //server/o rw\n"
)


@pytest.mark.parametrize(
    ("folder", "kind", "is_network"),
    [
        ("/srv/share", "nfs4", True),
        ("/srv/share/inbox/shoe", "nfs4", True),
        ("/srv/share/local/inbox", "xfs", False),
        ("/srv/sharessame", "ext4", False),
        ("/srv/with space/inbox", "fuse.sshfs", True),
        ("/srv/käse", "cifs", True),
        ("/srv/over", "cifs", True),
        ("/home", "ext4", False),
    ],
)
def test_the_innermost_mount_counts(monkeypatch: pytest.MonkeyPatch, folder: str, kind: str, is_network: bool) -> None:
    """Also with escaped names, a name that another begins with, and a mount on top of another."""
    monkeypatch.setattr(Path, "read_text", lambda _path, *_arguments: LISTED)
    mount = mount_of(Path(folder))
    assert (mount.kind, mount.is_network) == (kind, is_network)


def test_this_machine_is_understood(tmp_path: Path) -> None:
    """The kernel's own list names the mount that holds a real folder."""
    assert os.stat(mount_of(tmp_path).point).st_dev == os.stat(tmp_path).st_dev
    assert mount_of(Path("/proc")) == mounts.Mount(Path("/proc"), "proc")


def test_a_rename_never_replaces(tmp_path: Path) -> None:
    """Not even an empty folder, which plain rename would."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            rename_without_replacing(descriptor, "a", descriptor, "b")
        rename_without_replacing(descriptor, "a", descriptor, "c")
    finally:
        os.close(descriptor)
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]
