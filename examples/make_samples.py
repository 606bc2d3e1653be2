"""Write examples/samples/: what a daemon leaves on a share and in its state folder, from a small real run.

    .venv/bin/python examples/make_samples.py

Three folders are dropped: one that becomes a mesh, one with a mistake in its options, one that stays incomplete.  What
differs from run to run (times, identifiers, sizes of files, this machine) is replaced by fixed values; tests make the
samples again and compare.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from make_capture import make_capture

SAMPLES = Path(__file__).parent / "samples"
MESHDROP = (sys.executable, "-m", "daemon")
PATIENCE_S = 240.0
SIZE_PX = 64
OPTIONS = """\
# Small and quick, for an example; without this file everything follows the pictures.
texture_px = 256
target_faces = 1000
turntable = false
on_low_quality = "keep"

[nvdiffrec.fusion]
grid_resolution = 48

[nvdiffrec.optimise]
step_count = 1
"""
CONFIGURATION = """\
root = "{base}/share"
state = "{base}/state"
[intake]
scan_s = 0.2
settle_s = 0.2
incomplete_after_s = 3600
"""
TIME, JOB_ID = "2026-01-31T12:00:00+00:00", "20260131-120000-0123456789"
FIXED = {
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)": TIME,
    r"\b\d{8}-\d{6}-[0-9a-f]{10}\b": JOB_ID,
    r"\b[0-9a-f]{64}\b": "0" * 64,
}
"""Patterns of what differs between runs, and what the samples say instead."""
VARYING = {
    "time_s", "pid", "up_s", "scan_age_s", "scan_took_s", "free_bytes", "bytes", "kernel_s", "silent_s", "unready_s",
    "seconds", "oldest_s", "python", "torch", "numpy", "scikit-image", "nvdiffrast", "meshdrop", "total_bytes",
}  # fmt: skip
"""Keys whose values belong to the machine and the moment."""


def make_samples() -> dict[str, str]:
    """File below examples/samples to its text."""
    with tempfile.TemporaryDirectory(prefix="meshdrop-samples-") as folder:
        base = Path(folder)
        (base / "meshdrop.toml").write_text(CONFIGURATION.format(base=base))
        subprocess.run([*MESHDROP, "init", str(base / "share")], check=True, stdout=subprocess.DEVNULL)
        drop_folders(base / "share" / "inbox")
        daemon = subprocess.Popen(
            [*MESHDROP, "serve", "--config", str(base / "meshdrop.toml")], stderr=(base / "log").open("wb")
        )
        try:
            return collect(base, daemon)
        finally:
            daemon.terminate()
            daemon.wait()


def drop_folders(inbox: Path) -> None:
    """A good one, a mistaken one, and half of one."""
    arriving = inbox.parent / "arriving"
    make_capture(arriving, size_px=SIZE_PX)
    for name in ("teapot", "mistaken", "half"):
        shutil.copytree(arriving, inbox.parent / name)
    (inbox.parent / "teapot" / "job.toml").write_text(OPTIONS)
    (inbox.parent / "mistaken" / "job.toml").write_text("texure_px = 2048\n")
    (inbox.parent / "half" / "depth_03.png").unlink()
    (inbox.parent / "half" / "transforms.json").unlink()
    for name in ("teapot", "mistaken", "half"):
        (inbox.parent / name).rename(inbox / name)


def collect(base: Path, daemon: "subprocess.Popen[bytes]") -> dict[str, str]:
    """Wait for the outcomes and read what is worth showing."""
    share, state = base / "share", base / "state"
    until(daemon, (share / "done/teapot/result.json").exists)
    until(daemon, (share / "failed/mistaken/error.json").exists)
    until(daemon, lambda: "depth" in (share / "inbox/half/status.json").read_text())
    health = state / "health.json"
    until(daemon, lambda: json.loads(health.read_text())["workers"][0]["is_idle"])
    until(daemon, lambda: json.loads(health.read_text())["jobs"]["publishing"] == 0)
    metrics = state / "metrics.prom"  # written after the health file, a moment later
    until(daemon, lambda: 'outcome="done"} 1' in metrics.read_text("utf-8"))
    documents = {
        "inbox/half/status.json": share / "inbox/half/status.json",
        "done/teapot/result.json": share / "done/teapot/result.json",
        "done/teapot/quality.json": share / "done/teapot/results/nvdiffrec/quality.json",
        "failed/mistaken/error.json": share / "failed/mistaken/error.json",
        "state/health.json": health,
    }
    samples = {name: fixed(json.loads(path.read_text("utf-8")), base) for name, path in documents.items()}
    tree = [path.relative_to(share) for path in (share / "done/teapot").rglob("*") if path.is_file()]
    samples["done/teapot/tree.txt"] = "".join(f"{path.as_posix()}\n" for path in sorted(tree))
    samples["done/teapot/job.toml"] = OPTIONS
    samples["state/metrics.prom"] = fixed_metrics(metrics.read_text("utf-8"))
    return samples


def fixed_metrics(text: str) -> str:
    """The metrics without histograms' buckets, every value 0."""
    lines = [line for line in text.splitlines() if "_bucket{" not in line]
    return "".join((line if line.startswith("#") else re.sub(r" \S+$", " 0", line)) + "\n" for line in lines)


def until(daemon: "subprocess.Popen[bytes]", is_true: Callable[[], object]) -> None:
    """Wait, but not for a daemon that is gone."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            if is_true():
                return
        except (FileNotFoundError, ValueError):
            pass
        if daemon.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError("the daemon did not do its work")
        time.sleep(0.1)


def fixed(value: object, base: Path) -> str:
    """A JSON document with everything replaced that differs between runs."""
    text = json.dumps(_without_varying(value), indent=1, ensure_ascii=False).replace(str(base), "/srv/meshdrop")
    for pattern, instead in FIXED.items():
        text = re.sub(pattern, instead, text)
    return text + "\n"


def _without_varying(value: Any) -> Any:
    if isinstance(value, dict):
        stages = value.get("seconds_per_stage")
        value = value | ({"seconds_per_stage": dict.fromkeys(stages, "varies")} if stages else {})
        return {key: "varies" if key in VARYING else _without_varying(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_varying(inner) for inner in value]
    return value


def main() -> None:
    """Replace the folder."""
    samples = make_samples()
    shutil.rmtree(SAMPLES, ignore_errors=True)
    for name, text in samples.items():
        (SAMPLES / name).parent.mkdir(parents=True, exist_ok=True)
        (SAMPLES / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
