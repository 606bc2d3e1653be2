"""Thousands of small jobs through a real daemon: does anything grow that should not?

    python tests/bench/soak.py --jobs 2000

The reconstruction is the fast stand-in of tests/fakes.py in real worker processes; folders, job table, files and
processes are the daemon's own.  What grows is measured between the first quarter of the jobs, when all caches are
filled, and the last.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

IMPORTED_FROM = (Path(__file__).parents[2], Path(__file__).parents[1])
sys.path[:0] = map(str, IMPORTED_FROM)

import fakes
from daemon.share import create_share
from served import jobs_on_record, wait_until

IN_FLIGHT = 40
"""Folders that lie in inbox/ at the same time."""
FAILING_EVERY = 20
LOOKS, LOOK_PAUSE_S = 5, 0.1


@dataclass(frozen=True)
class Sample:
    """The daemon after so many jobs."""

    jobs: int
    at_s: float
    resident_bytes: int
    descriptors: int
    threads: int
    table_bytes: int
    state_files: int


@dataclass(frozen=True)
class Growth:
    """What the later jobs added, per job, and how the jobs ended."""

    jobs: int
    jobs_per_s: float
    resident_bytes_per_job: float
    descriptors: int
    threads: int
    table_bytes_per_job: float
    state_files: int
    worker_starts: int
    outcomes: dict[str, int]


def start_daemon(base: Path) -> subprocess.Popen[bytes]:
    """``meshdrop serve`` with short times and the stand-in for the reconstruction."""
    create_share(base / "share")
    configuration = base / "meshdrop.toml"
    configuration.write_text(
        f'root = "{base}/share"\nstate = "{base}/state"\n'
        "[intake]\nscan_s = 0.2\nsettle_s = 0.1\n"
        '[worker]\nentry = "fakes:reconstruct"\npreload = []\nmax_jobs = 200\n'
    )
    with (base / "daemon.log").open("wb") as log_stream:
        return subprocess.Popen(
            [sys.executable, "-m", "daemon", "serve", "--config", str(configuration)],
            stderr=log_stream,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, IMPORTED_FROM))},
        )


def take_sample(pid: int, state: Path, jobs: int, started_s: float) -> Sample:
    """The least of five looks: what is held for a moment only, a file that is being written, does not grow."""
    looks = []
    for _ in range(LOOKS):
        looks.append(look(pid, state, jobs, started_s))
        time.sleep(LOOK_PAUSE_S)
    fields = ((name, min(getattr(one, name) for one in looks)) for name in asdict(looks[0]))
    return Sample(**dict(fields))


def look(pid: int, state: Path, jobs: int, started_s: float) -> Sample:
    """At the process from outside, as an operator would."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return Sample(
        jobs=jobs,
        at_s=round(time.monotonic() - started_s, 2),
        resident_bytes=int(fields["VmRSS"].split()[0]) * 1024,
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(fields["Threads"]),
        table_bytes=(state / "jobs.sqlite3").stat().st_size,
        state_files=sum(len(folders) + len(files) for _, folders, files in os.walk(state)),
    )


def is_settled(inbox: Path, state: Path) -> bool:
    """Whether every folder has left and its private files are gone."""
    return not any(inbox.iterdir()) and not any((state / "work").iterdir())


def soak(base: Path, job_count: int, sample_count: int = 20) -> tuple[list[Sample], Growth]:
    """Run the jobs in batches and look at the daemon after each, when it has nothing to do."""
    daemon = start_daemon(base)
    inbox, state = base / "share/inbox", base / "state"
    assert wait_until((state / "health.json").exists), (base / "daemon.log").read_text()
    samples: list[Sample] = []
    started_s = time.monotonic()
    dropped = 0
    for number in range(1, sample_count + 1):
        while dropped < job_count * number // sample_count:
            if len(list(inbox.iterdir())) >= IN_FLIGHT:
                time.sleep(0.05)
                continue
            behave: dict[str, object] | None = {"raise": "ObjectNotFound"} if dropped % FAILING_EVERY == 0 else None
            fakes.write_job(base / "arriving", behave)
            (base / "arriving").rename(inbox / f"job-{dropped:05d}")
            dropped += 1
        assert wait_until(lambda: is_settled(inbox, state), 300), "the daemon does not finish its jobs"
        looked_s = time.monotonic()
        samples.append(take_sample(daemon.pid, state, dropped, started_s))
        started_s += time.monotonic() - looked_s  # looking is no part of the jobs' time
    starts = int(json.loads((state / "health.json").read_text())["workers"][0]["starts"])
    daemon.terminate()
    assert daemon.wait(60) == 0
    return samples, growth(samples, starts, state)


def growth(samples: list[Sample], worker_starts: int, state: Path) -> Growth:
    """Compare the last sample with the one after a quarter of the jobs."""
    early, late = samples[len(samples) // 4], samples[-1]
    jobs = late.jobs - early.jobs
    outcomes: dict[str, int] = {}
    for job in jobs_on_record(state, limit=late.jobs + 1):
        outcomes[job.state.value] = outcomes.get(job.state.value, 0) + 1
    return Growth(
        jobs=late.jobs,
        jobs_per_s=round(late.jobs / late.at_s, 2),
        resident_bytes_per_job=round((late.resident_bytes - early.resident_bytes) / jobs, 1),
        descriptors=late.descriptors - early.descriptors,
        threads=late.threads - early.threads,
        table_bytes_per_job=round((late.table_bytes - early.table_bytes) / jobs, 1),
        state_files=late.state_files - early.state_files,
        worker_starts=worker_starts,
        outcomes=outcomes,
    )


def main() -> None:
    """Print every sample and the growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2_000)
    job_count = parser.parse_args().jobs
    with tempfile.TemporaryDirectory(prefix="meshdrop-soak-") as folder:
        samples, found = soak(Path(folder), job_count)
    for sample in samples:
        sys.stdout.write(json.dumps(asdict(sample)) + "\n")
    sys.stdout.write(json.dumps(asdict(found), indent=1) + "\n")


if __name__ == "__main__":
    main()
