"""Results appear on the share whole or not at all, and nothing of the user's is ever overwritten.

Everything is copied under a hidden name inside the job's own folder, flushed, renamed into place, and then the
folder itself moves to done/ or failed/.  Every step may be repeated after a crash: ``outcome.json`` is written
last into the hidden folder, so its presence there means that the copy is whole, and its presence under its public
name with this job's id means that only the move is left.
"""

import errno
import json
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from daemon import failpoints, folders, names
from daemon.identity import is_folder_of, staging_name
from daemon.jobs import Job, JobState
from daemon.mounts import rename_without_replacing

RESULTS, PREVIOUS = "results", "previous-results"
PAGE = "report.html"
OUTCOME_FILES = {JobState.DONE: "result.json", JobState.FAILED: "error.json", JobState.CANCELLED: "error.json"}
_STAGED_OUTCOME = "outcome.json"
_LOG = "log.jsonl"
_UNKNOWN_FLAG = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})


@dataclass(frozen=True)
class Publication:
    """What is to appear on the share.

    Attributes:
        outcome: The content of result.json or error.json; names the job.
        results_dir: What becomes results/, or None.
        job_dir: The job's private folder; its log.jsonl, if there is one, appears, too.
        is_zipped: Whether results/ also gets NAME.zip.
        page: What becomes results/report.html where there is no ``results_dir``; results bring their own.
    """

    job: Job
    outcome: dict[str, object]
    results_dir: Path | None
    job_dir: Path
    is_zipped: bool = False
    page: str = ""


class FolderGone(Exception):
    """The user deleted the folder: the job is withdrawn."""


def publish(root: Path, publication: Publication) -> str:
    """Put the outcome into the job's folder and move the folder.

    Args:
        root: The share.
        publication: May have been published in part before.

    Returns:
        Where the folder is now, relative to the root.

    Raises:
        FolderGone: The folder is neither in inbox/ nor where this job would have put it.
        OSError: The share is busy, full or away; call again.
    """
    job = publication.job
    assert job.outcome is not None
    target = "done" if job.outcome is JobState.DONE else "failed"
    # First: a folder dropped under the same name since must not be taken for ours.
    if found := find_published(root, target, job):
        return found
    try:
        with folders.opened(root, f"inbox/{job.folder}") as folder_fd:
            if not is_folder_of(folder_fd, job, publication.job_dir):
                raise FolderGone(job.folder)
            _place(folder_fd, publication)
            _clean(folder_fd, job.outcome)
        return _move(root, target, job)
    except FileNotFoundError:
        if _exists_below(root, f"inbox/{job.folder}"):
            raise
        raise FolderGone(job.folder) from None


def _exists_below(root: Path, relative: str) -> bool:
    try:
        with folders.opened(root, relative):
            return True
    except FileNotFoundError:
        return False


def _place(folder_fd: int, publication: Publication) -> None:
    job = publication.job
    assert job.outcome is not None
    outcome_file = OUTCOME_FILES[job.outcome]
    if folders.read_own_json(folder_fd, outcome_file).get("job_id") == job.job_id:
        folders.remove_tree(folder_fd, staging_name(job))
        return
    _stage(folder_fd, publication)
    with folders.opened(folder_fd, staging_name(job)) as staging_fd:
        clear_previous(folder_fd, job.job_id, is_results_placed=not _exists(staging_fd, RESULTS))
        failpoints.hit("before:results-placed")
        for name in (RESULTS, _LOG):
            if _exists(staging_fd, name):
                os.rename(name, name, src_dir_fd=staging_fd, dst_dir_fd=folder_fd)
        os.fsync(folder_fd)
        failpoints.hit("after:results-placed")
        failpoints.hit("before:outcome-placed")
        os.rename(_STAGED_OUTCOME, outcome_file, src_dir_fd=staging_fd, dst_dir_fd=folder_fd)
        os.fsync(folder_fd)
        failpoints.hit("after:outcome-placed")
    folders.remove_tree(folder_fd, staging_name(job))


