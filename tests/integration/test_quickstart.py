"""docs/quickstart.md, as it stands there."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from repository import REPOSITORY
from served import PATIENCE_S, wait_until

TEXT = (REPOSITORY / "docs" / "quickstart.md").read_text("utf-8")


def shell_lines(section: str) -> list[str]:
    """The commands of the bash blocks of one section."""
    text = next(part for part in TEXT.split("\n## ") if part.startswith(section))
    return [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder, with the checkout's environment where the page says that it is."""
    (tmp_path / "checkout").mkdir()
    for name in ("examples", ".venv"):
        (tmp_path / "checkout" / name).symlink_to(REPOSITORY / name)
    return tmp_path


def run(home: Path, command: str, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    """A line of the page, in the checkout, as the reader would run it."""
    return subprocess.run(
        ["bash", "-c", command], cwd=home / "checkout", env=os.environ | {"HOME": str(home)},
        capture_output=True, text=True, check=False, timeout=timeout_s,
    )  # fmt: skip


@pytest.mark.slow
def test_a_share_of_your_own(home: Path) -> None:
    """The second section, line by line: a share, a daemon, the teapot taken, the status shown."""
    make, serve, drop, watch = shell_lines("2.")
    made = run(home, make)
    assert made.returncode == 0, made.stderr
    daemon = subprocess.Popen(
        ["bash", "-c", f"exec {serve}"], cwd=home / "checkout", env=os.environ | {"HOME": str(home)},
        stderr=(home / "stderr").open("wb"), start_new_session=True,
    )  # fmt: skip
    try:
        assert wait_until((home / "meshdrop-state/health.json").exists), (home / "stderr").read_text()
        dropped = run(home, drop)
        assert dropped.returncode == 0, dropped.stderr
        assert watch.endswith(" --watch")
        look = watch.removesuffix(" --watch")
        assert wait_until(lambda: re.search(r"teapot\t(queued|running)", run(home, look).stdout))
        # The page follows the table within seconds.
        page = home / "meshdrop-share/status.html"
        assert wait_until(lambda: page.exists() and "teapot" in page.read_text())
    finally:
        os.kill(daemon.pid, signal.SIGINT)
        assert daemon.wait(PATIENCE_S) == 0


def test_what_the_daemon_will_think(home: Path) -> None:
    """The third section: check says that a folder is complete, and names what is missing from another."""
    shutil.copytree(REPOSITORY / "examples/captures/teapot", home / "pictures/shoe")
    (check,) = shell_lines("3.")
    assert run(home, check).returncode == 0
    (home / "pictures/shoe/depth_03.png").unlink()
    said = run(home, check)
    assert said.returncode != 0
    assert "depth_03" in said.stdout
