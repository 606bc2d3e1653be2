"""A job's files, wherever they lie."""

import os
import zipfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import fakes
from daemon import contents as module
from daemon import folders
from daemon.archive import ArchiveUnfinished
from daemon.config import LimitsConfig
from daemon.contents import Contents, only_archive, opened_contents
from recon.errors import CorruptInput, InputTooLarge

LIMITS = LimitsConfig()


@contextmanager
def opened(base: Path, whole: "array[int] | None" = None) -> Iterator[Contents]:
    with folders.opened(base, "shoe") as folder_fd:
        tree = folders.list_tree(folder_fd, LIMITS.tree)
        memory = array("q") if whole is None else whole
        with opened_contents(folder_fd, tree, memory, LIMITS, LIMITS.max_image_pixels) as found:
            yield found


def packed(base: Path) -> Path:
    (base / "shoe").mkdir()
    file = base / "shoe/shoe.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for index, name in enumerate(fakes.JOB_FILES):
            archive.writestr(f"shoe/{name}", fakes.png(grey=index))
        archive.writestr("shoe/empty.png", b"")
    return file


def test_a_folder_and_its_archive_have_the_same_files(tmp_path: Path) -> None:
    """Whoever asks need not know which way they came."""
    packed(tmp_path)
    with opened(tmp_path) as inside:
        paths = {path for path in inside.paths if path != "empty.png"}
        picture = inside.read("view_00.png", 1 << 20)
    (tmp_path / "shoe/shoe.zip").unlink()
    fakes.write_job(tmp_path / "shoe")
    with opened(tmp_path) as inside:
        assert set(inside.paths) == paths
        assert inside.read("view_00.png", 1 << 20) == picture


@pytest.mark.parametrize("is_packed", [True, False])
def test_files_are_read_up_to_a_limit(tmp_path: Path, is_packed: bool) -> None:
    """A manifest that never ends is not taken into memory."""
    if is_packed:
        packed(tmp_path)
    else:
        fakes.write_job(tmp_path / "shoe")
    with opened(tmp_path) as inside, pytest.raises(InputTooLarge):
        inside.read("view_00.png", 10)


@pytest.mark.parametrize("is_packed", [True, False])
def test_an_empty_file_has_yet_to_arrive(tmp_path: Path, is_packed: bool) -> None:
    """It is named and none of it is there."""
    if is_packed:
        packed(tmp_path)
    else:
        fakes.write_job(tmp_path / "shoe")
        (tmp_path / "shoe/empty.png").touch()
    with opened(tmp_path) as inside, pytest.raises(CorruptInput) as caught:
        inside.check("empty.png")
    assert (caught.value.file, caught.value.details["complete_fraction"]) == ("empty.png", 0.0)


def test_a_whole_picture_is_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is another file; a damaged one is walked again every time, for it may be mended in place."""
    fakes.write_job(tmp_path / "shoe")
    (tmp_path / "shoe/view_01.png").write_bytes(fakes.png()[:-3])
    walked: list[str] = []
    check = module.check_picture
    monkeypatch.setattr(module, "check_picture", lambda name, *rest: (walked.append(name), check(name, *rest)))
    whole: array[int] = array("q")
    for _ in range(3):
        with opened(tmp_path, whole) as inside:
            inside.check("view_00.png")
            with pytest.raises(CorruptInput):
                inside.check("view_01.png")
    assert walked == ["view_00.png", "view_01.png", "view_01.png", "view_01.png"]
    os.utime(tmp_path / "shoe/view_00.png", ns=(1, 1))
    with opened(tmp_path, whole) as inside:
        inside.check("view_00.png")
    assert walked[-1] == "view_00.png"


@pytest.mark.parametrize(
    ("files", "archive"),
    [
        ({"shoe.zip"}, "shoe.zip"),
        ({"SHOE.ZIP", "job.toml"}, "SHOE.ZIP"),
        ({"shoe.zip", "view_00.png"}, ""),
        ({"a.zip", "b.zip"}, ""),
        ({"inner/shoe.zip"}, ""),
        ({"job.toml"}, ""),
    ],
)
def test_an_archive_is_the_job_if_it_is_alone(tmp_path: Path, files: set[str], archive: str) -> None:
    """Beside options; anything else beside it makes the folder the job."""
    for name in files:
        (tmp_path / "shoe" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shoe" / name).touch()
    with folders.opened(tmp_path, "shoe") as folder_fd:
        assert only_archive(folders.list_tree(folder_fd, LIMITS.tree)) == archive


def test_an_archive_under_way_is_unfinished(tmp_path: Path) -> None:
    """Its end, where the list of files is, comes last."""
    file = packed(tmp_path)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ArchiveUnfinished), opened(tmp_path):
        pass
