"""Removing old outcomes from the share; off unless the operator asks for it."""

import shutil

import structlog

from daemon import folders
from daemon.config import Config
from daemon.jobs import Job, JobState
from daemon.publish import OUTCOME_FILES
from daemon.store import Store

log = structlog.get_logger()

REMOVALS_PER_ROUND = 20


def remove_expired(config: Config, store: Store, now_s: float) -> None:
    """Delete outcome folders whose time is over, and the oldest ones while the share lacks space.

    Only folders that the table knows, at the place where it put them, whose outcome file still names the job: what
    somebody moved or made there is never touched.

    Args:
        config: How long each kind is kept, and how much space must stay free.
        store: Knows what ended when.
        now_s: Unix time.
    """
    kept_s = {
        JobState.DONE: config.retention.done_after_s,
        JobState.FAILED: config.retention.failed_after_s,
        JobState.CANCELLED: config.retention.failed_after_s,
    }
    for state, keep_s in kept_s.items():
        if keep_s:
            for job in store.ended_before(state, now_s - keep_s, REMOVALS_PER_ROUND):
                _remove(config, store, job)
    if config.retention.min_free_bytes:
        for job in store.oldest_ended(REMOVALS_PER_ROUND):
            if shutil.disk_usage(config.root).free >= config.retention.min_free_bytes:
                return
            _remove(config, store, job)


def _remove(config: Config, store: Store, job: Job) -> None:
    parent, _, name = job.destination.rpartition("/")
    try:
        with folders.opened(config.root, parent) as parent_fd:
            with folders.opened(parent_fd, name) as folder_fd:
                is_ours = folders.read_own_json(folder_fd, OUTCOME_FILES[job.state]).get("job_id") == job.job_id
            if is_ours:
                folders.remove_tree(parent_fd, name)
                log.info("outcome removed", job_id=job.job_id, place=job.destination)
    except FileNotFoundError:
        log.debug("outcome was gone already", job_id=job.job_id)
    except OSError as error:
        log.warning("outcome cannot be removed", job_id=job.job_id, reason=str(error))
        return
    store.update(job, destination="")
