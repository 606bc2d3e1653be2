"""The daemon and a job under the restrictions of the service file, and what systemd hears of it."""

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import fakes
import make_capture
from daemon.share import create_share
from sandbox import NOT_TRIED, SHARE, STATE, TRIED, UID, command_in_sandbox, directives, value_of
from served import PATIENCE_S, process_state, wait_until

pytestmark = pytest.mark.needs("root", "bwrap", "systemd-analyze")

ESCAPES = """
import ctypes, errno, json, os, resource, socket, time
tried = {}
def attempt(name, action):
    try:
        action()
        tried[name] = "allowed"
    except OSError as error:
        tried[name] = errno.errorcode[error.errno]
def write(path):
    attempt("write " + path, lambda: open(path + "/escape", "w").close())
for path in ("/etc", "/usr", "/sys/fs/cgroup", "/proc/sys/kernel", "/srv/meshdrop", "/var/lib/meshdrop", "/tmp"):
    write(path)
libc = ctypes.CDLL(None, use_errno=True)
def system(name, *arguments):
    def call():
        if getattr(libc, name)(*arguments) == -1:
            raise OSError(ctypes.get_errno(), name)
    return call
for name, arguments in {
    "unshare": (0x10000000,), "mount": (b"none", b"/tmp", b"tmpfs", 0, 0), "personality": (0x0008,), "setuid": (0,),
    "ptrace": (0, 1, 0, 0), "chroot": (b"/tmp",), "init_module": (0, 0, 0),
}.items():
    attempt(name, system(name, *arguments))
attempt("clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
attempt("internet socket", lambda: socket.socket(socket.AF_INET))
attempt("netlink socket", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("unix socket", lambda: socket.socket(socket.AF_UNIX))
attempt("realtime", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({
    "tried": tried, "uid": os.getuid(), "groups": os.getgroups(), "umask": oct(os.umask(0)),
    "core": resource.getrlimit(resource.RLIMIT_CORE), "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "home": os.path.exists("/root/.ssh") or bool(os.listdir("/home")), "devices": sorted(os.listdir("/dev")),
    "processes": [name for name in os.listdir("/proc") if name.isdigit()], "interfaces": os.listdir("/sys/class/net"),
    "status": {name: status[name] for name in ("NoNewPrivs", "Seccomp", "CapEff", "CapBnd")},
}))
"""


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A share and a state folder."""
    create_share(tmp_path / "share")
    for folder in (tmp_path / "share", *(tmp_path / "share").iterdir()):
        if folder.is_dir():
            folder.chmod(0o2770)  # as systemd/meshdrop.tmpfiles makes it
    (tmp_path / "state").mkdir()
    return tmp_path / "share", tmp_path / "state"


def test_every_directive_is_accounted_for() -> None:
    """Each line of [Service] is either brought about by these tests or on the list of what is not."""
    named = {directive for directive, _ in directives()}
    assert named == TRIED | set(NOT_TRIED)
    assert not TRIED & set(NOT_TRIED)


def test_the_sandbox_holds(places: tuple[Path, Path]) -> None:
    """From inside nothing but share, state and /tmp can be written, and every way out is closed."""
    command = command_in_sandbox(*places, [sys.executable, "-c", ESCAPES])
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    seen = json.loads(finished.stdout)
    allowed = {name for name, answer in seen["tried"].items() if answer == "allowed"}
    assert allowed == {"write /srv/meshdrop", "write /var/lib/meshdrop", "write /tmp", "unix socket"}
    assert (seen["uid"], seen["groups"], seen["umask"]) == (UID, [], "0o7")
    assert seen["core"] == [0, 0]
    assert seen["files"] == [int(value_of("LimitNOFILE"))] * 2
    assert not seen["home"]
    assert "vda" not in seen["devices"]
    assert len(seen["processes"]) <= 3
    nothing = "0" * 16
    assert seen["status"] == {"NoNewPrivs": "1", "Seccomp": "2", "CapEff": nothing, "CapBnd": nothing}


class ServiceSocket:
    """systemd's end of the notification protocol: reads at once, as systemd does."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        os.chmod(self.path, 0o777)
        self._messages: queue.Queue[dict[str, str]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            lines = self._socket.recv(4096).decode().splitlines()
            self._messages.put(dict(line.split("=", 1) for line in lines))

    def next(self) -> dict[str, str]:
        """The next message; fails after a minute without one."""
        return self._messages.get(timeout=PATIENCE_S)

    def drain(self) -> int:
        """How many messages were sent until now that nobody has looked at; they are thrown away."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"MARK=1", str(self.path))  # messages stay in order: what was sent before has come before it
        count = 0
        while "MARK" not in self.next():
            count += 1
        return count


def start_service(
    places: tuple[Path, Path], heard: ServiceSocket, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    command = command_in_sandbox(
        *places,
        [sys.executable, "-P", "-m", "daemon", "serve"],
        readable=(heard.path.parent,),
        environment={"NOTIFY_SOCKET": str(heard.path)} | environment,
    )
    return subprocess.Popen(command, stderr=(places[1].parent / "daemon.log").open("wb"))


def daemon_pid(bwrap_pid: int) -> int:
    """The first process below bubblewrap that is not bubblewrap itself."""
    pid = bwrap_pid
    while Path(f"/proc/{pid}/comm").read_text() == "bwrap\n":
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return pid


@pytest.mark.slow
def test_a_job_runs_in_the_sandbox(places: tuple[Path, Path], tmp_path: Path) -> None:
    """A real reconstruction under the unit's rights: done/, group-writable results, a healthy daemon, a clean stop."""
    share, state = places
    make_capture.make_capture(share / "inbox" / "teapot", size_px=64)
    (share / "inbox/teapot/job.toml").write_text(
        'on_low_quality = "keep"\nturntable = false\ntexture_px = 256\ntarget_faces = 1000\n'
        "[nvdiffrec.fusion]\ngrid_resolution = 48\n[nvdiffrec.optimise]\nstep_count = 1\n"
    )
    (share / "inbox/teapot").chmod(0o2770)
    heard = ServiceSocket(tmp_path / "systemd")
    service = start_service(places, heard, {"OMP_NUM_THREADS": "1"})
    try:
        assert heard.next() == {"READY": "1"}, (tmp_path / "daemon.log").read_text()
        done = share / "done" / "teapot"
        assert wait_until((done / "result.json").exists, 200), (tmp_path / "daemon.log").read_text()
        mesh = done / "results/nvdiffrec/mesh.glb"
        assert (mesh.stat().st_uid, mesh.stat().st_mode & 0o777) == (UID, 0o660)
        assert (done / "results").stat().st_mode & 0o2770 == 0o2770
        health = json.loads((state / "health.json").read_text())
        assert health["problems"] == []
        assert health["workers"][0]["probe"]["error"] == ""
        assert health["models"]["nvdiffrec"]["min_gpu_memory_bytes"] == 12 * 2**30
        os.kill(daemon_pid(service.pid), signal.SIGTERM)
        assert service.wait(PATIENCE_S) == 0
    finally:
        service.kill()


def test_systemd_hears_the_loop(places: tuple[Path, Path], tmp_path: Path) -> None:
    """Ready after the first scan, then a sign of life with every turn and never from a loop that stands still."""
    share, _ = places
    fakes.write_job(share / "inbox" / "early")
    heard = ServiceSocket(tmp_path / "systemd")
    fast = {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "MESHDROP_WORKER__ENTRY": "fakes:reconstruct",
        "MESHDROP_WORKER__PRELOAD": "[]",
        "MESHDROP_INTAKE__SCAN_S": "0.2",
    }
    service = start_service(places, heard, fast)
    try:
        assert heard.next() == {"READY": "1"}, (tmp_path / "daemon.log").read_text()
        # The folder that lay there before the start is on record when the daemon says that it is ready.
        assert heard.next() == {"WATCHDOG": "1", "STATUS": "1 jobs"}
        pid = daemon_pid(service.pid)
        os.kill(pid, signal.SIGSTOP)
        assert wait_until(lambda: process_state(pid) == "T")
        heard.drain()
        time.sleep(1.5)
        assert heard.drain() == 0, "something else than the loop keeps systemd quiet"
        os.kill(pid, signal.SIGCONT)
        assert heard.next()["WATCHDOG"] == "1"
        os.kill(pid, signal.SIGTERM)
        messages = []
        while "STOPPING" not in (message := heard.next()):
            messages.append(message)
        assert service.wait(PATIENCE_S) == 0
        assert all("WATCHDOG" in message for message in messages)
    finally:
        service.kill()


def scan_took_s(state: Path) -> float:
    return float(json.loads((state / "health.json").read_text())["share"]["scan_took_s"])


def test_a_loop_that_hangs_is_not_alive(places: tuple[Path, Path], tmp_path: Path) -> None:
    """While the scan stands still inside the loop, threads run on and no sign of life is sent."""
    share, _ = places
    heard = ServiceSocket(tmp_path / "systemd")
    hang = tmp_path / "hang"
    hang.mkdir()
    (hang / "hanging_daemon.py").write_text(
        "import os, time\n"
        "from daemon import watcher\n"
        "scan = watcher.Watcher.scan\n"
        "def slow_scan(self):\n"
        "    while os.path.exists('/srv/meshdrop/HANG'):\n"
        "        open('/srv/meshdrop/HANGS', 'w').close()\n"
        "        time.sleep(0.05)\n"
        "    return scan(self)\n"
        "watcher.Watcher.scan = slow_scan\n"
        "from daemon.cli import main\n"
        "main()\n"
    )
    fast = {
        "MESHDROP_WORKER__ENTRY": "fakes:reconstruct",
        "MESHDROP_WORKER__PRELOAD": "[]",
        "MESHDROP_INTAKE__SCAN_S": "0.2",
    }
    command = command_in_sandbox(
        *places,
        [sys.executable, "-P", str(hang / "hanging_daemon.py"), "serve"],
        readable=(heard.path.parent, hang),
        environment={"NOTIFY_SOCKET": str(heard.path)} | fast,
    )
    (share / "HANG").touch()
    service = subprocess.Popen(command, stderr=(tmp_path / "daemon.log").open("wb"))
    try:
        assert wait_until((share / "HANGS").exists), (tmp_path / "daemon.log").read_text()
        time.sleep(1.0)
        assert heard.drain() == 0, "ready before the first scan"
        (share / "HANG").unlink()
        assert heard.next() == {"READY": "1"}, (tmp_path / "daemon.log").read_text()
        (share / "HANGS").unlink()
        # After a scan that took so long the loop pauses; from the next one on it scans as often as it is told.
        assert wait_until(lambda: scan_took_s(places[1]) < 0.5)
        (share / "HANG").touch()
        assert wait_until((share / "HANGS").exists)
        heard.drain()
        time.sleep(1.5)
        assert heard.drain() == 0
        (share / "HANG").unlink()
        assert heard.next()["WATCHDOG"] == "1"
    finally:
        service.kill()
        service.wait()
        shutil.rmtree(hang)


def test_places_are_the_units() -> None:
    """The tests mount share and state where the unit expects them."""
    assert value_of("ReadWritePaths") == f"-{SHARE}"
    assert value_of("WorkingDirectory") == str(STATE)
    assert value_of("StateDirectory") == STATE.name
