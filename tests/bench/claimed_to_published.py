"""Seconds from a claimed job folder to its published results, through the real daemon and a warm worker.

    python tests/bench/claimed_to_published.py CAPTURE... [--jobs 4]
    python tests/bench/claimed_to_published.py --solid toy --sizes 512 1024 2048

Every capture, or an analytic solid photographed at every size, is dropped several times, one job after the other,
as a folder with READY renamed into the share; the first job of all warms the worker up.  Prints when each job ran and
was published, and its seconds per stage.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(TESTS), str(TESTS.parent)]

from solids import all_scenes, make_captures

from job_folders import write_transforms_json
from served import ServedShare, served

LONGEST_S = 600.0


def dropped(share: ServedShare, capture: Path, name: str) -> str:
    """One job's times after it was claimed, and where they went."""
    waiting = share.config.root / f".{name}"
    shutil.copytree(capture, waiting)
    (waiting / "READY").touch()
    waiting.rename(share.config.inbox / name)
    share.until(lambda: not share.store.active() and name in share.states(), LONGEST_S)
    job = share.job(name)
    if job.state != "done":
        raise RuntimeError((share.config.failed / name / "error.json").read_text(encoding="utf-8"))
    at_s = {event.to_state: event.at_s for event in share.store.events(job.job_id)}
    steps = ", ".join(f"{state} {at_s[state] - at_s['queued']:.2f}" for state in list(at_s)[1:])
    quality_file = share.config.done / name / "results" / "nvdiffrec" / "quality.json"
    quality = json.loads(quality_file.read_text(encoding="utf-8"))
    stages = " ".join(f"{stage} {seconds:.2f}" for stage, seconds in quality["seconds_per_stage"].items())
    return f"{steps}   {stages}   {quality['mean']['psnr_db']:.2f} dB"


def solids(name: str | None, sizes_px: list[int], scratch: Path) -> list[Path]:
    """One capture folder a size."""
    folders = []
    for size_px in sizes_px if name else ():
        made = make_captures([name], ["clean"], size_px, 6, Path(gettempdir()) / "meshdrop-bench")
        folder = scratch / name / f"{size_px}px"
        folder.mkdir(parents=True)
        folders.append(write_transforms_json(made[name, "clean"][0], folder))
    return folders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", type=Path, nargs="*")
    parser.add_argument("--solid", choices=all_scenes(), help="photograph this one, six clean views")
    parser.add_argument("--sizes", nargs="+", type=int, default=[512])
    parser.add_argument("--jobs", type=int, default=4)
    options = parser.parse_args()
    worker = {"entry": "recon:reconstruct", "preload": ["recon"]}
    with TemporaryDirectory() as scratch, TemporaryDirectory() as folder, served(Path(folder), worker=worker) as share:
        share.until(lambda: share.supervisor.dispatch.executors[0].is_idle, LONGEST_S)
        for capture in options.captures + solids(options.solid, options.sizes, Path(scratch)):
            for number in range(options.jobs):
                line = dropped(share, capture, f"{capture.parent.name}-{capture.name}-{number}")
                sys.stdout.write(f"{capture.parent.name}/{capture.name} {number}, s since claimed: {line}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