def _stage(folder_fd: int, publication: Publication) -> None:
    staging = staging_name(publication.job)
    if _exists(folder_fd, f"{staging}/{_STAGED_OUTCOME}"):
        return
    folders.remove_tree(folder_fd, staging)
    failpoints.hit("before:stage-created")
    os.mkdir(staging, 0o770, dir_fd=folder_fd)
    failpoints.hit("after:stage-created")
    failpoints.hit("before:stage-copied")
    with folders.opened(folder_fd, staging) as staging_fd:
        folders.adopt(staging_fd, folder_fd)
        if publication.results_dir is not None:
            _copy_tree(publication.results_dir, staging_fd, RESULTS)
            if publication.is_zipped:
                _zip_results(publication, staging_fd)
        elif publication.page:
            _write_page(publication.page, staging_fd)
        with suppress(FileNotFoundError), (publication.job_dir / _LOG).open("rb") as source:
            _copy_file(source, staging_fd, _LOG)
        failpoints.hit("after:stage-copied")
        failpoints.hit("before:stage-synced")
        os.fsync(staging_fd)
        data = json.dumps(publication.outcome, indent=1, ensure_ascii=True, default=str).encode() + b"\n"
        folders.write_file(staging_fd, _STAGED_OUTCOME, data, is_durable=True)
        failpoints.hit("after:stage-synced")


def _write_page(page: str, staging_fd: int) -> None:
    os.mkdir(RESULTS, 0o770, dir_fd=staging_fd)
    with folders.opened(staging_fd, RESULTS) as results_fd:
        folders.adopt(results_fd, staging_fd)
        folders.write_file(results_fd, PAGE, page.encode("utf-8", "replace"), is_durable=True)


def clear_previous(folder_fd: int, job_id: str, *, is_results_placed: bool = False) -> None:
    """Take away what an earlier run of the same folder left: its outcome files go, its results are kept aside.

    Args:
        folder_fd: The job's folder.
        job_id: Of the present run.
        is_results_placed: Whether ``results`` belongs to the present run already.
    """
    failpoints.hit("before:own-files-removed")
    is_run_again = False
    for name in {*OUTCOME_FILES.values()}:
        earlier = folders.read_own_json(folder_fd, name).get("job_id")
        if earlier and earlier != job_id:
            is_run_again = True
            folders.remove_name(folder_fd, name)
            folders.remove_name(folder_fd, _LOG)
    if not is_results_placed and _exists(folder_fd, RESULTS):
        if is_run_again and _holds_only_page(folder_fd):
            folders.remove_tree(folder_fd, RESULTS)
        else:
            rename_numbered(folder_fd, RESULTS, folder_fd, PREVIOUS)
    failpoints.hit("after:own-files-removed")


def _holds_only_page(folder_fd: int) -> bool:
    """Whether results/ is what a failed run left: a page that the next run makes obsolete."""
    with folders.opened(folder_fd, RESULTS) as results_fd:
        return os.listdir(results_fd) == [PAGE]


def _clean(folder_fd: int, outcome: JobState) -> None:
    """Take the daemon's passing files away; keep CANCEL from cancelling the next run."""
    failpoints.hit("before:inbox-cleaned")
    for name in os.listdir(folder_fd):
        word = names.control_word(name)
        if name in {"status.json", "preview.png"} or word == "retry":
            folders.remove_name(folder_fd, name)
        elif word == "cancel" and outcome is JobState.CANCELLED:
            rename_numbered(folder_fd, name, folder_fd, f"CANCELLED{name[len('cancel') :]}")
        elif word == "cancel":
            folders.remove_name(folder_fd, name)
        elif name.startswith(names.STAGING_PREFIX):
            folders.remove_tree(folder_fd, name)
    failpoints.hit("after:inbox-cleaned")


