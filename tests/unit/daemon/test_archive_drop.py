"""NAME.zip in inbox/ gets a folder of its own once it is whole."""

import os
import zipfile
from pathlib import Path

import pytest

import fakes
from daemon import folders
from daemon.archive_drop import ArchiveMemory, finish_interrupted, receive
from daemon.config import load_config
from daemon.share import create_share
from daemon.watcher import Watcher

SETTLE_S = 2.0


class Dropped:
    """A share with one archive in its inbox."""

    def __init__(self, base: Path, name: str = "shoe.zip") -> None:
        create_share(base / "share")
        self.config = load_config(root=base / "share", intake={"damaged_after_s": 60.0})
        self.inbox = self.config.inbox
        self.file = self.inbox / name
        self.memory = ArchiveMemory()
        self.watcher = Watcher(self.config.root, lambda: None)
        with zipfile.ZipFile(self.file, "w") as archive:
            for picture in fakes.JOB_FILES:
                archive.writestr(picture, fakes.png())

    def at(self, now_s: float) -> bool:
        """Look at it at a time; whether it now has its folder."""
        candidate = self.watcher.scan().seen[self.file.name]
        with folders.opened(self.config.root, "inbox") as inbox_fd:
            return receive(inbox_fd, candidate, self.memory, now_s, self.config, SETTLE_S)


def test_a_whole_archive_is_wrapped_when_it_has_settled(tmp_path: Path) -> None:
    """Not before; the folder has the archive's name and the archive inside."""
    dropped = Dropped(tmp_path)
    assert not dropped.at(100.0)
    assert dropped.memory.next_s == 102.0
    assert not dropped.at(101.9)
    assert dropped.at(102.0)
    assert os.listdir(dropped.inbox) == ["shoe"]
    assert os.listdir(dropped.inbox / "shoe") == ["shoe.zip"]


def test_an_archive_under_way_is_waited_for(tmp_path: Path) -> None:
    """Without its end it waits a minute from its last change, then it is wrapped so that its failure can be told."""
    dropped = Dropped(tmp_path)
    whole = dropped.file.read_bytes()
    dropped.file.write_bytes(whole[:-30])
    assert not dropped.at(100.0)
    assert not dropped.at(150.0)
    dropped.file.write_bytes(whole[:-20])
    assert not dropped.at(159.0)
    assert not dropped.at(218.0)
    assert dropped.at(219.0)


def test_the_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    """A folder of that name in the inbox is somebody's job already."""
    dropped = Dropped(tmp_path)
    (dropped.inbox / "shoe").mkdir()
    dropped.at(100.0)
    assert dropped.at(103.0)
    assert os.listdir(dropped.inbox / "shoe") == []
    assert os.listdir(dropped.inbox / "shoe~2") == ["shoe.zip"]


def test_an_archive_without_a_name_gets_one(tmp_path: Path) -> None:
    """A file called .zip is hidden, but ZIP alone with a capital ending is a name as any other."""
    dropped = Dropped(tmp_path, "SHOE.ZIP")
    dropped.at(100.0)
    assert dropped.at(103.0)
    assert os.listdir(dropped.inbox) == ["SHOE"]


@pytest.mark.parametrize("is_filled", [True, False])
def test_an_interrupted_wrapping_is_finished(tmp_path: Path, is_filled: bool) -> None:
    """After a crash a hidden folder with the archive gets its name, an empty one goes."""
    dropped = Dropped(tmp_path)
    wrapping = dropped.inbox / ".meshdrop-zip-00112233"
    wrapping.mkdir()
    if is_filled:
        dropped.file.rename(wrapping / "shoe.zip")
    with folders.opened(dropped.config.root, "inbox") as inbox_fd:
        finish_interrupted(inbox_fd)
    assert os.listdir(dropped.inbox) == (["shoe"] if is_filled else ["shoe.zip"])
