"""Workers that crash, hang, freeze or eat memory cost their job an attempt and the daemon nothing."""

import json
import os
import time
from pathlib import Path

import pytest

import fakes
from daemon import filing
from served import DaemonProcess, ServedShare, is_alive, jobs_on_record, make_config, served, wait_until


def _failed_with(share: ServedShare, name: str) -> dict[str, object]:
    share.until(lambda: (share.config.failed / name).exists() and not share.store.active())
    data = json.loads((share.config.failed / name / "error.json").read_text())
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize(
    ("behave", "worker", "code"),
    [
        ({"kill": 1}, {}, "MODEL_CRASHED"),
        ({"exit": 3}, {}, "MODEL_CRASHED"),
        ({"hang": 1}, {"job_timeout_s": 0.6}, "MODEL_TIMEOUT"),
        ({"hang": 1}, {"stage_timeout_s": 0.6}, "MODEL_TIMEOUT"),
        ({"work_s": 60}, {"stage_timeout_s": 0.6}, "MODEL_TIMEOUT"),
        ({"freeze": 1}, {"heartbeat_timeout_s": 2.0}, "MODEL_TIMEOUT"),
        ({"hang_in_c": 1}, {"heartbeat_timeout_s": 2.0}, "MODEL_TIMEOUT"),
        ({"allocate": 4 << 30}, {"memory_bytes": 1 << 30}, "MODEL_OUT_OF_MEMORY"),
        ({"builtin": "MemoryError"}, {}, "MODEL_OUT_OF_MEMORY"),
        ({"raise": "OutOfGpuMemory"}, {}, "MODEL_OUT_OF_GPU_MEMORY"),
    ],
)
def test_a_fault_that_repeats_fails_after_two_attempts(
    tmp_path: Path, behave: dict[str, object], worker: dict[str, object], code: str
) -> None:
    """Each kind of fault is tried twice, ends with its code, and the next job runs."""
    with served(tmp_path, worker=worker) as share:
        fakes.write_job(share.config.inbox / "bad", behave)
        content = _failed_with(share, "bad")
        assert (content["code"], content["attempts"]) == (code, 2)
        assert content["suggestion"]
        if "timeout_s" not in str(worker):
            fakes.write_job(share.config.inbox / "good")
            share.until((share.config.done / "good").exists)


def test_results_that_grow_too_large_stop_the_job(tmp_path: Path) -> None:
    """A model that fills the disk is ended while it writes, long before its time limit."""
    with served(tmp_path, worker={"output_bytes": 1 << 20}) as share:
        fakes.write_job(share.config.inbox / "flood", {"flood": 8 << 20, "hang": 1})
        content = _failed_with(share, "flood")
        assert (content["code"], content["attempts"]) == ("INTERNAL_ERROR", 1)
        assert "worker.output_bytes" in str(content["message"])
        fakes.write_job(share.config.inbox / "good")
        share.until((share.config.done / "good").exists)


def test_a_fault_that_passes_costs_one_attempt(tmp_path: Path) -> None:
    """A worker that dies once is replaced and the job ends in done/ with its second attempt."""
    with served(tmp_path) as share:
        fakes.write_job(share.config.inbox / "shoe", {"once": str(tmp_path / "once"), "kill": 1})
        share.until((share.config.done / "shoe").exists)
        assert json.loads((share.config.done / "shoe/result.json").read_text())["attempts"] == 2


