"""The demonstration as a user runs it, with a picture size that keeps it short."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import make_capture
from daemon.errors import ExitCode

OPTIONS = """
on_low_quality = "keep"
turntable = false
texture_px = 256
target_faces = 2000
[nvdiffrec.fusion]
grid_resolution = 64
[nvdiffrec.optimise]
step_count = 2
"""


def run_demo(folder: Path, root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "daemon", "demo", str(folder), "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


@pytest.mark.slow
def test_demo_ends_with_a_mesh(tmp_path: Path) -> None:
    """A folder dropped by the demo comes back in done/, and every path that is printed exists."""
    folder = tmp_path / "small teapot"
    make_capture.make_capture(folder, size_px=96)
    (folder / "job.toml").write_text(OPTIONS)
    finished = run_demo(folder, tmp_path / "share")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    printed = [line.split(maxsplit=1) for line in finished.stdout.splitlines() if line.startswith("  ")]
    paths = {Path(line.split(str(tmp_path))[1].lstrip("/")) for _, line in printed if str(tmp_path) in line}
    assert {path.name for path in paths} >= {"mesh.glb", "contact_sheet.png", "quality.json", "report.html"}
    assert [path for path in paths if not (tmp_path / path).is_file()] == []
    assert not (tmp_path / "share" / "inbox" / "small teapot").exists()


def test_demo_says_what_is_wrong(tmp_path: Path) -> None:
    """A folder that cannot be used ends in failed/, with its code, its remedy and a failing exit code."""
    folder = tmp_path / "wrong"
    make_capture.make_capture(folder, size_px=8)
    (folder / "job.toml").write_text('modle = "nvdiffrec"\n')
    finished = run_demo(folder, tmp_path / "share")
    assert finished.returncode == ExitCode.JOB_FAILED, finished.stdout + finished.stderr
    assert "OPTIONS_INVALID" in finished.stderr
    assert "did you mean model?" in finished.stderr
    assert "next:" in finished.stderr
    error = json.loads((tmp_path / "share" / "failed" / "wrong" / "error.json").read_text("utf-8"))
    assert error["code"] == "OPTIONS_INVALID"
