"""The outcome of a job in the words of docs/job-folder.md: result.json, error.json, the page of a failed job."""

import json
from datetime import UTC, datetime
from pathlib import Path

from daemon.jobs import Job, JobState
from daemon.names import shown
from daemon.snapshot import HASHES_FILE

HOW_TO_RERUN = "To run it again, drag the folder back into inbox/, or put an empty file named RETRY into it."


def iso_time(unix_s: float | None) -> str | None:
    """Unix time as people and programs read it."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds") if unix_s is not None else None


def outcome_json(job: Job, job_dir: Path) -> dict[str, object]:
    """Everything that the folder will say about its job.

    Args:
        job: In state publishing, with its outcome.
        job_dir: Its private folder, where the input hashes are.
    """
    about: dict[str, object] = {
        "job_id": job.job_id,
        "name": shown(job.folder),
        "state": job.outcome.value if job.outcome else job.state.value,
        "attempts": job.attempts,
        "time": iso_time(datetime.now(UTC).timestamp()),
        "created": iso_time(job.created_at_s),
        "queued": iso_time(job.queued_at_s),
        "started": iso_time(job.started_at_s),
    }
    if job.outcome is not JobState.DONE and job.failure is not None:
        about = job.failure.to_json() | about
    if job.summary:
        about["reconstruction"] = job.summary
    if job.input_sha256:
        about["input"] = {"bytes": job.input_bytes, "sha256": job.input_sha256, "files": _hashes(job_dir)}
    return about


def failure_page(job: Job) -> str:
    """report.html of a job that left no results; empty for a job without a failure."""
    from recon.previews.report_html import Failure, render_failure

    if job.failure is None:
        return ""
    said = job.failure.to_json()
    suggestion = str(said["suggestion"])
    details = json.dumps(job.failure.details, indent=1, ensure_ascii=False, default=str) if job.failure.details else ""
    shown_failure = Failure(
        job.failure.code.value, job.failure.message, suggestion, shown(job.failure.file), job.failure.stage, details
    )
    # some suggestions say already how to run the job again
    is_said = "RETRY" in suggestion or "inbox" in suggestion
    return render_failure(shown(job.folder), shown_failure, "" if is_said else HOW_TO_RERUN)


def _hashes(job_dir: Path) -> object:
    try:
        return json.loads((job_dir / HASHES_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
