"""Seconds from a claimed job folder to its published results, through the real daemon and a warm worker.

    python tests/bench/claimed_to_published.py CAPTURE... [--jobs 4]

Every capture is dropped several times, one job after the other, as a folder with READY renamed into the share; the
first job of all warms the worker up.  Prints when each job ran and was published, and its seconds per stage.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", type=Path, nargs="+")
    parser.add_argument("--jobs", type=int, default=4)
    options = parser.parse_args()
    worker = {"entry": "recon:reconstruct", "preload": ["recon"]}
    with TemporaryDirectory() as folder, served(Path(folder), worker=worker) as share:
        share.until(lambda: share.supervisor.dispatch.executors[0].is_idle, LONGEST_S)
        for capture in options.captures:
            for number in range(options.jobs):
                line = dropped(share, capture, f"{capture.parent.name}-{capture.name}-{number}")
                sys.stdout.write(f"{capture.parent.name}/{capture.name} {number}, s since claimed: {line}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
