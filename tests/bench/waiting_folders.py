"""How much does an idle daemon cost while many folders wait, and how soon are they recorded?

    python tests/bench/waiting_folders.py [--folders 10000] [--idle-s 60]

Every folder lacks one of twelve pictures.  The daemon is a real process with default times; prints JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import fakes
from served import make_config, wait_until

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
QUIET_SHARE = 0.02
"""Of a core: below this the daemon has looked at everything."""


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folders", type=int, default=10_000)
    parser.add_argument("--idle-s", type=float, default=60.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        sys.stdout.write(json.dumps(measure(Path(base), asked.folders, asked.idle_s), indent=1) + "\n")


def measure(base: Path, folder_count: int, idle_s: float) -> dict[str, object]:
    """Start the daemon on folders that are there already, and watch it until it is quiet."""
    config = make_config(base)
    picture = fakes.png()
    for number in range(folder_count):
        folder = config.inbox / f"job{number:06d}"
        folder.mkdir()
        for name in fakes.JOB_FILES[:-1]:
            (folder / name).write_bytes(picture)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent))),
        "MESHDROP_INTAKE__INCOMPLETE_AFTER_S": "100000",
        "MESHDROP_WORKER__ENTRY": "fakes:reconstruct",
        "MESHDROP_WORKER__PRELOAD": "[]",
    }
    command = [sys.executable, "-m", "daemon", "serve", "--root", str(config.root), "--state", str(config.state)]
    started_s = time.monotonic()
    daemon = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: waiting(config.state / "health.json") == folder_count, 300)
        recorded_after_s = time.monotonic() - started_s
        quiet_after_s = wait_for_quiet(daemon.pid, started_s)
        before_s = cpu_s(daemon.pid)
        time.sleep(idle_s)
        return {
            "folders": folder_count,
            "recorded_after_s": round(recorded_after_s, 1),
            "quiet_after_s": round(quiet_after_s, 1),
            "idle_core_percent": round(100 * (cpu_s(daemon.pid) - before_s) / idle_s, 2),
            "resident_mb": round(resident_bytes(daemon.pid) / 1e6, 1),
            "cpus": os.cpu_count(),
        }
    finally:
        daemon.terminate()
        daemon.wait()


def wait_for_quiet(pid: int, started_s: float) -> float:
    """Wait until ten seconds cost next to nothing."""
    while True:
        before_s = cpu_s(pid)
        time.sleep(10)
        if cpu_s(pid) - before_s < 10 * QUIET_SHARE:
            return time.monotonic() - started_s


def waiting(health: Path) -> int:
    try:
        return int(json.loads(health.read_text())["jobs"].get("waiting", 0))
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    main()
