"""metrics.prom: numbers for Prometheus, through the node exporter's textfile collector.

docs/monitoring.md explains each and proposes panels.  Counters and histograms begin at zero with every start of the
daemon, as Prometheus expects of them.
"""

import re
import resource
from collections import Counter as Counts
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    write_to_textfile,
)

from daemon.jobs import ACTIVE, Job, JobState
from daemon.ledger import Ledger
from recon.progress import STAGES

METRICS_FILE = "metrics.prom"
SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0)
"""Upper bounds of the histograms' buckets: from a fast stage to a whole job on a slow machine."""
MODEL_NAME = re.compile(r"[a-z0-9_-]{1,40}")
_PAGE_BYTES = resource.getpagesize()


class Metrics:
    """Counts what happens for as long as the daemon lives.

    Args:
        state: Where the file goes.
        ledger: Tells of every step of a job.
    """

    def __init__(self, state: Path, ledger: Ledger) -> None:
        self._file = state / METRICS_FILE
        self._ledger = ledger
        self._registry = registry = CollectorRegistry()
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each; nobody asks for them
        self._ended = Counter("meshdrop_jobs_ended_total", "Jobs that ended", ["outcome", "model"], registry=registry)
        self._errors = Counter("meshdrop_errors_total", "Failed jobs by error code", ["code"], registry=registry)
        self._job_s = self._histogram("meshdrop_job_seconds", "From the start of an attempt to its outcome", "model")
        self._stage_s = self._histogram("meshdrop_stage_seconds", "Time in one stage", "model", "stage")
        self._wait_s = self._histogram("meshdrop_queue_wait_seconds", "From complete to running")
        self._gauges: dict[str, Gauge] = {}
        # Asked once: the table grows for years, and these numbers are written every two seconds.
        self._ended_count = Counts(ledger.store.counts())
        ledger.listeners.append(self.note)

    def note(self, job: Job) -> None:
        """Count a step that a job has made."""
        if job.started_at_s is not None and job.queued_at_s is not None and job.state.value == "running":
            self._wait_s.observe(max(job.started_at_s - job.queued_at_s, 0.0))
        if job.is_active:
            return
        self._ended_count[job.state.value] += 1
        self._ended.labels(job.state.value, job.model).inc()
        if job.failure is not None:
            self._errors.labels(job.failure.code.value).inc()
        if job.started_at_s is not None and job.finished_at_s is not None:
            self._job_s.labels(job.model).observe(max(job.finished_at_s - job.started_at_s, 0.0))
        for model, stage, seconds in stage_seconds(job.summary):
            self._stage_s.labels(model, stage).observe(seconds)

    def write(self, report: dict[str, Any]) -> None:
        """Replace STATE/metrics.prom.

        Args:
            report: From ``daemon.health.Health.report``.

        Raises:
            OSError: The disk is full.
        """
        self._set_jobs()
        self._set_daemon(report)
        self._set_workers(report)
        write_to_textfile(str(self._file), self._registry)

    def _histogram(self, name: str, about: str, *labels: str) -> Histogram:
        return Histogram(name, about, labels, registry=self._registry, buckets=SECONDS)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        """A gauge without yesterday's labels: a GPU or a share that is gone leaves no number behind."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, about, labels, registry=self._registry)
        if labels:
            self._gauges[name].clear()
        return self._gauges[name]

    def _set_jobs(self) -> None:
        jobs = self._gauge("meshdrop_jobs", "Jobs on record by state", "state")
        for state in JobState:
            count = self._ledger.count(state) if state in ACTIVE else self._ended_count[state.value]
            jobs.labels(state.value).set(count)

    def _set_daemon(self, report: dict[str, Any]) -> None:
        share, queue = report["share"], report["queue"]
        versions = report["versions"]
        info = self._gauge("meshdrop_info", "Versions; always 1", "version", "schema")
        info.labels(versions["meshdrop"], report["job_table"]["schema"]).set(1)
        self._gauge("meshdrop_healthy", "Whether nothing is wrong").set(not report["problems"])
        self._gauge("meshdrop_online", "Whether the share is there").set(report["is_online"])
        self._gauge("meshdrop_share_writable", "Whether a file can be made there").set(share["is_writable"])
        self._gauge("meshdrop_scan_seconds", "Time of the latest scan").set(share["scan_took_s"])
        if share["scan_age_s"] is not None:
            latest_scan_s = report["time_s"] - share["scan_age_s"]
            self._gauge("meshdrop_last_scan_timestamp_seconds", "Unix time of the latest scan").set(latest_scan_s)
        self._gauge("meshdrop_last_turn_timestamp_seconds", "Unix time of the latest turn").set(report["time_s"])
        self._gauge("meshdrop_queue_oldest_seconds", "Waiting time of the oldest queued job").set(queue["oldest_s"])
        self._gauge("meshdrop_queue_stuck", "Whether jobs wait and none comes forward").set(queue["is_stuck"])
        self._gauge("meshdrop_job_table_bytes", "Size of the job table").set(report["job_table"]["bytes"])
        free = self._gauge("meshdrop_free_bytes", "Free space", "folder")
        for folder, disk in report["disk"].items():
            free.labels(folder).set(disk["free_bytes"])
        self._gauge("meshdrop_resident_bytes", "The daemon's own memory").set(resident_bytes())
        self._gauge("meshdrop_open_descriptors", "The daemon's open files").set(open_descriptors())

    def _set_workers(self, report: dict[str, Any]) -> None:
        up = self._gauge("meshdrop_worker_up", "Whether the worker's process lives", "worker")
        starts = self._gauge("meshdrop_worker_starts", "Processes since the daemon's start", "worker")
        is_ok = self._gauge("meshdrop_gpu_probe_ok", "Whether a kernel ran, or no GPU is there", "worker")
        memory = {
            kind: self._gauge(f"meshdrop_gpu_memory_{kind}_bytes", f"GPU memory, {kind}", "worker", "gpu")
            for kind in ("free", "total")
        }
        for index, worker in enumerate(report["workers"]):
            label, probe = str(index if worker["gpu"] is None else worker["gpu"]), worker["probe"]
            up.labels(label).set(worker["is_alive"])
            starts.labels(label).set(worker["starts"])
            if probe is not None:
                is_ok.labels(label).set(not probe["error"])
            for gpu in probe["gpus"] if probe else ():
                for kind, gauge in memory.items():
                    gauge.labels(label, gpu["name"]).set(gpu[f"{kind}_bytes"])
        busy = sum(bool(worker["job_id"]) for worker in report["workers"])
        self._gauge("meshdrop_workers_busy", "Workers that reconstruct").set(busy)


def stage_seconds(summary: dict[str, Any]) -> list[tuple[str, str, float]]:
    """(model, stage, seconds) from a job's summary, which a worker wrote: anything else in it is passed over."""
    models = summary.get("models")
    found = []
    for model, about in models.items() if isinstance(models, dict) else ():
        stages = about.get("seconds_per_stage") if isinstance(about, dict) else None
        for stage, seconds in stages.items() if isinstance(stages, dict) else ():
            if MODEL_NAME.fullmatch(str(model)) and stage in STAGES and isinstance(seconds, int | float):
                found.append((str(model), str(stage), max(float(seconds), 0.0)))
    return found


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE_BYTES


def open_descriptors() -> int:
    """Files, pipes and folders that this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1
