"""``meshdrop doctor``: is everything there that the daemon needs, and what to do about what is not."""

import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

from daemon import names
from daemon.config import Config, check_folders
from daemon.errors import ConfigError
from daemon.mounts import mount_of
from recon.errors import ModelUnavailable, ReconError
from recon.generative.installation import Installation
from recon.gpu_probe import Probe
from recon.settings import ReconViaGenInstallation

EVENT_PATIENCE_S = 1.0
LOCK_PATIENCE_S = 2.0
GPU_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Finding:
    """The result of one test.

    Attributes:
        grade: ok, note (works, but know this) or bad (does not work).
        remedy: What to do, unless all is well.
    """

    what: str
    grade: str
    message: str
    remedy: str = ""


def examine(config: Config) -> Iterator[Finding]:
    """Run every test, cheapest first."""
    yield _examine_layout(config)
    for name, folder in (("share", config.root), ("state", config.state)):
        yield _examine_mount(name, folder)
        yield _examine_space(name, folder, config.disk.min_free_bytes)
    yield _examine_moves(config)
    yield _examine_events(config)
    yield _examine_database(config.database)
    yield from _examine_gpu()
    yield _examine_models()
    yield from _examine_reconviagen(config.reconviagen)


def _examine_layout(config: Config) -> Finding:
    missing = [name for name in (names.SENTINEL, "inbox", "done", "failed") if not (config.root / name).exists()]
    if missing:
        message = f"{config.root} lacks {', '.join(missing)}"
        return Finding("layout", "bad", message, f"mount the share, or make it: meshdrop init {config.root}")
    try:
        check_folders(config)
    except ConfigError as error:
        return Finding("layout", "bad", str(error), "change root or state in the configuration")
    return Finding("layout", "ok", f"{config.root} is a share")


def _examine_mount(name: str, folder: Path) -> Finding:
    if not folder.exists():
        return Finding(f"{name} mount", "bad", f"{folder} does not exist", f"make it: mkdir -p {folder}")
    mount = mount_of(folder)
    if not mount.is_network:
        return Finding(f"{name} mount", "ok", f"{folder} is on {mount.kind} ({mount.point})")
    if name == "state":
        return Finding(
            f"{name} mount", "bad", f"{folder} is on {mount.kind}", "move state to a local disk: SQLite needs one"
        )
    message = f"{folder} is on {mount.kind}: no events arrive, attributes are cached"
    return Finding(
        f"{name} mount", "note", message, "folders settle for intake.network_settle_s; READY takes them at once"
    )


def _examine_space(name: str, folder: Path, min_free_bytes: int) -> Finding:
    try:
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding(f"{name} space", "bad", str(error), "see above")
    message = f"{free_bytes / 1e9:.1f} GB free"
    if free_bytes < min_free_bytes:
        return Finding(f"{name} space", "bad", message, "free space, or lower disk.min_free_bytes")
    return Finding(f"{name} space", "ok", message)


def _examine_moves(config: Config) -> Finding:
    """What a job does to a folder: write, flush, rename within, move from inbox/ to done/, remove."""
    name = f"{names.STAGING_PREFIX}doctor-{secrets.token_hex(4)}"
    source, target = config.inbox / name, config.done / name
    try:
        source.mkdir()
        with (source / "a").open("wb") as file:
            file.write(b"meshdrop")
            file.flush()
            os.fsync(file.fileno())
        (source / "a").rename(source / "b")
        source.rename(target)
        whole = (target / "b").read_bytes() == b"meshdrop"
    except OSError as error:
        remedy = "let the daemon's user write, and own a group shared with the users (docs/operations.md)"
        return Finding("moves", "bad", f"{error.strerror}: {error.filename}", remedy)
    finally:
        for folder in (source, target):
            shutil.rmtree(folder, ignore_errors=True)
    if not whole:
        return Finding("moves", "bad", "a file changed while it was moved", "check the disk and the network")
    return Finding("moves", "ok", "write, rename and move work")


def _examine_events(config: Config) -> Finding:
    seen: list[float] = []

    class Listener(FileSystemEventHandler):
        def on_any_event(self, event: object) -> None:
            seen.append(time.monotonic())

    probe = config.inbox / f"{names.STAGING_PREFIX}doctor-{secrets.token_hex(4)}"
    observer = Observer()
    try:
        observer.schedule(Listener(), str(config.inbox), recursive=False)
        observer.start()
        started_s = time.monotonic()
        probe.touch()
        while not seen and time.monotonic() - started_s < EVENT_PATIENCE_S:
            time.sleep(0.005)
    except OSError as error:
        return Finding(
            "events", "note", f"not available ({error})", "raise fs.inotify.max_user_watches; the scan works without"
        )
    finally:
        with suppress(OSError):
            probe.unlink()
        with suppress(RuntimeError):
            observer.stop()
    if not seen:
        return Finding("events", "note", "none arrives here", "nothing to do: the periodic scan finds everything")
    return Finding("events", "ok", f"one arrived after {1000 * (seen[0] - started_s):.0f} ms")


