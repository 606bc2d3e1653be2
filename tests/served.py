"""A share with its daemon for tests: in this process, turned by hand, or as a real process that may be killed."""

import itertools
import json
import logging
import multiprocessing
import os
import socket
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

import fakes
from daemon.config import Config, load_config
from daemon.jobs import Job
from daemon.share import ShareLock, check_share, create_share
from daemon.store import open_store, open_store_for_reading
from daemon.supervisor import Supervisor, serve_share

QUICK_INTAKE: dict[str, object] = {
    "scan_s": 0.05,
    "settle_s": 0.1,
    "damaged_after_s": 0.4,
    "incomplete_after_s": 0.8,
}
QUICK_WORKER: dict[str, object] = {"entry": "fakes:reconstruct", "preload": [], "cancel_grace_s": 0.5}

PATIENCE_S = 60.0
"""For how long a test waits for what must come to pass; long, because a busy machine is slow and waiting for what does
come costs nothing."""

TESTS = Path(__file__).parent
_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload(["served"])


def make_config(base: Path, **tables: dict[str, object]) -> Config:
    """A configuration with short times for a new share below ``base``."""
    create_share(base / "share")
    sections: dict[str, Any] = {
        **tables,
        "intake": QUICK_INTAKE | tables.get("intake", {}),
        "worker": QUICK_WORKER | tables.get("worker", {}),
    }
    config = load_config(root=base / "share", state=base / "state", **sections)
    check_share(config)
    return config


class ServedShare:
    """A daemon in this process (its workers are real processes), turned until something is true."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.store = open_store(config.database)
        self.supervisor = Supervisor(config, self.store)
        self.supervisor.recover()

    def until(self, is_true: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Turn the loop until the condition holds; fail the test after the timeout."""
        deadline_s = time.monotonic() + timeout_s
        while not is_true():
            assert time.monotonic() < deadline_s, f"still waiting; jobs: {self.states()}"
            self.supervisor.turn()
            if not is_true():
                self.supervisor.rest()

    def for_s(self, duration_s: float) -> None:
        """Turn the loop for some time."""
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            self.supervisor.turn()
            time.sleep(0.01)

    def states(self) -> dict[str, str]:
        """Folder to state of the latest jobs."""
        return {job.folder: job.state.value for job in [*self.store.recent(50)[::-1], *self.store.active()]}

    def job(self, folder: str) -> Job:
        """The newest job of a folder."""
        found = self.store.find(folder)
        assert found is not None, f"no job for {folder}"
        return found

    def close(self) -> None:
        """Stop as on SIGTERM."""
        self.supervisor.close()
        self.store.close()


@contextmanager
def served(base: Path, **tables: dict[str, object]) -> Iterator[ServedShare]:
    """Serve a new or existing share below ``base``."""
    share = ServedShare(make_config(base, **tables))
    try:
        yield share
    finally:
        share.close()


def _serve(base: Path, tables: dict[str, dict[str, object]], environment: dict[str, str], busy_threads: int) -> None:
    os.environ.update(environment)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),  # benchmarks print JSON
    )
    for _ in range(busy_threads):
        threading.Thread(target=_spin, daemon=True).start()
    config = make_config(base, **tables)
    lock = ShareLock(config)
    serve_share(config)
    lock.release()


def _spin() -> None:
    """Hold the interpreter whenever it can be had."""
    while True:
        sum(range(1000))


class DaemonProcess:
    """A real daemon process on the share below ``base``.

    Args:
        base: Holds share/ and state/.
        environment: Added to the process's own.
        busy_threads: So many threads of the process compete with the loop for the interpreter.
        tables: The configuration.
    """

    def __init__(
        self,
        base: Path,
        environment: dict[str, str] | None = None,
        busy_threads: int = 0,
        **tables: dict[str, object],
    ) -> None:
        self._base = base
        self._process = _forkserver.Process(target=_serve, args=(base, tables, environment or {}, busy_threads))
        self._process.start()

    @property
    def pid(self) -> int:
        """Of the daemon."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative: the signal that killed it."""
        return self._process.exitcode

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end."""
        self._process.join(timeout_s)
        return self._process.exitcode

    def _serves(self) -> bool:
        try:
            return bool(json.loads((self._base / "state/health.json").read_text())["pid"] == self.pid)
        except FileNotFoundError:
            return False

    def kill(self) -> None:
        """As a power cut would."""
        self._process.kill()
        self._process.join()

    def stop(self) -> None:
        """As systemd would, once it serves."""
        assert wait_until(self._serves), "the daemon never served"
        self._process.terminate()
        self._process.join(PATIENCE_S)
        assert self._process.exitcode == 0


def wait_until(is_true: Callable[[], object], timeout_s: float = PATIENCE_S) -> bool:
    """Poll a condition."""
    deadline_s = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.02)
    return True


def process_state(pid: int) -> str:
    """The kernel's letter: R and S for one that works or waits, T for one that is halted, Z for a zombie; X if gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter where it goes between opening and reading
        return "X"


def is_alive(pid: int) -> bool:
    """Whether the process is there and has not ended."""
    return process_state(pid) not in {"Z", "X"}


def inbox(share: ServedShare, name: str) -> Path:
    """Where a folder of this name is dropped."""
    return share.config.inbox / name


def error_of(share: ServedShare, name: str) -> dict[str, object]:
    """What error.json says of a failed job."""
    data = json.loads((share.config.failed / name / "error.json").read_text())
    assert isinstance(data, dict)
    return data


def status_in(folder: Path) -> dict[str, Any]:
    """What status.json says of a folder; nothing before it is written."""
    try:
        return dict(json.loads((folder / "status.json").read_text()))
    except FileNotFoundError:
        return {}


def drop(base: Path, failpoint: str = "") -> None:
    """Drop a job named shoe that passes the failpoint: most are passed by any folder."""
    config = make_config(base)
    if "archive" in failpoint:
        packed = base / "packed.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for name in fakes.JOB_FILES:
                archive.writestr(name, fakes.png())
        packed.rename(config.inbox / "shoe.zip")
    elif "retry" in failpoint:
        (fakes.write_job(config.failed / "shoe") / "RETRY").touch()
    else:
        fakes.write_job(base / "shoe").rename(config.inbox / "shoe")


def _ports_of_this_process() -> Iterator[int]:
    """A thousand ports, over and over, that no other process of pytest-xdist takes.

    The system gives ports from 32768 on to everybody who asks for any, so that one of those may be gone between its
    choice and its use.  Where to begin depends on the process, for the sake of other test runs on this machine.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first, start = 10_000 + 1_000 * (worker % 22), os.getpid() % 1_000
    return itertools.cycle([first + (start + step) % 1_000 for step in range(1_000)])


_ports = _ports_of_this_process()


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on and no other test is given."""
    for port in itertools.islice(_ports, 1_000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def jobs_on_record(config_state: Path, limit: int = 1000) -> list[Job]:
    """All jobs of a table, active and ended."""
    store = open_store_for_reading(config_state / "jobs.sqlite3")
    try:
        return [*store.active(), *store.recent(limit)]
    finally:
        store.close()
