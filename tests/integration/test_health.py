"""health.json and meshdrop health tell what is really wrong, and metrics.prom counts what really happened."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

import fakes
from daemon.cli import app
from daemon.errors import ExitCode
from served import ServedShare, served


def problems(share: ServedShare) -> list[str]:
    """What the daemon says of itself now."""
    share.supervisor.board.write_health()
    return list(json.loads((share.config.state / "health.json").read_text())["problems"])


def exit_code(share: ServedShare) -> int:
    """Of meshdrop health."""
    places = ["--root", str(share.config.root), "--state", str(share.config.state)]
    return CliRunner().invoke(app, ["health", *places]).exit_code


def until_said(share: ServedShare, is_true: Callable[[list[str]], bool]) -> None:
    """Turn the loop until the daemon says so."""
    share.until(lambda: is_true(problems(share)), 120)


@pytest.mark.slow
def test_the_worker_tries_its_gpu(tmp_path: Path) -> None:
    """The probe of a real worker: versions, what each model needs, and no GPU on a machine without one."""
    with served(tmp_path, worker={"preload": ["torch"]}) as share:
        share.until(lambda: share.supervisor.dispatch.executors[0].is_idle, 120)
        report = share.supervisor.board.health.report("")
    worker = report["workers"][0]
    assert (worker["is_alive"], worker["starts"], worker["probe"]["error"]) == (True, 1, "")
    assert abs(worker["probe"]["time_s"] - time.time()) < 120
    assert report["models"]["nvdiffrec"]["min_gpu_memory_bytes"] == 12 * 2**30
    assert set(report["versions"]) >= {"meshdrop", "python", "torch"}
    assert report["problems"] == []


@pytest.mark.slow
def test_a_gpu_that_fails_is_said_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs wait, the worker is started again and again, health names the GPU, and all goes on when it is back."""
    broken = tmp_path / "broken"
    broken.touch()
    monkeypatch.setenv("FAILING_GPU", str(broken))
    with served(tmp_path, worker={"preload": ["torch", "failing_gpu"]}) as share:
        fakes.write_job(share.config.inbox / "shoe")
        until_said(share, lambda said: "the worker cannot use its GPU: RuntimeError: CUDA error: unknown error" in said)
        assert exit_code(share) == ExitCode.UNHEALTHY
        assert share.states()["shoe"] in {"waiting", "queued"}
        broken.unlink()
        share.until((share.config.done / "shoe").exists, 120)
        assert problems(share) == []
        assert share.job("shoe").attempts == 1


@pytest.mark.needs("root", "mount")
def test_a_share_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Mounted read-only it can still be listed; only writing tells."""
    with served(tmp_path) as share:
        share.until((share.config.state / "health.json").exists)
        assert problems(share) == []
        root = str(share.config.root)
        subprocess.run(["mount", "--bind", root, root], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", root], check=True)
            share.supervisor.board.health._next_write_test_s = 0.0
            assert problems(share) == ["the share cannot be written: Read-only file system"]
            assert exit_code(share) == ExitCode.UNHEALTHY
        finally:
            subprocess.run(["umount", root], check=True)
        share.supervisor.board.health._next_write_test_s = 0.0
        assert problems(share) == []
        assert exit_code(share) == ExitCode.OK
        assert [path.name for path in share.config.root.iterdir() if "health" in path.name] == []


def test_a_share_that_is_gone_is_said(tmp_path: Path) -> None:
    """Without the sentinel the share is offline, and its disk is not measured."""
    with served(tmp_path) as share:
        sentinel = share.config.root / ".meshdrop"
        share.until((share.config.state / "health.json").exists)
        sentinel.rename(tmp_path / "sentinel")
        until_said(share, lambda said: any("is offline" in problem for problem in said))
        metrics = (share.config.state / "metrics.prom").read_text()
        assert "meshdrop_online 0.0" in metrics
        assert 'folder="share"' not in metrics
        (tmp_path / "sentinel").rename(sentinel)
        until_said(share, lambda said: said == [])


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """Below disk.min_free_bytes no job is taken, and health says why."""
    with served(tmp_path, disk={"min_free_bytes": 1 << 60}) as share:
        share.until((share.config.state / "health.json").exists)
        assert [problem.split()[0] for problem in problems(share)] == ["state", "share"]


def test_a_stopped_daemon_is_not_healthy(tmp_path: Path) -> None:
    """An orderly stop is said at once, without waiting for the file to grow old."""
    with served(tmp_path) as share:
        share.until((share.config.state / "health.json").exists)
        assert exit_code(share) == ExitCode.OK
    assert exit_code(share) == ExitCode.UNHEALTHY


def test_metrics_count_what_happened(tmp_path: Path) -> None:
    """Outcomes, errors by code, waiting and running times, and states that are empty again are 0."""
    with served(tmp_path) as share:
        fakes.write_job(share.config.inbox / "good")
        fakes.write_job(share.config.inbox / "bad", {"raise": "ObjectNotFound"})
        share.until(lambda: set(share.states().values()) == {"done", "failed"} and not share.store.active())
        share.supervisor.board.write_health()
        text = (share.config.state / "metrics.prom").read_text()
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["meshdrop_jobs_ended_total", "done", "nvdiffrec"] == 1
    assert samples["meshdrop_jobs_ended_total", "failed", "nvdiffrec"] == 1
    assert samples["meshdrop_errors_total", "OBJECT_NOT_FOUND"] == 1
    assert samples["meshdrop_jobs", "done"] == samples["meshdrop_jobs", "failed"] == 1
    assert samples["meshdrop_jobs", "waiting"] == samples["meshdrop_jobs", "running"] == 0
    assert samples["meshdrop_job_seconds_count", "nvdiffrec"] == 2
    assert 0 < samples["meshdrop_job_seconds_sum", "nvdiffrec"] < 60
    assert samples["meshdrop_queue_wait_seconds_count",] == 2
    assert samples["meshdrop_stage_seconds_count", "nvdiffrec", "texture"] == 1
    assert samples["meshdrop_stage_seconds_sum", "nvdiffrec", "texture"] == pytest.approx(0.25)
    assert samples["meshdrop_healthy",] == samples["meshdrop_share_writable",] == 1
    with served(tmp_path) as share:
        share.supervisor.board.write_health()
        text = (share.config.state / "metrics.prom").read_text()
    # After a restart the table is still counted whole; what is counted since the start begins again.
    assert 'meshdrop_jobs{state="done"} 1.0' in text
    assert "meshdrop_jobs_ended_total{" not in text
    assert 0 <= time.time() - samples["meshdrop_last_scan_timestamp_seconds",] < 60
    assert samples["meshdrop_resident_bytes",] > 1 << 20
