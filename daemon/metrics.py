"""metrics.prom: numbers for Prometheus, through the node exporter's textfile collector."""

import shutil

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from daemon.config import Config
from daemon.ledger import Ledger


def write_metrics(config: Config, ledger: Ledger, *, is_online: bool, busy_workers: int, unix_s: float) -> None:
    """Replace STATE/metrics.prom.

    Args:
        config: Where, and which disks are watched.
        ledger: Counted.
        is_online: Whether the share is there.
        busy_workers: How many reconstruct right now.
        unix_s: The time of the present turn of the loop.

    Raises:
        OSError: The disk is full.
    """
    registry = CollectorRegistry()
    jobs = Gauge("meshdrop_jobs", "Jobs on record by state", ["state"], registry=registry)
    for state, count in ledger.store.counts().items():
        jobs.labels(state).set(count)
    Gauge("meshdrop_online", "Whether the share is there", registry=registry).set(is_online)
    Gauge("meshdrop_workers_busy", "Workers that reconstruct", registry=registry).set(busy_workers)
    Gauge("meshdrop_last_turn_seconds", "Unix time of the loop's latest turn", registry=registry).set(unix_s)
    free = Gauge("meshdrop_free_bytes", "Free space", ["folder"], registry=registry)
    free.labels("state").set(shutil.disk_usage(config.state).free)
    if is_online:
        free.labels("share").set(shutil.disk_usage(config.root).free)
    write_to_textfile(str(config.state / "metrics.prom"), registry)
