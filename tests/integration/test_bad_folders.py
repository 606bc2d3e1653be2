"""Folders that cannot be reconstructed fail with a code, a remedy and a page, and nothing is lost."""

import html
import os
import shutil
import zipfile
from pathlib import Path

import pytest

import fakes
from served import error_of, inbox, served

CODES_BY_ERROR = {
    "SizeMismatch": "INPUT_SIZE_MISMATCH",
    "InvalidDepth": "INPUT_DEPTH_INVALID",
    "UnsolvedCameras": "CAMERAS_UNSOLVED",
    "ObjectNotFound": "OBJECT_NOT_FOUND",
    "ModelUnavailable": "MODEL_UNAVAILABLE",
    "InvalidWeights": "MODEL_WEIGHTS_INVALID",
    "Diverged": "MODEL_DIVERGED",
    "GpuTooSmall": "GPU_TOO_SMALL",
}


@pytest.mark.parametrize(("error", "code"), sorted(CODES_BY_ERROR.items()))
def test_reconstruction_errors_reach_the_user(tmp_path: Path, error: str, code: str) -> None:
    """What the model raises ends in failed/ with its code, a suggestion and all files."""
    with served(tmp_path) as share:
        fakes.write_job(inbox(share, "shoe"), {"raise": error, "file": "depth_01.png"})
        share.until((share.config.failed / "shoe").exists)
        content = error_of(share, "shoe")
        assert content["code"] == code
        assert content["file"] == "depth_01.png"
        assert content["suggestion"]
        assert set(fakes.JOB_FILES) <= set(os.listdir(share.config.failed / "shoe"))


def _truncated(folder: Path) -> None:
    (folder / "view_02.png").write_bytes(fakes.png(64, 64)[:-9])


def _text(folder: Path) -> None:
    (folder / "view_02.png").write_text("I am not a picture")


def _missing(folder: Path) -> None:
    (folder / "view_02.png").unlink()


def _option(folder: Path) -> None:
    (folder / "job.toml").write_text("textur_px = 1024\n")


def _link(folder: Path) -> None:
    (folder / "notes.txt").symlink_to("/etc/passwd")


def _hard_link(folder: Path) -> None:
    os.link(folder / "view_00.png", folder / "again.bin")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "view_06.png")


def _bomb(folder: Path) -> None:
    (folder / "view_02.png").write_bytes(fakes.png(20000, 20000)[:33] + fakes.png()[33:])


def _deep(folder: Path) -> None:
    (folder / "a/b/c/d/e/f/g").mkdir(parents=True)


def _many_views(folder: Path) -> None:
    for kind in ("view", "depth"):
        (folder / f"{kind}_06.png").write_bytes(fakes.png())


def _manifest(folder: Path) -> None:
    (folder / "transforms.json").write_text('{"frames": 3}')


def _archive(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    with zipfile.ZipFile(folder / "job.zip", "w") as archive:
        archive.writestr("../view_00.png", b"x")


BAD_FOLDERS = {
    "INPUT_CORRUPT": _truncated,
    "INPUT_NOT_AN_IMAGE": _text,
    "INPUT_INCOMPLETE": _missing,
    "OPTIONS_INVALID": _option,
    "INPUT_FORBIDDEN_FILE": _link,
    "INPUT_FORBIDDEN_FILE ": _hard_link,
    "INPUT_FORBIDDEN_FILE  ": _pipe,
    "INPUT_TOO_MANY_PIXELS": _bomb,
    "INPUT_TOO_LARGE": _deep,
    "INPUT_VIEW_COUNT": _many_views,
    "CAMERAS_INVALID": _manifest,
    "ARCHIVE_INVALID": _archive,
}


@pytest.mark.parametrize("code", BAD_FOLDERS)
def test_bad_folders_fail_before_any_worker_sees_them(tmp_path: Path, code: str) -> None:
    """Each mistake has its code; the folder comes back whole with a suggestion, and nothing of it was run."""
    with served(tmp_path) as share:
        folder = fakes.write_job(inbox(share, "shoe"))
        BAD_FOLDERS[code](folder)
        before = set(os.listdir(folder))
        share.until(lambda: (share.config.failed / "shoe").exists() and not share.store.active())
        content = error_of(share, "shoe")
        assert content["code"] == code.strip()
        assert content["suggestion"]
        assert share.job("shoe").attempts == 0
        assert set(os.listdir(share.config.failed / "shoe")) == before | {"error.json", "results"}
        page = (share.config.failed / "shoe/results/report.html").read_text("utf-8")
        assert code.strip() in page
        assert content["suggestion"] in html.unescape(page)


def test_unknown_option_names_the_nearest(tmp_path: Path) -> None:
    """A misspelt key is answered with the key that was meant."""
    with served(tmp_path) as share:
        _option(fakes.write_job(inbox(share, "shoe")))
        share.until((share.config.failed / "shoe").exists)
        assert str(error_of(share, "shoe")["message"]).endswith("did you mean texture_px?")
