"""Fast stand-ins for the reconstruction, run by real worker processes.

The worker is pointed at ``reconstruct`` with ``worker.entry = "fakes:reconstruct"``.  A file named ``behave.json``
in the job's folder says what this attempt does, so that a test can make exactly the fault that it wants.
"""

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from recon import errors
from recon.progress import ProgressUpdate
from recon.settings import Settings


@dataclass(frozen=True)
class FakeReport:
    """What the daemon reads of a report."""

    verdict: str = "normal"
    summary: dict[str, object] = field(default_factory=dict)


def png(width_px: int = 4, height_px: int = 4, grey: int = 128) -> bytes:
    """A whole 8-bit grey PNG."""

    def chunk(kind: bytes, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))

    rows = (b"\0" + bytes([grey]) * width_px) * height_px
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


JOB_FILES = tuple(f"{kind}_{view:02d}.png" for kind in ("view", "depth") for view in range(6))


def write_job(folder: Path, behave: dict[str, object] | None = None) -> Path:
    """Fill a folder with six whole pairs (not of anything: the fake model decodes nothing)."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(JOB_FILES):
        (folder / name).write_bytes(png(grey=index))
    if behave is not None:
        (folder / "behave.json").write_text(json.dumps(behave))
    return folder


def reconstruct(
    source: Path, output_dir: Path, settings: Settings, progress: Callable[[ProgressUpdate], None]
) -> FakeReport:
    """Do as ``behave.json`` says, then write the results of a job that went well."""
    asked = source / "behave.json"
    behave = json.loads(asked.read_text()) if asked.exists() else {}
    progress(ProgressUpdate("nvdiffrec", "capture", 0.0))
    _misbehave(behave, output_dir, progress)
    results = output_dir / settings.model
    (results / "previews").mkdir(parents=True)
    (results / "mesh.glb").write_bytes(b"glTF" + bytes(1000))
    (results / "previews" / "front.png").write_bytes(png())
    (results / "folder.jpg").write_bytes(png(64, 64))  # browsers look at the content, not at the name
    (output_dir / "report.json").write_text("{}")
    progress(ProgressUpdate("nvdiffrec", "previews", 1.0, results / "previews" / "front.png"))
    if "finished" in behave:
        Path(str(behave["finished"])).touch()
    summary = {"models": {settings.model: {"seconds_per_stage": {"texture": 0.25}}}}
    return FakeReport(behave.get("verdict", "normal"), {"seed": settings.seed, "pid": os.getpid()} | summary)


def _misbehave(behave: dict[str, object], output_dir: Path, progress: Callable[[ProgressUpdate], None]) -> None:
    if "once" in behave:
        # Something outside the job's folder remembers that the fault has happened.
        marker = Path(str(behave["once"]))
        if marker.exists():
            return
        marker.touch()
    if "raise" in behave:
        raise getattr(errors, str(behave["raise"]))(file=str(behave.get("file", "")))
    if "builtin" in behave:
        raise {"MemoryError": MemoryError, "KeyError": KeyError}[str(behave["builtin"])]("told so")
    if "cuda" in behave:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if "allocate" in behave:
        _ = bytearray(int(str(behave["allocate"])))
    if "kill" in behave:
        os.kill(os.getpid(), signal.SIGKILL)
    if "exit" in behave:
        os._exit(int(str(behave["exit"])))
    if "freeze" in behave:
        os.kill(os.getpid(), signal.SIGSTOP)
    if "child" in behave:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(str(behave["child"])).write_text(str(child.pid))
    if "flood" in behave:
        (output_dir / "flood.bin").write_bytes(bytes(int(str(behave["flood"]))))
    if "hang" in behave:
        time.sleep(600)
    if "hang_in_c" in behave:
        ctypes.PyDLL(None).sleep(600)
    if "link" in behave:
        output_dir.joinpath("leak").symlink_to(str(behave["link"]))
    if "preview" in behave:
        (output_dir / "preview.png").write_bytes(png(64, 64))
        progress(ProgressUpdate("nvdiffrec", "geometry", 0.3, output_dir / "preview.png"))
    deadline_s = time.monotonic() + float(str(behave.get("work_s", 0.0)))
    while time.monotonic() < deadline_s or ("until" in behave and not Path(str(behave["until"])).exists()):
        progress(ProgressUpdate("nvdiffrec", "optimise", 0.5))
        time.sleep(0.01)
