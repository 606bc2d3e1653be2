"""Outcomes appear whole, never replace anything, and belong to the dropper."""

import json
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from daemon import folders
from daemon import publish as module
from daemon.errors import ErrorCode, Failure
from daemon.jobs import Job, JobState
from daemon.publish import FolderGone, Publication, clear_previous, publish
from daemon.share import create_share


@pytest.fixture
def root(tmp_path: Path) -> Path:
    create_share(tmp_path / "share")
    return tmp_path / "share"


def ready_to_publish(root: Path, name: str = "shoe", outcome: JobState = JobState.DONE) -> Publication:
    """A folder in the inbox, results beside the share, and the job that has made them."""
    folder = root / "inbox" / name
    folder.mkdir(parents=True)
    (folder / "view_00.png").write_bytes(b"user's")
    results = root.parent / "results"
    (results / "nvdiffrec").mkdir(parents=True, exist_ok=True)
    (results / "nvdiffrec" / "mesh.glb").write_bytes(b"glTF")
    failure = Failure(ErrorCode.JOB_CANCELLED, "m") if outcome is not JobState.DONE else None
    job = Job("id-1", name, JobState.PUBLISHING, outcome, inode=folder.stat().st_ino, failure=failure)
    is_done = outcome is JobState.DONE
    return Publication(job, {"job_id": "id-1"}, results if is_done else None, root.parent / "work")


def test_publishing_twice_is_publishing_once(root: Path) -> None:
    """The second call finds the folder where the first has put it."""
    publication = ready_to_publish(root)
    assert publish(root, publication) == publish(root, publication) == "done/shoe"
    assert sorted(os.listdir(root / "done/shoe")) == ["result.json", "results", "view_00.png"]


def test_a_new_folder_of_the_same_name_is_left_alone(root: Path) -> None:
    """What was dropped under the name of a published job stays in the inbox, untouched."""
    publication = ready_to_publish(root)
    publish(root, publication)
    (root / "inbox/shoe").mkdir()
    (root / "inbox/shoe/other.png").touch()
    assert publish(root, publication) == "done/shoe"
    assert os.listdir(root / "inbox/shoe") == ["other.png"]


def test_a_replaced_folder_is_not_ours(root: Path) -> None:
    """A folder deleted and dropped again before publishing belongs to another job."""
    publication = ready_to_publish(root)
    stranger = replace(publication.job, inode=1)
    with pytest.raises(FolderGone):
        publish(root, replace(publication, job=stranger))
    assert os.listdir(root / "inbox/shoe") == ["view_00.png"]


def test_inodes_may_change_on_network_mounts(root: Path) -> None:
    """Our own status.json in the folder proves that it is the same one."""
    publication = ready_to_publish(root)
    (root / "inbox/shoe/status.json").write_text('{"job_id": "id-1"}')
    assert publish(root, replace(publication, job=replace(publication.job, inode=1))) == "done/shoe"


def test_a_deleted_folder_is_gone(root: Path) -> None:
    """Nothing is published for a folder that the user has deleted."""
    publication = ready_to_publish(root)
    (root / "inbox/shoe/view_00.png").unlink()
    (root / "inbox/shoe").rmdir()
    with pytest.raises(FolderGone):
        publish(root, publication)
    assert os.listdir(root / "done") == []


def test_cancelled_jobs_can_be_dragged_back(root: Path) -> None:
    """CANCEL becomes CANCELLED, also beside an earlier one, and our passing files are gone."""
    publication = ready_to_publish(root, outcome=JobState.CANCELLED)
    for name in ("CANCEL", "CANCELLED", "status.json", "preview.png", "retry"):
        (root / "inbox/shoe" / name).write_text('{"job_id": "id-1"}')
    assert publish(root, publication) == "failed/shoe"
    assert sorted(os.listdir(root / "failed/shoe")) == ["CANCELLED", "CANCELLED~2", "error.json", "view_00.png"]


