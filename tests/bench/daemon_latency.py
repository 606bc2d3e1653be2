"""How quick is the daemon itself, apart from settling and reconstruction?

    python tests/bench/daemon_latency.py [--jobs 100]

A real daemon process on a local disk with a model that does nothing; jobs one after the other, with a pause after
each (for half a second after a folder has left, watchdog holds back the event of the next).  Prints median and
99th percentile as JSON:

- ``renamed_in_to_running_s``: a complete folder with READY is renamed in, until its job is recorded as running;
- ``cancel_to_failed_s``: CANCEL is put into the folder of a running job that listens, until it is in failed/;
- ``finished_to_visible_s``: the model returns, until result.json is visible in done/;
- ``overhead_s``: renamed in until visible in done/, all of it being the daemon's since the model takes no time.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

import fakes
from daemon.config import Config
from daemon.store import Store, open_store_for_reading
from served import DaemonProcess, make_config, wait_until

POLL_S = 0.001
LONGEST_S = 30.0
PAUSE_S = 0.7


def until(is_true: Callable[[], object]) -> float:
    """Unix time at which the condition came true."""
    deadline_s = time.monotonic() + LONGEST_S
    while not is_true():
        if time.monotonic() > deadline_s:
            raise TimeoutError("the daemon did not answer")
        time.sleep(POLL_S)
    return time.time()


def started_s(store: Store, name: str) -> float:
    job = store.find(name)
    assert job is not None
    assert job.started_at_s is not None
    return job.started_at_s


def is_running(store: Store, name: str) -> bool:
    job = store.find(name)
    return job is not None and job.state == "running"


def drop(base: Path, config: Config, name: str, behave: dict[str, object] | None = None) -> float:
    """Rename a complete folder with READY into the inbox; the time at which it was done."""
    draft = fakes.write_job(base / name, behave)
    (draft / "READY").touch()
    at_s = time.time()
    draft.rename(config.inbox / name)
    return at_s


def measure(base: Path, job_count: int) -> dict[str, list[float]]:
    """Run the jobs and collect every latency."""
    config = make_config(base)
    found: dict[str, list[float]] = {
        name: [] for name in ("renamed_in_to_running_s", "cancel_to_failed_s", "finished_to_visible_s", "overhead_s")
    }
    defaults: dict[str, object] = {"scan_s": 1.0, "settle_s": 2.0, "damaged_after_s": 60.0, "incomplete_after_s": 900.0}
    daemon = DaemonProcess(base, intake=defaults, worker={"cancel_grace_s": 1.5})
    try:
        assert wait_until((config.state / "health.json").exists)
        store = open_store_for_reading(config.database)
        drop(base, config, "warm")
        until((config.done / "warm/result.json").exists)
        for number in range(job_count):
            time.sleep(PAUSE_S)
            name = f"quick{number}"
            finished_file = base / "finished"
            finished_file.unlink(missing_ok=True)
            dropped_s = drop(base, config, name, {"finished": str(finished_file)})
            visible_s = until((config.done / name / "result.json").exists)
            found["renamed_in_to_running_s"].append(started_s(store, name) - dropped_s)
            found["finished_to_visible_s"].append(visible_s - finished_file.stat().st_mtime)
            found["overhead_s"].append(visible_s - dropped_s)
            time.sleep(PAUSE_S)
            name = f"cancelled{number}"
            drop(base, config, name, {"work_s": 60})
            until(partial(is_running, store, name))
            time.sleep(0.2)
            cancelled_s = time.time()
            (config.inbox / name / "CANCEL").touch()
            found["cancel_to_failed_s"].append(until((config.failed / name / "error.json").exists) - cancelled_s)
        store.close()
    finally:
        daemon.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=100)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        found = measure(Path(base), asked.jobs)
    summary = {
        name: {"median": round(statistics.median(values), 3), "p99": round(sorted(values)[int(0.99 * len(values))], 3)}
        for name, values in found.items()
    }
    sys.stdout.write(json.dumps({"jobs": asked.jobs, "cpus": os.cpu_count()} | summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
