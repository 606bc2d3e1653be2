"""The verdict on every file of a folder."""

import json
from pathlib import Path

import pytest

import fakes
from daemon import folders
from daemon.cli.verdicts import FileVerdict, judge_files
from daemon.config import load_config
from recon.errors import InvalidOptions, ReconError


def verdicts(folder: Path) -> dict[str, FileVerdict]:
    config = load_config(root=folder.parent)
    with folders.opened(folder.parent, folder.name) as folder_fd:
        return {file.file: file for file in judge_files(folder_fd, config)}


def test_whole_folder_is_ok_file_by_file(tmp_path: Path) -> None:
    """Six photographs and six depth images, each for what it is."""
    found = verdicts(fakes.write_job(tmp_path / "shoe"))
    assert {file: (item.role, item.verdict) for file, item in found.items()} == {
        name: ("photograph" if name.startswith("view") else "depth", "ok") for name in fakes.JOB_FILES
    }


def test_each_fault_is_told_of_its_own_file(tmp_path: Path) -> None:
    """One file is missing, one cut off, one no picture, one not needed: all four are told at once."""
    folder = fakes.write_job(tmp_path / "shoe")
    (folder / "depth_03.png").unlink()
    (folder / "view_01.png").write_bytes(fakes.png(64, 64)[:-20])
    (folder / "view_02.png").write_bytes(b"GIF89a" + bytes(100))
    (folder / "notes.txt").touch()
    (folder / "job.toml").write_text("seed = 1\n")
    found = verdicts(folder)
    assert found["depth_03.png"].verdict == "missing"
    assert found["view_01.png"].verdict == "incomplete"
    assert "has arrived" in found["view_01.png"].message
    assert found["view_02.png"].verdict == "refused"
    assert (found["notes.txt"].role, found["notes.txt"].verdict) == ("not used", "ignored")
    assert (found["job.toml"].role, found["job.toml"].verdict) == ("options", "ok")
    assert found["view_00.png"].verdict == "ok"


def test_files_of_a_manifest_are_those_that_it_names(tmp_path: Path) -> None:
    """With transforms.json the camera file has a role, and a picture that it does not name has none."""
    folder = fakes.write_job(tmp_path / "shoe")
    frames = [
        {"file_path": f"view_{view:02d}.png", "depth_file_path": f"depth_{view:02d}.png",
         "transform_matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]}
        for view in range(5)
    ]  # fmt: skip
    cameras = {"fl_x": 5, "fl_y": 5, "cx": 2, "cy": 2, "w": 4, "h": 4, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(cameras))
    found = verdicts(folder)
    assert found["transforms.json"].role == "cameras"
    assert found["view_04.png"].verdict == "ok"
    assert found["view_05.png"].verdict == "ignored"


def test_folder_that_cannot_be_understood_is_an_error(tmp_path: Path) -> None:
    """With a mistake in job.toml no file has a role; the error says where the mistake is."""
    folder = fakes.write_job(tmp_path / "shoe")
    (folder / "job.toml").write_text("sed = 1\n")
    with pytest.raises(InvalidOptions, match="did you mean seed"):
        verdicts(folder)


def test_cut_off_archive_is_an_error(tmp_path: Path) -> None:
    """A zip without its end has no files yet."""
    (tmp_path / "shoe").mkdir()
    (tmp_path / "shoe/shoe.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ReconError):
        verdicts(tmp_path / "shoe")
