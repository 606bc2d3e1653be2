"""The daemon is killed before and after every step of a job; the job ends once, in one place, with everything."""

import json
import os
from functools import partial
from pathlib import Path

import pytest

import fakes
from audit import Tally
from daemon.failpoints import FAILPOINTS, STEPS
from served import PATIENCE_S, DaemonProcess, drop, jobs_on_record, make_config, wait_until

FASTER: dict[str, object] = {"settle_s": 0.05}


def _outcomes(base: Path) -> list[Path]:
    """Every folder on the share that carries an outcome."""
    names = ("result.json", "error.json")
    # Not Path.rglob, which fails where the daemon takes a folder away meanwhile.
    walk = os.walk(base / "share")
    return sorted(Path(folder) for folder, _, files in walk for name in names if name in files)


@pytest.mark.fault("kill -9 of the daemon", "before and after every step of a job")
@pytest.mark.parametrize("failpoint", [name for name in FAILPOINTS if "run-finished" not in name])
def test_a_kill_of_the_daemon_at_any_step_loses_and_doubles_nothing(
    tmp_path: Path, failpoint: str, tally: Tally
) -> None:
    """After kill -9 at this step and a restart there is exactly one folder, in done/, with its results."""
    killed = DaemonProcess(tmp_path, {"MESHDROP_FAILPOINT": failpoint}, intake=FASTER)
    drop(tmp_path, failpoint)
    try:
        assert killed.wait(PATIENCE_S) == -9, "the failpoint was never reached"
    finally:
        killed.kill()
    restarted = DaemonProcess(tmp_path, intake=FASTER)
    try:
        done = tmp_path / "share/done/shoe"
        assert wait_until(lambda: (done / "result.json").exists() and _all_ended(tmp_path))
    finally:
        restarted.stop()
    assert _outcomes(tmp_path) == [done]
    assert (done / "results/nvdiffrec/mesh.glb").exists()
    inputs = {"shoe.zip"} if "archive" in failpoint else set(fakes.JOB_FILES)
    assert set(os.listdir(done)) == inputs | {"log.jsonl", "result.json", "results"}
    assert os.listdir(tmp_path / "share/inbox") == os.listdir(tmp_path / "share/failed") == []
    assert os.listdir(tmp_path / "state/work") == []
    recorded = jobs_on_record(tmp_path / "state")
    assert [(job.state, job.destination) for job in recorded] == [("done", "done/shoe")]
    assert json.loads((done / "result.json").read_text())["job_id"] == recorded[0].job_id
    tally(make_config(tmp_path), ["shoe"])


def _all_ended(base: Path) -> bool:
    return all(not job.is_active for job in jobs_on_record(base / "state"))


@pytest.mark.fault("kill -9 of the worker", "before and after its last step, in every attempt")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_of_the_worker_costs_attempts_and_ends_once(tmp_path: Path, when: str, tally: Tally) -> None:
    """A worker that dies at its last step every time ends in failed/ with MODEL_CRASHED after two attempts."""
    daemon = DaemonProcess(tmp_path, {"MESHDROP_FAILPOINT": f"{when}:run-finished"}, intake=FASTER)
    drop(tmp_path, "")
    try:
        error = tmp_path / "share/failed/shoe/error.json"
        assert wait_until(lambda: error.exists() and _all_ended(tmp_path))
    finally:
        daemon.stop()
    content = json.loads(error.read_text())
    assert (content["code"], content["attempts"]) == ("MODEL_CRASHED", 2)
    assert _outcomes(tmp_path) == [error.parent]
    tally(make_config(tmp_path), ["shoe"])


def test_a_job_interrupted_too_often_fails(tmp_path: Path) -> None:
    """A job during which the daemon died max_attempts times ends with JOB_INTERRUPTED."""
    drop(tmp_path, "")
    (tmp_path / "share/inbox/shoe/behave.json").write_text('{"work_s": 600}')
    for attempt in (1, 2):
        daemon = DaemonProcess(tmp_path, intake=FASTER)
        try:
            assert wait_until((tmp_path / "state/health.json").exists)
            assert wait_until(partial(_is_running, tmp_path, attempt))
        finally:
            daemon.kill()
    daemon = DaemonProcess(tmp_path, intake=FASTER)
    try:
        error = tmp_path / "share/failed/shoe/error.json"
        assert wait_until(error.exists)
    finally:
        daemon.stop()
    assert json.loads(error.read_text())["code"] == "JOB_INTERRUPTED"


def _is_running(base: Path, attempt: int) -> bool:
    return [(job.state.value, job.attempts) for job in jobs_on_record(base / "state")] == [("running", attempt)]


def test_a_clean_stop_costs_no_attempt(tmp_path: Path) -> None:
    """SIGTERM during a job puts it back into the queue; the next daemon runs it as the first attempt."""
    drop(tmp_path, "")
    (tmp_path / "share/inbox/shoe/behave.json").write_text(json.dumps({"once": str(tmp_path / "o"), "work_s": 600}))
    daemon = DaemonProcess(tmp_path, intake=FASTER)
    assert wait_until((tmp_path / "o").exists), "the job never ran"
    daemon.stop()
    assert [(job.state.value, job.attempts) for job in jobs_on_record(tmp_path / "state")] == [("queued", 0)]
    daemon = DaemonProcess(tmp_path, intake=FASTER)
    try:
        result = tmp_path / "share/done/shoe/result.json"
        assert wait_until(lambda: result.exists() and _all_ended(tmp_path))
    finally:
        daemon.stop()
    assert json.loads(result.read_text())["attempts"] == 1


def test_the_same_name_dropped_after_a_kill_is_another_job(tmp_path: Path) -> None:
    """Killed between the move and its record, with a new folder of the same name dropped: both come back."""
    killed = DaemonProcess(tmp_path, {"MESHDROP_FAILPOINT": "before:publish-recorded"}, intake=FASTER)
    drop(tmp_path, "")
    assert killed.wait(PATIENCE_S) == -9
    drop(tmp_path, "")
    daemon = DaemonProcess(tmp_path, intake=FASTER)
    try:
        assert wait_until(lambda: len(_outcomes(tmp_path)) == 2 and _all_ended(tmp_path))
    finally:
        daemon.stop()
    assert [folder.name for folder in _outcomes(tmp_path)] == ["shoe", "shoe~2"]
    ids = {json.loads((folder / "result.json").read_text())["job_id"] for folder in _outcomes(tmp_path)}
    assert ids == {job.job_id for job in jobs_on_record(tmp_path / "state")}


def test_every_failpoint_is_in_the_code() -> None:
    """The list of steps and the calls in the code are the same, so that the walk leaves nothing out."""
    code = "".join(file.read_text() for file in (Path(__file__).parents[2] / "daemon").glob("*.py"))
    placed = {step for step in STEPS if f'"before:{step}"' in code and f'"after:{step}"' in code}
    assert placed == set(STEPS)
