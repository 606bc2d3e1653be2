"""The job table was lost: what ended before is read back from done/ and failed/.

What waits in inbox/ needs no help, the scan finds it.  The outcome files lie where strangers may write, so nothing is
taken from them but an id of the known form, times and sentences to show.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import structlog

from daemon import folders
from daemon.errors import ErrorCode, failure_from_json
from daemon.jobs import Job, JobState, new_job_id
from daemon.publish import OUTCOME_FILES
from daemon.store import Store

log = structlog.get_logger()

_JOB_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{10}")
_AREAS = {"done": JobState.DONE, "failed": JobState.FAILED}


def adopt_outcomes(root: Path, store: Store) -> None:
    """Record every outcome on the share in an empty table."""
    if not store.is_empty():
        return
    ended: dict[str, Job] = {}
    for area, state in _AREAS.items():
        with suppress(OSError), folders.opened(root, area) as area_fd:
            for job in _outcomes(area_fd, area, state, is_batch_possible=True):
                ended.setdefault(job.job_id, job)
    if ended:
        store.adopt(list(ended.values()))
        log.warning("the job table was empty; outcomes on the share were recorded", jobs=len(ended))


def _outcomes(area_fd: int, area: str, state: JobState, *, is_batch_possible: bool) -> Iterator[Job]:
    for name in sorted(os.listdir(area_fd)):
        with suppress(OSError), folders.opened(area_fd, name) as folder_fd:
            content = folders.read_own_json(folder_fd, OUTCOME_FILES[state])
            if content:
                yield _job(content, f"{area}/{name}", state, os.fstat(folder_fd).st_mtime)
            elif is_batch_possible:
                yield from _outcomes(folder_fd, f"{area}/{name}", state, is_batch_possible=False)


def _job(content: dict[str, object], destination: str, state: JobState, changed_at_s: float) -> Job:
    job_id = str(content.get("job_id", ""))
    failure = failure_from_json(content) if state is JobState.FAILED else None
    is_cancelled = failure is not None and failure.code is ErrorCode.JOB_CANCELLED
    outcome = JobState.CANCELLED if is_cancelled else state
    finished_at_s = _unix_s(content.get("time")) or changed_at_s
    return Job(
        job_id if _JOB_ID.fullmatch(job_id) else new_job_id(changed_at_s),
        destination.partition("/")[2],
        state=outcome,
        outcome=outcome,
        created_at_s=_unix_s(content.get("created")) or finished_at_s,
        queued_at_s=_unix_s(content.get("queued")),
        started_at_s=_unix_s(content.get("started")),
        finished_at_s=finished_at_s,
        failure=failure,
        destination=destination,
    )


def _unix_s(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return None
