"""Folders that cannot work, dropped on the real daemon with the real reconstruction."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scenes
import shapes
from job_folders import write_transforms_json
from served import served

GOOD_CAPTURE = scenes.make_capture(shapes.sphere(), scenes.orbit6_cameras(shapes.sphere(), 48), supersample=1)


def leave_out_a_view(folder: Path) -> None:
    (folder / "view_03.png").unlink()


def cut_a_picture(folder: Path) -> None:
    data = (folder / "view_02.png").read_bytes()
    (folder / "view_02.png").write_bytes(data[: len(data) // 2])


def rename_a_text(folder: Path) -> None:
    (folder / "view_01.png").write_text("not a picture\n" * 100)


def declare_too_many_bits(folder: Path) -> None:
    for index in range(6):
        Image.new("L", (48, 48), 120).save(folder / f"depth_{index:02d}.png")
    (folder / "job.toml").write_text('depth = { encoding = "unsigned", unit_m = 0.001 }\n')


def misspell_an_option(folder: Path) -> None:
    (folder / "job.toml").write_text("texture_pixels = 1024\n")


def link_elsewhere(folder: Path) -> None:
    (folder / "view_04.png").unlink()
    os.symlink("/etc/hostname", folder / "view_04.png")


def empty_the_depths(folder: Path) -> None:
    for index in range(6):
        Image.fromarray(np.zeros((48, 48), np.uint16)).save(folder / f"depth_{index:02d}.png")


def resize_a_picture(folder: Path) -> None:
    picture = Image.open(folder / "view_05.png")
    picture.resize((40, 40)).save(folder / "view_05.png")


@pytest.mark.parametrize(
    ("spoil", "codes", "word"),
    [
        (leave_out_a_view, {"INPUT_INCOMPLETE"}, "view_03.png"),
        (cut_a_picture, {"INPUT_CORRUPT", "INPUT_INCOMPLETE"}, "view_02.png"),
        (rename_a_text, {"INPUT_NOT_AN_IMAGE"}, "view_01.png"),
        (declare_too_many_bits, {"INPUT_DEPTH_INVALID"}, "depth_00.png"),
        (misspell_an_option, {"OPTIONS_INVALID"}, "texture_px"),
        (link_elsewhere, {"INPUT_FORBIDDEN_FILE"}, "view_04.png"),
        (empty_the_depths, {"INPUT_DEPTH_INVALID"}, "depth_00.png"),
        (resize_a_picture, {"INPUT_SIZE_MISMATCH"}, "view_05.png"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_input_fails_with_its_own_code(
    tmp_path: Path, spoil: Callable[[Path], None], codes: set[str], word: str
) -> None:
    """A spoilt folder comes back whole in failed/ with a code of its own, the file at fault and advice."""
    draft = tmp_path / "draft"
    draft.mkdir()
    write_transforms_json(GOOD_CAPTURE, draft)
    spoil(draft)
    files = sorted(os.listdir(draft))
    with served(tmp_path, worker={"entry": "recon:reconstruct", "preload": []}) as share:
        draft.rename(share.config.inbox / "job")
        share.until((share.config.failed / "job/error.json").exists, timeout_s=90)
        failed = share.config.failed / "job"
        error = json.loads((failed / "error.json").read_text())
        assert error["code"] in codes
        assert word in json.dumps(error)
        assert len(error["suggestion"]) > 20
        assert set(files) <= set(os.listdir(failed))
