"""A test that cannot run is named, and fails where none may be left out."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INNER_TEST = """
import pytest

@pytest.mark.needs("a-program-nobody-has")
def test_wanting():
    pass

@pytest.mark.gpu
def test_on_the_card():
    pass

def test_plain():
    pass
"""


def run_inner(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(Path(__file__).parents[1] / "conftest.py", folder)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  needs\n  gpu\n")
    (folder / "test_inner.py").write_text(INNER_TEST)
    kept = {key: value for key, value in os.environ.items() if key not in {"CI", "MESHDROP_GPU"}}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments, "."]
    return subprocess.run(command, cwd=folder, env={**kept, **environment}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [[], ["-n", "2"]], ids=["one process", "two processes"])
def test_left_out_is_named(tmp_path: Path, arguments: list[str]) -> None:
    """Without the program, or without a promised GPU, the test is left out and the run says so."""
    finished = run_inner(tmp_path, *arguments)
    assert finished.returncode == 0, finished.stdout
    assert "test_inner.py::test_wanting (not installed: a-program-nobody-has)" in finished.stdout
    assert "test_inner.py::test_on_the_card (GPU tier: no GPU was promised (MESHDROP_GPU=1))" in finished.stdout
    assert "1 passed" in finished.stdout


def test_ci_leaves_nothing_out(tmp_path: Path) -> None:
    """With CI=true a missing program is a failure."""
    finished = run_inner(tmp_path, CI="true")
    assert finished.returncode == 1
    assert "1 passed, 1 deselected, 1 error" in finished.stdout


def test_promised_gpu_tier_runs(tmp_path: Path) -> None:
    """With MESHDROP_GPU=1 the GPU tier is part of the run."""
    assert "2 passed" in run_inner(tmp_path, MESHDROP_GPU="1").stdout
