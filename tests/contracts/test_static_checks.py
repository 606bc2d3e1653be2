"""The linters are tests, so that one closing line speaks for everything."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from repository import REPOSITORY

SCRIPTS = Path(sysconfig.get_path("scripts"))


def check(*command: str) -> None:
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_mypy_strict() -> None:
    """Every function of the two packages is annotated and the annotations agree."""
    check(sys.executable, "-m", "mypy", "daemon", "recon")


def test_import_directions() -> None:
    """No module imports what its layer may not (the contracts in pyproject.toml)."""
    check(str(SCRIPTS / "lint-imports"))


def test_ruff() -> None:
    """The sources, tests and examples keep the style that pyproject.toml sets."""
    check(str(SCRIPTS / "ruff"), "check", ".")


def test_formatting() -> None:
    """Every source, and every Python example in a document, is laid out as the formatter lays it out."""
    check(str(SCRIPTS / "ruff"), "format", "--check", ".")


@pytest.mark.parametrize("script", ["tests/run", ".ci/run", "examples/install", "examples/demo"])
def test_shell_scripts_parse(script: str) -> None:
    """The entry scripts are valid bash."""
    check("bash", "-n", script)


def test_dockerfile() -> None:
    """The Dockerfile keeps hadolint's rules."""
    check(str(SCRIPTS / "hadolint"), "Dockerfile")
