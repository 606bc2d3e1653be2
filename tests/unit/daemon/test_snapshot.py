"""A private copy of the input is what the look saw, or is not taken at all."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import fakes
from daemon import folders, snapshot
from daemon.config import LimitsConfig
from daemon.errors import ChangedUnderneath
from daemon.folders import Tree
from daemon.snapshot import INPUT_DIR, Snapshot, is_same_boot, take_snapshot
from recon.errors import CaptureError

LIMITS = LimitsConfig()


def seen(base: Path) -> Tree:
    with folders.opened(base, "shoe") as folder_fd:
        return folders.list_tree(folder_fd, LIMITS.tree)


def take(base: Path, tree: Tree, pictures: tuple[str, ...] = fakes.JOB_FILES) -> Snapshot:
    with folders.opened(base, "shoe") as folder_fd:
        return take_snapshot(folder_fd, tree, pictures, base / "work", LIMITS)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """What a look saw of a complete folder."""
    fakes.write_job(tmp_path / "shoe")
    return seen(tmp_path)


def test_the_copy_is_equal_and_named_by_its_content(tmp_path: Path, tree: Tree) -> None:
    """Every byte is there, and the digest differs as soon as one byte does."""
    first = take(tmp_path, tree)
    for name in fakes.JOB_FILES:
        assert (tmp_path / "work" / INPUT_DIR / name).read_bytes() == (tmp_path / "shoe" / name).read_bytes()
    assert first == take(tmp_path, tree)
    (tmp_path / "shoe/view_00.png").write_bytes(fakes.png(grey=77))
    second = take(tmp_path, seen(tmp_path))
    assert second.total_bytes == sum((tmp_path / "shoe" / name).stat().st_size for name in fakes.JOB_FILES)
    assert second.sha256 != first.sha256


def grown(folder: Path) -> None:
    with (folder / "view_03.png").open("ab") as file:
        file.write(b"more")


def replaced(folder: Path) -> None:
    (folder / "new").write_bytes((folder / "view_03.png").read_bytes())
    (folder / "new").rename(folder / "view_03.png")


def redated(folder: Path) -> None:
    os.utime(folder / "view_03.png", ns=(1, 1))


def removed(folder: Path) -> None:
    (folder / "view_03.png").unlink()


def added(folder: Path) -> None:
    (folder / "view_06.png").write_bytes(fakes.png())


def linked(folder: Path) -> None:
    (folder / "view_06.png").symlink_to("/etc/passwd")


CHANGES = (grown, replaced, redated, removed, added, linked)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_since_the_look_is_noticed(tmp_path: Path, tree: Tree, change: Callable[[Path], None]) -> None:
    """Whatever happened to the folder since, nothing that may be mixed is kept."""
    change(tmp_path / "shoe")
    with pytest.raises(ChangedUnderneath):
        take(tmp_path, tree)
    assert not (tmp_path / "work" / INPUT_DIR).exists()


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_while_copying_is_noticed(
    tmp_path: Path, tree: Tree, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is compared once more when everything is copied."""
    copy, copied = snapshot._copy_one, []

    def copy_and_change(source: object, target: Path) -> tuple[str, int]:
        result = copy(source, target)  # type: ignore[arg-type]
        copied.append(target.name)
        if target.name == "view_03.png":
            change(tmp_path / "shoe")
        return result

    monkeypatch.setattr(snapshot, "_copy_one", copy_and_change)
    with pytest.raises(ChangedUnderneath):
        take(tmp_path, tree)
    assert "view_03.png" in copied
    assert not (tmp_path / "work" / INPUT_DIR).exists()


def test_a_picture_swapped_within_one_tick_is_noticed(tmp_path: Path, tree: Tree) -> None:
    """Half a picture under the same size and date does not pass: the copy is walked, too."""
    file = tmp_path / "shoe/view_03.png"
    before = file.stat()
    with file.open("r+b") as stream:
        stream.seek(before.st_size - 12)
        stream.write(bytes(12))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert seen(tmp_path).files == tree.files
    with pytest.raises(ChangedUnderneath):
        take(tmp_path, tree)


def test_names_that_nobody_can_read_stay_with_the_user(tmp_path: Path, tree: Tree) -> None:
    """A file whose name is not text is neither copied nor an error."""
    (tmp_path / "shoe" / os.fsdecode(b"caf\xe9.txt")).write_text("mine")
    take(tmp_path, seen(tmp_path))
    assert sorted(os.listdir(tmp_path / "work" / INPUT_DIR)) == sorted(fakes.JOB_FILES)


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    """Its members are hashed one by one; the digest is that of the same files in a folder."""
    fakes.write_job(tmp_path / "plain")
    (tmp_path / "shoe").mkdir()
    with zipfile.ZipFile(tmp_path / "shoe/shoe.zip", "w") as archive:
        for name in fakes.JOB_FILES:
            archive.write(tmp_path / "plain" / name, name)
    packed = take(tmp_path, seen(tmp_path))
    hashes = json.loads((tmp_path / "work" / snapshot.HASHES_FILE).read_text())
    assert set(hashes) == set(fakes.JOB_FILES)
    (tmp_path / "shoe/shoe.zip").unlink()
    fakes.write_job(tmp_path / "shoe")
    assert take(tmp_path, seen(tmp_path)).sha256 == packed.sha256


def test_an_archive_with_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    """No waiting mends what is inside a whole archive."""
    (tmp_path / "shoe").mkdir()
    with zipfile.ZipFile(tmp_path / "shoe/shoe.zip", "w") as archive:
        for name in fakes.JOB_FILES:
            archive.writestr(name, fakes.png()[:-4])
    with pytest.raises(CaptureError):
        take(tmp_path, seen(tmp_path))


def test_a_restart_of_the_machine_is_noticed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies are not flushed, so after another boot they are not trusted."""
    boot_id = tmp_path / "boot_id_of_the_kernel"
    boot_id.write_text("one")
    monkeypatch.setattr(snapshot, "BOOT_ID_FILE", boot_id)
    assert not is_same_boot(tmp_path)
    assert is_same_boot(tmp_path)
    boot_id.write_text("two")
    assert not is_same_boot(tmp_path)
    assert is_same_boot(tmp_path)
