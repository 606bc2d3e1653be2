"""A folder's way through the real daemon with real worker processes and a fake model."""

import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

import fakes
from daemon.jobs import JobState
from served import ServedShare, error_of, inbox, served, status_in


def test_a_complete_folder_comes_back_with_results(tmp_path: Path) -> None:
    """A dropped folder ends in done/ with the user's files, results/ and result.json, and nothing else of ours."""
    with served(tmp_path) as share:
        fakes.write_job(inbox(share, "shoe"))
        share.until(lambda: (share.config.done / "shoe").exists() and not share.store.active())
        done = share.config.done / "shoe"
        assert sorted(os.listdir(done)) == sorted([*fakes.JOB_FILES, "log.jsonl", "result.json", "results"])
        assert (done / "results/nvdiffrec/mesh.glb").read_bytes() == b"glTF" + bytes(1000)
        result = json.loads((done / "result.json").read_text())
        job = share.job("shoe")
        assert (result["job_id"], result["state"]) == (job.job_id, "done")
        assert result["reconstruction"]["verdict"] == "normal"
        assert set(result["input"]["files"]) == set(fakes.JOB_FILES)
        states = [event.to_state for event in share.store.events(job.job_id)]
        assert states == ["waiting", "queued", "running", "publishing", "done"]
        assert os.listdir(share.config.inbox) == []
        assert os.listdir(share.config.work) == []


def test_two_jobs_share_one_warm_worker(tmp_path: Path) -> None:
    """The worker process is the same for the next job, until it has done its number of jobs."""
    with served(tmp_path, worker={"max_jobs": 2}) as share:
        for name in ("a", "b", "c"):
            fakes.write_job(inbox(share, name))
        share.until(lambda: len(os.listdir(share.config.done)) == 3 and not share.store.active())
        pids = [job.summary["pid"] for job in sorted(share.store.recent(3), key=lambda job: job.started_at_s or 0)]
        assert pids[0] == pids[1] != pids[2]


def test_status_tells_what_is_missing_and_how_far(tmp_path: Path) -> None:
    """While a folder waits, status.json names the missing files and the incomplete one with its fraction."""
    with served(tmp_path, intake={"incomplete_after_s": 600.0, "damaged_after_s": 600.0}) as share:
        folder = fakes.write_job(inbox(share, "shoe"))
        (folder / "depth_05.png").unlink()
        whole = fakes.png(64, 64, 3)
        (folder / "depth_03.png").write_bytes(whole[:-20])
        # The first status may be from before the first look into the folder.
        share.until(lambda: status_in(folder).get("missing") and status_in(folder).get("unfinished"))
        status = status_in(folder)
        assert status["state"] == "waiting"
        assert any("depth_05" in name for name in status["missing"])
        assert status["unfinished"][0]["file"] == "depth_03.png"
        assert 0 < status["unfinished"][0]["fraction"] < 1
        (folder / "depth_03.png").write_bytes(whole)
        (folder / "depth_05.png").write_bytes(whole)
        share.until((share.config.done / "shoe").exists)


def test_moving_a_failed_folder_back_runs_it_again(tmp_path: Path) -> None:
    """A cancelled folder dragged back into inbox/ is a new job; our own files are not taken for input."""
    with served(tmp_path) as share:
        folder = fakes.write_job(inbox(share, "shoe"), {"work_s": 600})
        share.until(lambda: share.states().get("shoe") == "running")
        (folder / "CANCEL").touch()
        share.until(lambda: (share.config.failed / "shoe").exists() and not share.store.active())
        first = share.job("shoe").job_id
        (share.config.failed / "shoe" / "behave.json").unlink()
        (share.config.failed / "shoe").rename(folder)
        share.until((share.config.done / "shoe").exists)
        assert share.job("shoe").job_id != first
        left = os.listdir(share.config.done / "shoe")
        assert "error.json" not in left
        assert "CANCELLED" in left


def test_retry_runs_a_done_folder_again_and_keeps_the_old_results(tmp_path: Path) -> None:
    """RETRY brings a folder back to the inbox; its earlier results are kept aside."""
    with served(tmp_path) as share:
        fakes.write_job(inbox(share, "shoe"))
        share.until(lambda: (share.config.done / "shoe").exists() and not share.store.active())
        first = json.loads((share.config.done / "shoe/result.json").read_text())["job_id"]
        (share.config.done / "shoe" / "retry.txt").touch()
        share.until(lambda: share.job("shoe").job_id != first and (share.config.done / "shoe").exists())
        share.until(lambda: not share.store.active())
        left = os.listdir(share.config.done / "shoe")
        assert {"results", "previous-results", "result.json"} <= set(left)
        assert "retry.txt" not in left
        assert json.loads((share.config.done / "shoe/result.json").read_text())["job_id"] != first


