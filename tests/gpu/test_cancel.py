"""CANCEL gives the GPU's memory back, as nvidia-smi and the daemon itself show it."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fakes
from holding_gpu import HELD_BYTES
from served import DaemonProcess, make_config, wait_until

pytestmark = pytest.mark.gpu

SPARE_BYTES = 64 << 20
"""What the driver may take or give for itself meanwhile."""


def used_bytes() -> int:
    """GPU memory in use, all processes together."""
    asked = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return sum(int(line) for line in answer.split()) << 20


def worker(base: Path) -> dict[str, Any]:
    """What the daemon says of its worker."""
    try:
        found = json.loads((base / "state/health.json").read_text())["workers"][0]
    except FileNotFoundError:
        return {"is_idle": False, "pid": 0, "probe": None}
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("behave", "is_killed", "limit_s"), [({"work_s": 600}, False, 2.0), ({"hang_in_c": 1}, True, 5.0)], ids=str
)
def test_cancel_frees_the_memory(
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    behave: dict[str, object],
    is_killed: bool,
    limit_s: float,
) -> None:
    """A job that listens gives its memory back and leaves the worker warm; one that does not is killed for it."""
    config = make_config(tmp_path)
    before_bytes = used_bytes()
    daemon = DaemonProcess(tmp_path, worker={"entry": "holding_gpu:reconstruct", "preload": ["torch"]})
    try:
        assert wait_until(lambda: worker(tmp_path)["is_idle"], 120)
        idle_bytes, idle = used_bytes(), worker(tmp_path)
        folder = fakes.write_job(config.inbox / "shoe", behave)
        assert wait_until(lambda: used_bytes() >= idle_bytes + HELD_BYTES, 60)
        cancelled_s = time.monotonic()
        (folder / "CANCEL").touch()
        assert wait_until((config.failed / "shoe/error.json").exists, 20)
        took_s = time.monotonic() - cancelled_s
        left_bytes = used_bytes()
        assert json.loads((config.failed / "shoe/error.json").read_text())["code"] == "JOB_CANCELLED"
        assert left_bytes <= idle_bytes + SPARE_BYTES
        assert took_s < limit_s
        assert is_alive(idle["pid"]) is not is_killed
        assert wait_until(lambda: worker(tmp_path)["is_idle"] and shown_free(tmp_path) >= free(idle) - SPARE_BYTES, 60)
    finally:
        daemon.stop()
    assert wait_until(lambda: used_bytes() <= before_bytes + SPARE_BYTES, 10)
    figures = {"cancel_s": took_s, "before": before_bytes, "idle": idle_bytes, "after_cancel": left_bytes}
    record_property("figures", json.dumps(figures))


def free(found: dict[str, Any]) -> int:
    return int(found["probe"]["gpus"][0]["free_bytes"])


def shown_free(base: Path) -> int:
    """Free GPU memory as health.json shows it; the worker looks again after every job."""
    found = worker(base)
    return free(found) if found["probe"] else 0


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