def _move(root: Path, target: str, job: Job) -> str:
    assert job.outcome is not None
    batch, _, name = job.folder.rpartition("/")
    failpoints.hit("before:folder-moved")
    with (
        folders.opened(root, "/".join(filter(None, ("inbox", batch)))) as source_fd,
        folders.opened(root, target) as top_fd,
    ):
        with _batch_folder(top_fd, batch) as target_fd:
            placed = rename_numbered(source_fd, name, target_fd, name)
            # Another folder may have taken the name since the outcome was placed: it has none.
            if not _exists(target_fd, f"{placed}/{OUTCOME_FILES[job.outcome]}"):
                with suppress(FileNotFoundError):
                    rename_numbered(target_fd, placed, source_fd, name)
                    raise FolderGone(job.folder)
            os.fsync(target_fd)
        os.fsync(source_fd)
    failpoints.hit("after:folder-moved")
    return "/".join(filter(None, (target, batch, placed)))


@contextmanager
def _batch_folder(parent_fd: int, batch: str) -> Iterator[int]:
    if not batch:
        yield parent_fd
        return
    with suppress(FileExistsError):
        os.mkdir(batch, 0o770, dir_fd=parent_fd)
    with folders.opened(parent_fd, batch) as batch_fd:
        folders.adopt(batch_fd, parent_fd)
        yield batch_fd


def rename_numbered(source_fd: int, source: str, target_fd: int, target: str) -> str:
    """Rename to ``target``, or to ``target~2``, ``target~3`` ... if that is taken; nothing is ever replaced.

    Returns:
        The name that was free.
    """
    number = 1
    while True:
        wanted = names.numbered(target, number)
        try:
            _rename_if_free(source_fd, source, target_fd, wanted)
        except OSError as error:
            # A share that does not know the flag renames a folder onto an empty one and refuses a full one.
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
            number += 1
        else:
            return wanted


def _rename_if_free(source_fd: int, source: str, target_fd: int, target: str) -> None:
    try:
        rename_without_replacing(source_fd, source, target_fd, target)
    except OSError as error:
        if error.errno not in _UNKNOWN_FLAG:
            raise
        # Without the kernel's help the check and the rename are two steps; only this daemon writes to the target.
        if _exists(target_fd, target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)


def find_published(root: Path, target: str, job: Job) -> str | None:
    """Where an earlier, interrupted attempt has already moved the folder."""
    assert job.outcome is not None
    batch, _, name = job.folder.rpartition("/")
    number = 1
    while True:
        place = "/".join(filter(None, (target, batch, names.numbered(name, number))))
        try:
            with folders.opened(root, place) as folder_fd:
                if folders.read_own_json(folder_fd, OUTCOME_FILES[job.outcome]).get("job_id") == job.job_id:
                    return place
        except FileNotFoundError:
            return None
        number += 1


def _copy_tree(source: Path, parent_fd: int, name: str) -> None:
    os.mkdir(name, 0o770, dir_fd=parent_fd)
    with folders.opened(parent_fd, name) as target_fd:
        folders.adopt(target_fd, parent_fd)
        for entry in sorted(os.scandir(source), key=lambda item: item.name):
            if entry.is_dir(follow_symlinks=False):
                _copy_tree(Path(entry.path), target_fd, entry.name)
            elif entry.is_file(follow_symlinks=False):
                with os.fdopen(os.open(entry.path, folders.FILE_FLAGS), "rb") as stream:
                    _copy_file(stream, target_fd, entry.name)
        os.fsync(target_fd)


def _copy_file(source: BinaryIO, folder_fd: int, name: str) -> None:
    with _created(folder_fd, name) as target:
        while block := source.read(1 << 20):
            target.write(block)


@contextmanager
def _created(folder_fd: int, name: str) -> Iterator[BinaryIO]:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o660, dir_fd=folder_fd), "w+b") as target:
        folders.adopt(target.fileno(), folder_fd)
        yield target
        target.flush()
        os.fsync(target.fileno())


def _zip_results(publication: Publication, staging_fd: int) -> None:
    assert publication.results_dir is not None
    base = publication.results_dir
    name = names.portable(publication.job.folder.rpartition("/")[2]) + ".zip"
    with (
        folders.opened(staging_fd, RESULTS) as results_fd,
        _created(results_fd, name) as target,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for file in sorted(base.rglob("*")):
            if stat.S_ISREG(file.lstat().st_mode):
                archive.write(file, file.relative_to(base))


def _exists(folder_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
