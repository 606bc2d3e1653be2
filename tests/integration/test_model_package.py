"""The package that docs/models.md shows, installed and run by the real daemon."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import scenes
import shapes
from job_folders import write_transforms_json
from repository import REPOSITORY
from served import served

LONGEST_EXAMPLE_LINES = 40


def code_block(language: str, text: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The two files of the page, installed by pip where this process and its children find them."""
    section = (REPOSITORY / "docs" / "models.md").read_text("utf-8").split("## Adding a model")[1]
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "pyproject.toml").write_text(code_block("toml", section))
    (source / "meshdrop_ellipsoid.py").write_text(code_block("python", section))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)  # a relative path, from another folder
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, cwd=tmp_path)
    monkeypatch.syspath_prepend(str(site))
    return source


def test_the_documented_package_runs_through_the_daemon(installed: Path, tmp_path: Path) -> None:
    """A job that names the package's model comes back in done/ with that model's results."""
    capture = scenes.make_capture(shapes.sphere(), scenes.cube6_cameras(shapes.sphere(), 64), supersample=1)
    draft = tmp_path / "draft"
    draft.mkdir()
    write_transforms_json(capture, draft)
    (draft / "job.toml").write_text('model = "ellipsoid"\non_low_quality = "keep"\nturntable = false\n')
    with served(tmp_path, worker={"entry": "recon:reconstruct", "preload": []}) as share:
        draft.rename(share.config.inbox / "job")
        share.until((share.config.done / "job/result.json").exists, timeout_s=120)
        results = share.config.done / "job" / "results" / "ellipsoid"
        quality = json.loads((results / "quality.json").read_text())
    assert quality["model"] == "ellipsoid"
    assert quality["facts"]["diagonal_m"] == pytest.approx(0.2 * 3**0.5, rel=0.03)
    assert quality["mesh"]["is_watertight"]
    assert quality["mean"]["mask_iou"] > 0.95
    assert (results / "mesh.glb").exists()


def test_the_example_is_short(installed: Path) -> None:
    """The module in the page is what it says: a whole model in about forty lines."""
    assert len((installed / "meshdrop_ellipsoid.py").read_text().splitlines()) <= LONGEST_EXAMPLE_LINES