def test_deleting_a_waiting_folder_withdraws_it(tmp_path: Path) -> None:
    """A folder that is gone while the share is there is withdrawn."""
    with served(tmp_path, intake={"incomplete_after_s": 600.0}) as share:
        folder = fakes.write_job(inbox(share, "shoe"))
        (folder / "view_02.png").unlink()
        share.until(lambda: share.states().get("shoe") == "waiting")
        shutil.rmtree(folder)
        share.until(lambda: share.states().get("shoe") == "withdrawn")
        failure = share.job("shoe").failure
        assert failure is not None
        assert failure.code == "JOB_WITHDRAWN"


def test_deleting_a_running_folder_withdraws_it(tmp_path: Path) -> None:
    """The worker stops, nothing is published anywhere, the private files are removed."""
    with served(tmp_path) as share:
        folder = fakes.write_job(inbox(share, "shoe"), {"work_s": 600})
        share.until(lambda: share.states().get("shoe") == "running")
        shutil.rmtree(folder)
        share.until(lambda: share.states().get("shoe") == "withdrawn")
        assert os.listdir(share.config.done) == os.listdir(share.config.failed) == []


def test_renaming_a_folder_is_followed(tmp_path: Path) -> None:
    """A folder renamed inside inbox/ while it runs comes back under its new name, as the same job."""
    with served(tmp_path) as share:
        folder = fakes.write_job(inbox(share, "shoe"), {"until": str(tmp_path / "renamed")})
        share.until(lambda: share.states().get("shoe") == "running")
        job_id = share.job("shoe").job_id
        folder.rename(inbox(share, "boot"))
        share.until(lambda: share.states() == {"boot": "running"})
        (tmp_path / "renamed").touch()
        share.until(lambda: (share.config.done / "boot").exists() and not share.store.active())
        assert share.job("boot").job_id == job_id
        assert share.job("boot").attempts == 1


def test_a_new_folder_under_an_old_name_is_a_new_job(tmp_path: Path) -> None:
    """A folder deleted and dropped again between two scans is not confused with the first."""
    with served(tmp_path, intake={"incomplete_after_s": 600.0}) as share:
        folder = fakes.write_job(inbox(share, "shoe"))
        (folder / "view_02.png").unlink()
        share.until((folder / "status.json").exists)
        first = share.job("shoe").job_id
        folder.rename(tmp_path / "away")
        fakes.write_job(folder)
        share.until((share.config.done / "shoe").exists)
        assert share.job("shoe").job_id != first
        found = share.store.find(first)
        assert found is not None
        assert found.state is JobState.WITHDRAWN


def test_results_never_overwrite(tmp_path: Path) -> None:
    """The second and third folder of a name come back as NAME~2 and NAME~3; the first stays untouched."""
    with served(tmp_path) as share:
        (share.config.done / "shoe").mkdir()
        (share.config.done / "shoe" / "mine.txt").write_text("keep")
        (share.config.done / "shoe~2").mkdir()
        fakes.write_job(inbox(share, "shoe"))
        share.until((share.config.done / "shoe~3/result.json").exists)
        assert os.listdir(share.config.done / "shoe") == ["mine.txt"]
        assert os.listdir(share.config.done / "shoe~2") == []


def test_ready_takes_a_complete_folder_at_once(tmp_path: Path) -> None:
    """READY replaces the settle time."""
    with served(tmp_path, intake={"settle_s": 600.0}) as share:
        folder = fakes.write_job(inbox(share, "shoe"))
        share.until(lambda: share.states() == {"shoe": "waiting"})
        share.for_s(0.3)
        assert share.states() == {"shoe": "waiting"}
        (folder / "READY").touch()
        share.until((share.config.done / "shoe").exists)


def test_a_batch_comes_back_job_by_job(tmp_path: Path) -> None:
    """A folder of folders is a batch: every inner folder is a job and returns under the batch's name."""
    with served(tmp_path) as share:
        fakes.write_job(inbox(share, "monday") / "shoe")
        fakes.write_job(inbox(share, "monday") / "boot", {"raise": "ObjectNotFound"})
        share.until((share.config.done / "monday/shoe/result.json").exists)
        share.until(lambda: (share.config.failed / "monday/boot/error.json").exists() and not share.store.active())
        assert os.listdir(share.config.inbox) == []


def test_an_archive_is_a_job(tmp_path: Path) -> None:
    """NAME.zip comes back as done/NAME with the archive inside and the results of its pictures."""
    with served(tmp_path) as share:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for index, name in enumerate(fakes.JOB_FILES):
                archive.writestr(f"my shoe/{name}", fakes.png(grey=index))
            archive.writestr("__MACOSX/my shoe/._view_00.png", b"junk")
        inbox(share, "shoe.zip").write_bytes(packed.getvalue())
        share.until(lambda: (share.config.done / "shoe/result.json").exists() and not share.store.active())
        assert sorted(os.listdir(share.config.done / "shoe")) == ["log.jsonl", "result.json", "results", "shoe.zip"]
        result = json.loads((share.config.done / "shoe/result.json").read_text())
        assert set(result["input"]["files"]) == set(fakes.JOB_FILES)


