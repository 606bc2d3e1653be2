"""The share is mounted by sshfs from a real sshd: no events arrive, attributes are cached, the server goes away."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import fakes
from audit import Tally
from daemon.errors import ConfigError
from daemon.mounts import mount_of
from served import free_port, make_config, served, wait_until

pytestmark = [pytest.mark.needs("sshd", "sshfs", "fusermount3")]

QUICK: dict[str, object] = {"network_settle_s": 0.3, "incomplete_after_s": 600.0}


class SshServer:
    """An sshd on the loopback with keys of its own, serving its tests' folder to the user who runs them."""

    def __init__(self, base: Path) -> None:
        self.base, self.port = base, free_port()
        self.exported = base / "exported"
        self.exported.mkdir()
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(base / name)], check=True)
        (base / "user.pub").rename(base / "authorized")
        (base / "sshd.conf").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {base}/host\nAuthorizedKeysFile {base}/authorized\n"
            f"PidFile {base}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
            "Subsystem sftp internal-sftp\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on its empty folder
        program = subprocess.run(["which", "sshd"], capture_output=True, text=True, check=True).stdout.strip()
        self._process = subprocess.Popen([program, "-D", "-f", str(self.base / "sshd.conf")], start_new_session=True,
                                         stderr=subprocess.DEVNULL)  # fmt: skip

    def stop(self) -> None:
        """As when the machine's power goes: the connections at once, too."""
        assert self._process is not None
        for child in _descendants(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def mount(self, target: Path) -> None:
        options = f"port={self.port},IdentityFile={self.base}/user,StrictHostKeyChecking=no"
        options += ",UserKnownHostsFile=/dev/null,LogLevel=ERROR,ServerAliveInterval=1,ServerAliveCountMax=2"
        options += ",dcache_timeout=1,attr_timeout=1,entry_timeout=1"  # sshfs shows a listing for 20 s otherwise
        command = ["sshfs", f"root@127.0.0.1:{self.exported}", str(target), "-o", options]
        assert wait_until(lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0)


def _descendants(pid: int) -> list[int]:
    children = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _parent(entry) == pid]
    return [*children, *(inner for child in children for inner in _descendants(child))]


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def unmount(target: Path) -> None:
    """As an administrator would; sshfs may have given up by itself."""
    if os.path.ismount(target):
        subprocess.run(["fusermount3", "-u", "-z", str(target)], check=True)


@contextmanager
def mounted_by_sshfs(base: Path, target: Path) -> Iterator[SshServer]:
    """A running server whose folder is mounted at ``target``."""
    (base / "ssh").mkdir()
    server = SshServer(base / "ssh")
    target.mkdir()
    server.start()
    try:
        server.mount(target)
        yield server
    finally:
        unmount(target)
        server.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    """The share of ``served(tmp_path)`` lies on the server."""
    with mounted_by_sshfs(tmp_path, tmp_path / "share") as server:
        yield server


@pytest.mark.fault("no events arrive", "share on an sshfs mount, dropped on the server's side")
def test_a_drop_on_the_server_is_found_by_the_scan(server: SshServer, tmp_path: Path, tally: Tally) -> None:
    """Folders that others put onto the server come back, although this machine hears of nothing."""
    with served(tmp_path, intake=QUICK) as share:
        assert share.supervisor.reception.settle_s == 0.3, "the mount is recognised as a network's"
        draft = fakes.write_job(server.exported / "draft")
        draft.rename(server.exported / "inbox/shoe")
        (fakes.write_job(server.exported / "inbox/slow") / "view_05.png").unlink()
        share.until((server.exported / "done/shoe/result.json").exists)
        assert share.states()["slow"] == "waiting"
        (server.exported / "inbox/slow/view_05.png").write_bytes(fakes.png())
        share.until(lambda: (server.exported / "done/slow/result.json").exists() and not share.store.active())
        tally(share.config, ["shoe", "slow"])


@pytest.mark.fault("the file server stops and starts again", "sshd killed under an sshfs mount, later remounted")
def test_an_outage_of_the_server_loses_nothing(server: SshServer, tmp_path: Path, tally: Tally) -> None:
    """While the server is away jobs keep their state and the share is offline; then all are finished once."""
    with served(tmp_path, intake=QUICK) as share:
        (fakes.write_job(server.exported / "inbox/waiting") / "view_05.png").unlink()
        fakes.write_job(server.exported / "inbox/running", {"until": str(tmp_path / "stopped")})
        share.until(lambda: share.states() == {"waiting": "waiting", "running": "running"})
        server.stop()
        (tmp_path / "stopped").touch()
        share.until(lambda: share.supervisor.board.offline_reason)
        fakes.write_job(server.exported / "inbox/meanwhile")
        (server.exported / "inbox/waiting/view_05.png").write_bytes(fakes.png())
        share.for_s(1.5)
        assert share.states()["waiting"] == "waiting"
        assert not list(server.exported.rglob("result.json"))
        unmount(tmp_path / "share")
        server.start()
        server.mount(tmp_path / "share")
        share.until(lambda: len(os.listdir(server.exported / "done")) == 3 and not share.store.active())
        tally(share.config, ["waiting", "running", "meanwhile"])


def test_cancel_on_the_server_is_found(server: SshServer, tmp_path: Path) -> None:
    """CANCEL put on the server's side ends a running job within seconds."""
    with served(tmp_path, intake=QUICK) as share:
        fakes.write_job(server.exported / "inbox/shoe", {"work_s": 600})
        share.until(lambda: share.states().get("shoe") == "running")
        started_s = time.monotonic()
        (server.exported / "inbox/shoe/CANCEL").touch()
        share.until((server.exported / "failed/shoe/error.json").exists)
        assert time.monotonic() - started_s < 5.0


def test_state_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    """SQLite's journal is unsafe there: the daemon says so and does not start."""
    with mounted_by_sshfs(tmp_path, tmp_path / "state") as server:
        assert mount_of(tmp_path / "state").kind == "fuse.sshfs"
        with pytest.raises(ConfigError, match=r"fuse\.sshfs"):
            make_config(tmp_path)
        command = [sys.executable, "-m", "daemon", "serve", "--root", str(tmp_path / "share"), "--state",
                   str(tmp_path / "state")]  # fmt: skip
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert refused.returncode == 3
        assert "SQLite needs a local disk" in refused.stdout + refused.stderr
        assert os.listdir(server.exported) == []
