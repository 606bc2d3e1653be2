"""The service file is valid, tight, and explained."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from repository import REPOSITORY

UNIT = REPOSITORY / "systemd" / "meshdrop.service"
EXPOSURE = re.compile(r"Overall exposure level for \S+: (\d+\.\d+)")
HIGHEST_EXPOSURE = 1.0


def exposure(unit: Path) -> float:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    found = EXPOSURE.search(finished.stdout)
    assert found, finished.stdout
    return float(found.group(1))


def directives(unit: Path) -> dict[str, str]:
    lines = [line.partition("=") for line in unit.read_text("utf-8").splitlines() if line and line[0] not in "#["]
    return {key: value for key, _, value in lines}


@pytest.mark.needs("systemd-analyze")
def test_exposure() -> None:
    """The sandbox scores at most 1.0 in systemd's own measure."""
    assert exposure(UNIT) <= HIGHEST_EXPOSURE


@pytest.mark.needs("systemd-analyze")
def test_exposure_can_fail(tmp_path: Path) -> None:
    """Without its sandbox the same unit is measured as unsafe."""
    bare = tmp_path / "meshdrop.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert exposure(bare) > 9


@pytest.mark.needs("systemd-analyze")
def test_unit_is_valid(tmp_path: Path) -> None:
    """systemd finds nothing to complain about, once the command exists."""
    text = UNIT.read_text("utf-8")
    command = directives(UNIT)["ExecStart"].split()[0]
    (tmp_path / UNIT.name).write_text(text.replace(command, str(shutil.which("true"))))
    finished = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / UNIT.name)], capture_output=True, text=True, check=False
    )
    ours = [line for line in finished.stderr.splitlines() if UNIT.name in line]
    assert (finished.returncode, ours) == (0, [])


def test_what_a_running_job_depends_on() -> None:
    """The lines without which a stop, a hang or a killed worker would cost more than one attempt."""
    lines = directives(UNIT)
    assert lines["Type"] == "notify"
    assert lines["KillMode"] == "mixed"
    assert lines["OOMPolicy"] == "continue"
    assert int(lines["WatchdogSec"]) >= 30
    assert lines["ProcSubset"] == "all"
    assert "MemoryDenyWriteExecute" not in lines
    assert "PrivateDevices" not in lines


def test_every_line_is_explained_or_plain() -> None:
    """Each directive stands below a comment, or in a group that has one."""
    blocks = UNIT.read_text("utf-8").split("[Service]")[1].split("[Install]")[0].split("\n\n")
    unexplained = [block.strip() for block in blocks if "=" in block and "#" not in block]
    assert unexplained == []


@pytest.mark.needs("root", "systemd-sysusers")
def test_files_are_installed(tmp_path: Path) -> None:
    """Account, share, configuration and unit are where the unit expects them, with the documented rights."""
    command = [str(REPOSITORY / "systemd" / "install"), "--files", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    account = next(line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith("meshdrop:"))
    uid, gid = map(int, account.split(":")[2:4])
    expected = {
        "srv/meshdrop": (0o2770, uid, gid),
        "etc/meshdrop": (0o750, 0, gid),
        "etc/meshdrop/meshdrop.toml": (0o640, 0, gid),
        "etc/meshdrop/meshdrop.env": (0o640, 0, gid),
        "etc/systemd/system/meshdrop.service": (0o644, 0, 0),
        "usr/lib/sysusers.d/meshdrop.conf": (0o644, 0, 0),
        "usr/lib/tmpfiles.d/meshdrop.conf": (0o644, 0, 0),
    }
    for name, (mode, owner, group) in expected.items():
        status = (tmp_path / name).stat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (mode, owner, group), name
    assert (tmp_path / "opt/meshdrop/docs/index.md").exists()
    assert directives(UNIT)["Documentation"] == "file:///opt/meshdrop/docs/index.md"
    (tmp_path / "etc/meshdrop/meshdrop.toml").write_text("# mine\n")
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "etc/meshdrop/meshdrop.toml").read_text() == "# mine\n"


def test_env_example_names_real_keys() -> None:
    """Every variable of the environment example is a key of the configuration."""
    from daemon.config import Config

    text = (REPOSITORY / "systemd" / "meshdrop.env").read_text("utf-8")
    for name in re.findall(r"^#?MESHDROP_(\w+)=", text, re.MULTILINE):
        section, _, key = name.lower().partition("__")
        table = Config.model_fields[section].annotation
        assert not key or key in getattr(table, "model_fields", {}), name
