"""Are drops ever missed?  Four writers, busy threads in the daemon's process, a remount, odd names.

    python tests/bench/drop_loss.py [--folders 40000]

The writers put folders into the share of a real daemon process, in which two threads compete with the loop for the
interpreter, and meanwhile the share is unmounted and mounted again.  Needs root, for the mount.  Prints JSON; a
CI-sized run is tests/integration/test_drop_loss.py.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from daemon.config import Config
from daemon.health import HEALTH_FILE
from daemon.mounts import mount_of
from daemon.store import open_store_for_reading
from served import DaemonProcess, jobs_on_record, make_config, wait_until

WRITER_COUNT, BUSY_THREADS = 4, 2
SPARE_S, LONGEST_S = 3.0, 1800.0
ODD_NAMES = (
    b"caf\xe9 %d", b"sho\xe2\x80\xaee %d", b"new\nline %d", b"-rf %d", b"a:b %d", b"A\xcc\x88 %d", b"x" * 240 + b" %d",
    "schöne Schuhe %d".encode(),
)  # fmt: skip


@dataclass(frozen=True)
class Loss:
    """What became of the drops.

    Attributes:
        missed: Folders that no job stands for.
        doubled: Jobs beyond one per folder, ever.
        recorded_after_s: Time from the last drop until the last job was recorded.
    """

    dropped: int
    missed: int
    doubled: int
    outages: int
    recorded_after_s: float


def folder_name(writer: int, number: int) -> bytes:
    """Every eighth name is an odd one; all are different."""
    serial = number * WRITER_COUNT + writer
    return ODD_NAMES[serial // 8 % len(ODD_NAMES)] % serial if serial % 8 == 0 else b"job %d" % serial


def write(inbox: bytes, outside: bytes, writer: int, count: int) -> None:
    """Put folders into the inbox, half of them made there, half of them moved in with a file inside."""
    for number in range(count):
        name = folder_name(writer, number)
        if number % 2:
            os.mkdir(inbox + b"/" + name)
        else:
            draft = outside + b"/%d" % writer
            os.mkdir(draft)
            with open(draft + b"/view_00.png", "wb"):
                pass
            os.rename(draft, inbox + b"/" + name)


@contextmanager
def bound(backing: Path, share: Path) -> Iterator[None]:
    """``backing`` mounted at ``share``; whatever happens in between, it is unmounted in the end."""
    backing.mkdir()
    share.mkdir()
    mount(backing, share)
    try:
        yield
    finally:
        while mount_of(share).point == share.resolve():  # ismount() does not see a bind mount of the same disk
            subprocess.run(["umount", "-l", str(share)], check=True)


def mount(backing: Path, share: Path) -> None:
    subprocess.run(["mount", "--bind", str(backing), str(share)], check=True)


def drop_and_count(base: Path, folder_count: int) -> Loss:
    """Drop the folders on a served share and count the jobs."""
    per_writer = folder_count // WRITER_COUNT
    total = per_writer * WRITER_COUNT
    backing = base / "backing"
    (base / "outside").mkdir()
    with bound(backing, base / "share"):
        config = make_config(base)
        daemon = DaemonProcess(base, busy_threads=BUSY_THREADS, intake={"incomplete_after_s": 1e6})
        try:
            assert wait_until(health_file(config).exists, LONGEST_S)
            start = multiprocessing.get_context("forkserver").Process
            places = (os.fsencode(backing / "inbox"), os.fsencode(base / "outside"))
            writers = [start(target=write, args=(*places, writer, per_writer)) for writer in range(WRITER_COUNT)]
            for writer in writers:
                writer.start()
            assert wait_until(lambda: recorded(config) > total // 4, LONGEST_S)
            outages = interrupt(config, backing)
            for writer in writers:
                writer.join()
            written_s = time.monotonic()
            assert wait_until(lambda: recorded(config) >= total, LONGEST_S)
            recorded_after_s = time.monotonic() - written_s
            time.sleep(SPARE_S)
        finally:
            daemon.stop()
    writings = [(writer, number) for writer in range(WRITER_COUNT) for number in range(per_writer)]
    wanted = {os.fsdecode(folder_name(writer, number)) for writer, number in writings}
    jobs = Counter(job.folder for job in jobs_on_record(config.state, limit=2 * folder_count))
    doubled = sum(jobs.values()) - len(jobs)
    return Loss(len(wanted), len(wanted - jobs.keys()), doubled, outages, round(recorded_after_s, 1))


def recorded(config: Config) -> int:
    """Jobs in the table."""
    store = open_store_for_reading(config.database)
    try:
        return sum(store.counts().values())
    finally:
        store.close()


def interrupt(config: Config, backing: Path) -> int:
    """Unmount the share while folders arrive, and mount it again; how often it was noticed."""
    subprocess.run(["umount", "-l", str(config.root)], check=True)
    assert wait_until(lambda: not is_online(config), LONGEST_S)
    mount(backing, config.root)
    assert wait_until(lambda: is_online(config), LONGEST_S)
    return 1


def health_file(config: Config) -> Path:
    return config.state / HEALTH_FILE


def is_online(config: Config) -> bool:
    return bool(json.loads(health_file(config).read_text())["is_online"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folders", type=int, default=40_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        loss = drop_and_count(Path(base), asked.folders)
    sys.stdout.write(json.dumps(asdict(loss) | {"cpus": os.cpu_count()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