@pytest.mark.parametrize("behave", [{"raise": "GpuUnavailable"}, {"cuda": 1}, {"raise": "DiskFull"}])
def test_a_passing_trouble_waits_visibly_and_costs_no_attempt(
    tmp_path: Path, behave: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job stays in inbox/, says what it waits for, and runs when the trouble is over."""
    # Longer than the second between two status files, which a shorter wait might fall between.
    monkeypatch.setattr(filing, "FIRST_PAUSE_S", 2.5)
    with served(tmp_path) as share:
        folder = fakes.write_job(share.config.inbox / "shoe", behave | {"once": str(tmp_path / "once")})
        share.until(lambda: "waiting_for" in _status(folder))
        assert _status(folder)["waiting_for"]["transient"] is True  # type: ignore[index]
        share.until((share.config.done / "shoe").exists)
        assert json.loads((share.config.done / "shoe/result.json").read_text())["attempts"] == 1


def _status(folder: Path) -> dict[str, object]:
    try:
        data = json.loads((folder / "status.json").read_text())
    except FileNotFoundError:
        return {}
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize(
    ("error", "code"),
    [("GpuUnavailable", "GPU_UNAVAILABLE"), ("DiskFull", "DISK_FULL"), ("OutputNotWritable", "OUTPUT_NOT_WRITABLE")],
)
def test_a_trouble_that_never_passes_fails_in_the_end(tmp_path: Path, error: str, code: str) -> None:
    """After give_up_after_s the job comes back with the trouble's own code."""
    with served(tmp_path, intake={"give_up_after_s": 0.2}) as share:
        fakes.write_job(share.config.inbox / "shoe", {"raise": error})
        assert _failed_with(share, "shoe")["code"] == code


def test_an_unexpected_exception_is_an_internal_error(tmp_path: Path) -> None:
    """A mistake of ours is said to be one, with the traceback in log.jsonl; the worker stays."""
    with served(tmp_path) as share:
        fakes.write_job(share.config.inbox / "shoe", {"builtin": "KeyError"})
        assert _failed_with(share, "shoe")["code"] == "INTERNAL_ERROR"
        assert "KeyError" in (share.config.failed / "shoe/log.jsonl").read_text()


def test_links_that_a_worker_leaves_are_not_published(tmp_path: Path) -> None:
    """A subverted worker cannot make the daemon copy a secret onto the share."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    with served(tmp_path) as share:
        fakes.write_job(share.config.inbox / "shoe", {"link": str(secret)})
        share.until(lambda: not share.store.active() and share.states())
        for folder, _, files in os.walk(share.config.root):
            for name in files:
                assert b"s3cret" not in Path(folder, name).read_bytes()


def test_the_daemon_survives_a_worker_that_cannot_start(tmp_path: Path) -> None:
    """A broken entry is an internal error of the job, not the end of the daemon."""
    with served(tmp_path, worker={"entry": "no_such_module:reconstruct", "preload": ["no_such_module"]}) as share:
        fakes.write_job(share.config.inbox / "shoe")
        assert _failed_with(share, "shoe")["code"] == "INTERNAL_ERROR"


def test_a_killed_daemon_takes_its_worker_along(tmp_path: Path) -> None:
    """No worker outlives the daemon that started it: it would hold the GPU."""
    config = make_config(tmp_path)
    fakes.write_job(config.inbox / "shoe", {"hang": 1})
    daemon = DaemonProcess(tmp_path)
    health = tmp_path / "state/health.json"
    assert wait_until(health.exists)
    assert wait_until(lambda: [job.state for job in jobs_on_record(tmp_path / "state")] == ["running"])
    assert wait_until(lambda: json.loads(health.read_text())["workers"][0]["job_id"])
    worker = json.loads(health.read_text())["workers"][0]["pid"]
    assert is_alive(worker)
    daemon.kill()
    assert wait_until(lambda: not is_alive(worker), 5)


def test_cancel_latency_is_short_while_a_batch_waits(tmp_path: Path) -> None:
    """Fifty waiting folders do not slow the answer to CANCEL."""
    with served(tmp_path, intake={"incomplete_after_s": 600.0}) as share:
        folder = fakes.write_job(share.config.inbox / "shoe", {"work_s": 600})
        share.until(lambda: share.states().get("shoe") == "running")
        for number in range(50):
            (share.config.inbox / f"empty{number}").mkdir()
        share.until(lambda: len(share.states()) == 51)
        started_s = time.monotonic()
        (folder / "CANCEL").touch()
        share.until((share.config.failed / "shoe").exists)
        assert time.monotonic() - started_s < 2.0