def test_the_users_own_results_are_kept(root: Path) -> None:
    """A folder named results that came with the drop moves aside."""
    publication = ready_to_publish(root)
    (root / "inbox/shoe/results").mkdir()
    (root / "inbox/shoe/results/mine").touch()
    publish(root, publication)
    assert os.listdir(root / "done/shoe/previous-results") == ["mine"]
    assert os.listdir(root / "done/shoe/results") == ["nvdiffrec"]


@pytest.mark.parametrize("is_flag_known", [True, False])
def test_nothing_is_replaced(root: Path, monkeypatch: pytest.MonkeyPatch, is_flag_known: bool) -> None:
    """Also where the file system does not know renames that refuse to replace."""
    if not is_flag_known:

        def unknown(*_: object) -> None:
            raise OSError(22, "Invalid argument")

        monkeypatch.setattr(module, "rename_without_replacing", unknown)
    (root / "done/shoe").mkdir()
    assert publish(root, ready_to_publish(root)) == "done/shoe~2"
    assert os.listdir(root / "done/shoe") == []


def test_results_belong_to_the_dropper(root: Path) -> None:
    """Another user who dropped a folder can read, change and delete everything in what comes back."""
    publication = ready_to_publish(root)
    (root / "inbox/shoe").chmod(0o2770)
    os.chown(root / "inbox/shoe", 4321, 4322)
    publish(root, publication)
    for folder, inner, files in os.walk(root / "done/shoe"):
        for name in [*inner, *files]:
            if name == "view_00.png":
                continue
            status = Path(folder, name).stat()
            assert (status.st_uid, status.st_gid) == (4321, 4322)
            assert stat.S_IMODE(status.st_mode) == (0o2770 if stat.S_ISDIR(status.st_mode) else 0o660)
    assert _unlinked_by(4321, root / "done/shoe/results/nvdiffrec/mesh.glb")
    assert not _unlinked_by(4399, root / "done/shoe/result.json")


def _unlinked_by(uid: int, file: Path) -> bool:
    """Whether a process of another user could delete the file."""
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(file.parent)
            os.setgroups([])
            os.setgid(uid + 1)
            os.setuid(uid)
            os.unlink(file.name)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_batch_is_rebuilt(root: Path) -> None:
    """The jobs of a batch come back below its name, and names are numbered inside it."""
    (root / "done/monday/shoe").mkdir(parents=True)
    assert publish(root, ready_to_publish(root, "monday/shoe")) == "done/monday/shoe~2"
    assert json.loads((root / "done/monday/shoe~2/result.json").read_text()) == {"job_id": "id-1"}


def test_failed_jobs_get_a_page(root: Path) -> None:
    """Without results the page lies where a result's page would, and belongs to the dropper like everything else."""
    publication = replace(ready_to_publish(root, outcome=JobState.FAILED), page="<p>caf\u00e9")
    assert publish(root, publication) == "failed/shoe"
    assert (root / "failed/shoe/results/report.html").read_text("utf-8") == "<p>caf\u00e9"
    assert os.listdir(root / "failed/shoe/results") == ["report.html"]


def test_the_page_of_a_failed_run_makes_room(root: Path) -> None:
    """When a failed folder runs again its old page goes; results of a run, and a page of the user's own, are kept."""
    folder = root / "inbox/shoe"
    for name, had_run, files, left in (
        ("page of ours", True, ["report.html"], []),
        ("results of ours", True, ["report.html", "nvdiffrec"], ["previous-results"]),
        ("page of the user's", False, ["report.html"], ["previous-results"]),
    ):
        (folder / "results").mkdir(parents=True)
        for file in files:
            (folder / "results" / file).touch()
        if had_run:
            (folder / "error.json").write_text('{"job_id": "earlier"}')
        with folders.opened(root, "inbox/shoe") as folder_fd:
            clear_previous(folder_fd, "id-1")
        assert os.listdir(folder) == left, name
        shutil.rmtree(folder)