def test_low_quality_fails_with_its_results(tmp_path: Path) -> None:
    """A verdict of failure ends in failed/ with QUALITY_TOO_LOW, and results/ is there to look at."""
    with served(tmp_path) as share:
        fakes.write_job(inbox(share, "shoe"), {"verdict": "failure"})
        share.until((share.config.failed / "shoe").exists)
        assert error_of(share, "shoe")["code"] == "QUALITY_TOO_LOW"
        assert (share.config.failed / "shoe/results/nvdiffrec/mesh.glb").exists()


def test_low_quality_may_be_kept(tmp_path: Path) -> None:
    """on_low_quality = "keep" sends the same job to done/, also as an archive if asked."""
    with served(tmp_path) as share:
        folder = fakes.write_job(inbox(share, "shoe"), {"verdict": "failure"})
        (folder / "job.toml").write_text('on_low_quality = "keep"\nzip = true\n')
        share.until((share.config.done / "shoe").exists)
        with zipfile.ZipFile(share.config.done / "shoe/results/shoe.zip") as archive:
            assert "nvdiffrec/mesh.glb" in archive.namelist()


def test_an_absent_share_loses_nothing(tmp_path: Path) -> None:
    """While the sentinel is away nothing is withdrawn; when it is back the jobs go on."""
    with served(tmp_path, intake={"incomplete_after_s": 600.0}) as share:
        folder = fakes.write_job(inbox(share, "shoe"))
        (folder / "view_02.png").unlink()
        share.until(lambda: share.states().get("shoe") == "waiting")
        share.config.root.rename(tmp_path / "unmounted")
        share.until(lambda: share.supervisor.board.offline_reason)
        share.for_s(0.2)
        assert share.states() == {"shoe": "waiting"}
        (tmp_path / "unmounted").rename(share.config.root)
        (folder / "view_02.png").write_bytes(fakes.png())
        share.until((share.config.done / "shoe").exists)
        assert not share.supervisor.board.offline_reason


def _are_ready(share: ServedShare, *names: str) -> bool:
    """Whether each of them could run if the worker were free: queued and copied."""
    by_name = {job.folder: job for job in share.store.active()}
    return all(name in by_name and by_name[name].state == "queued" and by_name[name].input_sha256 for name in names)


def test_priority_goes_first(tmp_path: Path) -> None:
    """Among queued jobs the one with the higher priority runs first."""
    with served(tmp_path, intake={"prefetch": 8}) as share:
        fakes.write_job(inbox(share, "running"), {"until": str(tmp_path / "all queued")})
        share.until(lambda: share.states().get("running") == "running")
        fakes.write_job(inbox(share, "low"))
        urgent = fakes.write_job(inbox(share, "urgent"))
        (urgent / "job.toml").write_text("priority = 5\n")
        share.until(lambda: _are_ready(share, "low", "urgent"))
        (tmp_path / "all queued").touch()
        share.until(lambda: len(os.listdir(share.config.done)) == 3)
        assert (share.job("urgent").started_at_s or 0) < (share.job("low").started_at_s or 0)


def test_owners_take_turns(tmp_path: Path) -> None:
    """Somebody's flood of folders does not keep somebody else's single folder waiting until it is through."""
    with served(tmp_path, intake={"prefetch": 8}) as share:
        fakes.write_job(inbox(share, "running"), {"until": str(tmp_path / "all queued")})
        share.until(lambda: share.states().get("running") == "running")
        for number in range(4):
            fakes.write_job(inbox(share, f"flood{number}"))
        share.until(lambda: list(share.states().values()).count("queued") == 4)
        single = fakes.write_job(tmp_path / "single")
        os.chown(single, 12345, -1)
        single.rename(inbox(share, "single"))
        share.until(lambda: _are_ready(share, "single", *(f"flood{number}" for number in range(4))))
        (tmp_path / "all queued").touch()
        share.until(lambda: len(os.listdir(share.config.done)) == 6 and not share.store.active())
        turns = sorted(share.store.recent(10), key=lambda job: job.started_at_s or 0.0)
        assert [job.folder for job in turns].index("single") <= 2


@pytest.mark.parametrize(
    "name",
    [b"caf\xe9", b"sho\xe2\x80\xaee", b"new\nline", b"-rf", b"a:b", b"A\xcc\x88", b"x" * 255, "schöne Schuhe".encode()],
)
def test_odd_names_are_served(tmp_path: Path, name: bytes) -> None:
    """Names that are not UTF-8, decomposed, bidirectional, with newlines or very long come back as the same bytes."""
    with served(tmp_path) as share:
        fakes.write_job(tmp_path / "drop")
        os.rename(tmp_path / "drop", os.fsencode(share.config.inbox) + b"/" + name)
        share.until(lambda: os.listdir(os.fsencode(share.config.done)) == [name])
        share.until(lambda: not share.store.active())
        share.for_s(0.1)
