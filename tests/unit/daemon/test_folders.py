"""Descriptor walks over folders of strangers."""

import os
import stat
from pathlib import Path

import pytest

from daemon import folders
from daemon.folders import TreeLimits
from recon.errors import ForbiddenFile, InputTooLarge

LIMITS = TreeLimits(max_files=50, max_depth=3, max_file_bytes=1000, max_job_bytes=2000)


def walk(folder: Path) -> folders.Tree:
    with folders.opened(folder.parent, folder.name) as folder_fd:
        return folders.list_tree(folder_fd, LIMITS)


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    (tmp_path / "drop").mkdir()
    return tmp_path / "drop"


def test_files_are_listed_by_path(drop: Path) -> None:
    """Sizes and inodes are those of the files; folders are walked."""
    (drop / "a").mkdir()
    (drop / "a/b.png").write_bytes(b"123")
    (drop / "c.png").write_bytes(b"1")
    tree = walk(drop)
    assert set(tree.files) == {"a/b.png", "c.png"}
    assert tree.files["a/b.png"].size_bytes == 3
    assert tree.files["a/b.png"].inode == (drop / "a/b.png").stat().st_ino
    assert (tree.folders, tree.total_bytes) == (("a",), 4)


@pytest.mark.parametrize("kind", ["link", "folder link", "dangling", "pipe", "hard link", "socket", "device"])
def test_everything_but_plain_files_is_refused(drop: Path, kind: str) -> None:
    """Links of any kind, pipes, sockets and devices are named and refused, and looking at them never blocks."""
    target = drop / "evil"
    match kind:
        case "link":
            target.symlink_to("/etc/passwd")
        case "folder link":
            target.symlink_to("/etc")
        case "dangling":
            target.symlink_to("nowhere")
        case "pipe":
            os.mkfifo(target)
        case "hard link":
            (drop / "a").write_bytes(b"x")
            os.link(drop / "a", target)
        case "socket":
            os.mknod(target, stat.S_IFSOCK | 0o600)
        case _:
            os.mknod(target, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    with pytest.raises(ForbiddenFile):
        walk(drop)


@pytest.mark.parametrize("what", ["size", "total", "depth", "count"])
def test_limits(drop: Path, what: str) -> None:
    """One large file, many bytes, many levels and many files are each refused."""
    match what:
        case "size":
            (drop / "a").write_bytes(bytes(1001))
        case "total":
            for name in "abc":
                (drop / name).write_bytes(bytes(700))
        case "depth":
            (drop / "a/b/c/d").mkdir(parents=True)
        case _:
            for number in range(51):
                (drop / str(number)).touch()
    with pytest.raises(InputTooLarge):
        walk(drop)


def test_a_file_swapped_for_a_link_is_not_read(drop: Path, tmp_path: Path) -> None:
    """The look saw a file; what is opened is checked again."""
    (tmp_path / "secret").write_text("s3cret")
    (drop / "a.png").symlink_to(tmp_path / "secret")
    with folders.opened(tmp_path, "drop") as folder_fd, pytest.raises(ForbiddenFile):
        folders.read_bytes(folder_fd, "a.png", 100)


def test_a_folder_swapped_for_a_link_is_not_entered(drop: Path, tmp_path: Path) -> None:
    """No component of a path is followed."""
    (drop / "sub").symlink_to("/etc")
    with folders.opened(tmp_path, "drop") as folder_fd, pytest.raises(OSError, match="sub"):
        folders.read_bytes(folder_fd, "sub/passwd", 100)


def test_our_file_replaces_a_planted_link(drop: Path, tmp_path: Path) -> None:
    """status.json as a link to somewhere is replaced, never written through."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (drop / "status.json").symlink_to(victim)
    with folders.opened(tmp_path, "drop") as folder_fd:
        folders.write_file(folder_fd, "status.json", b"{}", is_durable=False)
    assert victim.read_text() == "precious"
    assert (drop / "status.json").read_text() == "{}"
    assert os.listdir(drop) == ["status.json"]


def test_what_we_write_belongs_to_the_dropper(drop: Path, tmp_path: Path) -> None:
    """Owner and group are the folder's; others read only where they could read before."""
    os.chown(drop, 4321, 4322)
    drop.chmod(0o2770)
    with folders.opened(tmp_path, "drop") as folder_fd:
        folders.write_file(folder_fd, "status.json", b"{}", is_durable=True)
    status = (drop / "status.json").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (4321, 4322, 0o660)
    drop.chmod(0o755)
    with folders.opened(tmp_path, "drop") as folder_fd:
        folders.write_file(folder_fd, "status.json", b"{}", is_durable=True)
    assert stat.S_IMODE((drop / "status.json").stat().st_mode) == 0o664


def test_removing_a_tree_leaves_link_targets(drop: Path, tmp_path: Path) -> None:
    """Our staging folder goes with a link that somebody put into it; what it points at stays."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/a").touch()
    (drop / "staging/deep").mkdir(parents=True)
    (drop / "staging/deep/link").symlink_to(tmp_path / "precious")
    with folders.opened(tmp_path, "drop") as folder_fd:
        folders.remove_tree(folder_fd, "staging")
        folders.remove_tree(folder_fd, "staging")
    assert os.listdir(drop) == []
    assert os.listdir(tmp_path / "precious") == ["a"]


def test_strange_json_is_nothing(drop: Path, tmp_path: Path) -> None:
    """What the user made of our files never raises."""
    for content in (b"", b"[1]", b"\xff", b"{", b"[" * 100_000):
        (drop / "status.json").write_bytes(content)
        with folders.opened(tmp_path, "drop") as folder_fd:
            assert folders.read_own_json(folder_fd, "status.json") == {}
