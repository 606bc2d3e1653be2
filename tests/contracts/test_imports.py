"""The daemon and the light modules of recon can be imported at no cost."""

import subprocess
import sys

import pytest

from repository import REPOSITORY, module_names

HEAVY = ("torch", "numpy", "scipy", "skimage", "PIL", "trimesh", "jaxtyping")
LIGHT_RECON = [
    "recon",
    "recon.capture",
    "recon.capture.layout",
    "recon.capture.pngfile",
    "recon.errors",
    "recon.gpu_probe",
    "recon.progress",
    "recon.settings",
]


def heavy_after_import(*modules: str) -> set[str]:
    """Which numerical libraries a fresh interpreter has loaded after importing the modules."""
    program = f"import sys, {', '.join(modules)}; print(*set(sys.modules) & set({HEAVY!r}))"
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return set(finished.stdout.split())


def test_the_check_can_fail() -> None:
    """A module that loads numpy is noticed."""
    assert heavy_after_import("recon", "numpy") == {"numpy"}


def test_daemon_is_light() -> None:
    """No module of the daemon, the command line and the worker included, loads a numerical library on import."""
    assert heavy_after_import(*module_names("daemon")) == set()


@pytest.mark.parametrize("module", LIGHT_RECON)
def test_recon_face_is_light(module: str) -> None:
    """What the daemon needs of recon loads no numerical library."""
    assert heavy_after_import(module) == set()
