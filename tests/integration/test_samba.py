"""A user on the other end of a real Samba share, with smbclient."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import fakes
from served import PATIENCE_S, ServedShare, free_port, served, wait_until

pytestmark = [pytest.mark.needs("smbd", "smbclient")]


@dataclass
class SmbUser:
    """Runs smbclient commands as the one user of the share."""

    conf: Path
    port: int

    def run(self, *commands: str, local: Path | None = None) -> str:
        finished = subprocess.run(
            ["smbclient", "-s", str(self.conf), "-p", str(self.port), "-N", "//127.0.0.1/drop",
             "-c", "; ".join(commands)],
            cwd=local, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        return finished.stdout + finished.stderr

    def put(self, folder: Path, target: str) -> None:
        """Copy a folder into the share, file by file, as a file manager does."""
        self.run(f'mkdir "{target}"', f'cd "{target}"', "prompt off", "mput *", local=folder)


@pytest.fixture
def share_with_user(tmp_path: Path) -> Iterator[tuple[ServedShare, SmbUser]]:
    """A served share that a real Samba server exports on the loopback."""
    # However long a busy machine takes from one file to the next, the folder is not given up.
    with served(tmp_path, intake={"settle_s": 0.5, "incomplete_after_s": 600.0, "damaged_after_s": 600.0}) as share:
        conf = tmp_path / "smb.conf"
        private, port = tmp_path / "samba", free_port()
        private.mkdir()
        folders = "\n".join(f"    {key} = {private}" for key in
                            ("lock directory", "state directory", "cache directory", "private dir", "pid directory",
                             "ncalrpc dir"))  # fmt: skip
        conf.write_text(
            f"[global]\n{folders}\n    smb ports = {port}\n    interfaces = 127.0.0.1\n    bind interfaces only = yes\n"
            "    map to guest = bad user\n    guest account = root\n    disable netbios = yes\n    load printers = no\n"
            f"    log file = {private}/log\n    server role = standalone server\n"
            f"[drop]\n    path = {share.config.root}\n    guest ok = yes\n    guest only = yes\n    read only = no\n"
        )
        server = subprocess.Popen(
            ["smbd", "-F", "--no-process-group", "-s", str(conf)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        user = SmbUser(conf, port)
        try:
            assert wait_until(lambda: "inbox" in user.run("ls")), user.run("ls")
            yield share, user
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


def test_a_folder_put_by_smb_comes_back(share_with_user: tuple[ServedShare, SmbUser], tmp_path: Path) -> None:
    """Put, watch, fetch the results, delete the folder: all through the share."""
    share, user = share_with_user
    fakes.write_job(tmp_path / "shoe", {"until": str(tmp_path / "watched")})
    user.put(tmp_path / "shoe", "inbox/shoe")
    share.until(lambda: share.states().get("shoe") == "running")
    (tmp_path / "fetched").mkdir()
    share.until(lambda: _fetched_status(user, tmp_path / "fetched").get("state") == "running")
    (tmp_path / "watched").touch()
    share.until(lambda: "result.json" in user.run("ls done/shoe/*") and not share.store.active())
    user.run("get done/shoe/results/nvdiffrec/mesh.glb mesh.glb", local=tmp_path / "fetched")
    assert (tmp_path / "fetched/mesh.glb").read_bytes() == b"glTF" + bytes(1000)
    user.run("deltree done/shoe")
    assert os.listdir(share.config.done) == []


def _fetched_status(user: SmbUser, target: Path) -> dict[str, object]:
    user.run("get inbox/shoe/status.json status.json", local=target)
    if not (target / "status.json").exists():
        return {}  # the daemon has written none yet
    data = json.loads((target / "status.json").read_text())
    assert isinstance(data, dict)
    return data


def test_a_slow_put_is_not_started_early(share_with_user: tuple[ServedShare, SmbUser], tmp_path: Path) -> None:
    """Files that arrive one by one with pauses make one job, run once."""
    share, user = share_with_user
    fakes.write_job(tmp_path / "shoe")
    user.run("mkdir inbox/shoe")
    for name in fakes.JOB_FILES:
        user.run("cd inbox/shoe", f"put {name}", local=tmp_path / "shoe")
        share.for_s(0.05)
    share.until((share.config.done / "shoe/result.json").exists)
    share.until(lambda: not share.store.active())
    assert [job.attempts for job in share.store.recent(10)] == [1]


def test_cancel_put_by_smb(share_with_user: tuple[ServedShare, SmbUser], tmp_path: Path) -> None:
    """A file named cancel.txt put through the share stops a running job within two seconds."""
    share, user = share_with_user
    fakes.write_job(tmp_path / "shoe", {"work_s": 600})
    user.put(tmp_path / "shoe", "inbox/shoe")
    share.until(lambda: share.states().get("shoe") == "running")
    (tmp_path / "cancel.txt").touch()
    user.run("cd inbox/shoe", "put cancel.txt", local=tmp_path)
    started_s = time.monotonic()
    share.until((share.config.failed / "shoe/error.json").exists)
    assert time.monotonic() - started_s < 2.0
    assert json.loads((share.config.failed / "shoe/error.json").read_text())["code"] == "JOB_CANCELLED"