def _examine_database(file: Path) -> Finding:
    if not file.exists():
        return Finding("job table", "ok", "not made yet")
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        count = connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
        connection.close()
    except sqlite3.Error as error:
        verdict, count = str(error), 0
    if verdict != "ok":
        remedy = (
            f"stop the daemon and move {file} away: what is in inbox/ is taken again, and what is in done/ and failed/"
            " is recorded anew from the share"
        )
        return Finding("job table", "bad", f"damaged: {verdict}", remedy)
    try:
        connection = sqlite3.connect(f"file:{file}?mode=rw", uri=True, timeout=LOCK_PATIENCE_S)
        connection.execute("BEGIN IMMEDIATE")
        connection.close()
    except sqlite3.Error as error:
        remedy = "end the program that holds it (a backup, a shell), or let the daemon's user write the state folder"
        return Finding("job table", "bad", f"whole, but cannot be written: {error}", remedy)
    return Finding("job table", "ok", f"whole, {count} jobs")


def _examine_gpu() -> Iterator[Finding]:
    """In a process of its own: a broken driver may hang or kill it, and this one loads no torch."""
    try:
        finished = subprocess.run(
            [sys.executable, "-P", "-m", "recon.gpu_probe"],
            capture_output=True, text=True, timeout=GPU_PATIENCE_S, check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        message = f"a kernel did not finish within {GPU_PATIENCE_S:.0f} s"
        yield Finding("gpu", "bad", message, "restart the driver or the machine")
        return
    if finished.returncode != 0:
        reason = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        yield Finding("gpu", "bad", reason[:200], "reinstall torch for this driver; see docs/operations.md")
        return
    found = Probe.model_validate_json(finished.stdout)
    yield _gpu_finding(found)
    yield from _memory_findings(found)


def _gpu_finding(found: Probe) -> Finding:
    if found.error:
        return Finding("gpu", "bad", found.error, "reinstall torch for this driver; see docs/operations.md")
    if not found.gpus:
        message = f"none; torch {found.versions.get('torch', '')} uses the processor"
        return Finding("gpu", "note", message, "nothing to do, or pass the GPU to this machine")
    listed = ", ".join(f"{gpu.name} ({gpu.free_bytes / 2**30:.0f} GiB free)" for gpu in found.gpus)
    return Finding("gpu", "ok", f"{listed}; a kernel ran in {found.kernel_s:.2f} s")


def _memory_findings(found: Probe) -> Iterator[Finding]:
    """Models that need more memory than the largest GPU has."""
    if not found.gpus:
        return
    largest_bytes = max(gpu.total_bytes for gpu in found.gpus)
    for model, needed_bytes in found.models.items():
        if needed_bytes > largest_bytes:
            message = f"{model} needs {needed_bytes / 2**30:.0f} GiB, the largest GPU has {largest_bytes / 2**30:.0f}"
            yield Finding("gpu memory", "note", message, "its jobs may fail with GPU_TOO_SMALL; use a larger card")


def _examine_models() -> Finding:
    found = sorted(point.name for point in entry_points(group="meshdrop.models"))
    if not found:
        return Finding("models", "bad", "none is registered", "install meshdrop itself: pip install .")
    return Finding("models", "ok", ", ".join(found))


def _examine_reconviagen(settings: ReconViaGenInstallation) -> Iterator[Finding]:
    """Its checkout, packages and weight files, each on its own; whether tensors fit is seen when they are loaded."""
    if settings.source_dir is None and settings.weights_dir is None:
        remedy = "nothing to do, or install it as docs/models.md says"
        yield Finding("reconviagen", "note", "not installed: reconviagen.source_dir is not set", remedy)
        return
    try:
        faults: list[ReconError] = list(Installation(settings).faults())
    except ModelUnavailable as error:
        faults = [error]
    for fault in faults:
        yield Finding("reconviagen", "bad", fault.message, "install it as docs/models.md says")
    if not faults:
        yield Finding("reconviagen", "ok", f"{settings.source_dir} with weights in {settings.weights_dir}")
