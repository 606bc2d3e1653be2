"""Run the daemon on a share of one's own, drop a folder, and follow it to its result.

    ./examples/demo                          the painted teapot of examples/captures
    ./examples/demo FOLDER                   a job folder of one's own (it is copied)
    ./examples/demo FOLDER --root SHARE      keep the share there instead of in a temporary folder

Exit code: 0 the folder ended in done/, 1 it ended in failed/, 2 the daemon could not do its work.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

OUTPUTS = {"mesh": "mesh.glb", "contact sheet": "**/contact_sheet.png", "quality": "quality.json"}
EXAMPLE = Path(__file__).parent / "captures" / "teapot"
MESHDROP = (sys.executable, "-m", "daemon")
POLL_S = 0.2
STOP_PATIENCE_S = 30.0

console = Console(highlight=False, soft_wrap=True)


class DaemonStopped(Exception):
    """The daemon ended before the job did."""


def read_json(path: Path) -> dict[str, Any]:
    """What the daemon last wrote, or nothing yet; it replaces its files whole, so half a file is never seen."""
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return data


@contextmanager
def running_daemon(root: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A daemon that serves the share, and its log; stopped in order at the end."""
    state = root / ".state"
    environment = os.environ | {"MESHDROP_ROOT": str(root), "MESHDROP_STATE": str(state)}
    subprocess.run([*MESHDROP, "init", str(root)], env=environment, check=True, stdout=subprocess.DEVNULL)
    state.mkdir(exist_ok=True)
    log = state / "daemon.log"
    with log.open("ab") as stream:
        daemon = subprocess.Popen([*MESHDROP, "serve"], env=environment, stdout=stream, stderr=stream)
    try:
        yield daemon, log
    finally:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def drop(folder: Path, root: Path) -> str:
    """Copy a folder into the inbox, as a file manager would; the name that it got there."""
    name, number = folder.name, 1
    while any((root / area / name).exists() for area in ("inbox", "done", "failed")):
        number += 1
        name = f"{folder.name}-{number}"
    shutil.copytree(folder, root / "inbox" / name)
    return name


def describe(status: dict[str, Any]) -> str:
    """One line about a job in the inbox."""
    if status.get("stage"):
        eta_s = status.get("eta_s")
        return f"{status['stage']}" + (f", about {eta_s:.0f} s left" if eta_s is not None else "")
    return str(status.get("message") or status.get("state") or "waiting for the daemon")


def follow(name: str, root: Path, daemon: subprocess.Popen[bytes]) -> Path:
    """Show the job's progress until its folder has moved.

    Returns:
        The folder's new place, below done/ or failed/.

    Raises:
        DaemonStopped: The daemon ended before the job did.
    """
    description, percentage = TextColumn("{task.description}"), TextColumn("{task.percentage:>3.0f} %")
    last_line = ""
    with Progress(description, BarColumn(), percentage, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("waiting", total=1.0)
        while True:
            for area in ("done", "failed"):
                if (root / area / name).is_dir():
                    bar.update(task, completed=1.0, description=area)
                    return root / area / name
            if daemon.poll() is not None:
                raise DaemonStopped
            status = read_json(root / "inbox" / name / "status.json")
            line, fraction = describe(status), float(status.get("fraction") or 0.0)
            bar.update(task, completed=fraction, description=line)
            plain = str(status.get("stage") or line)
            if plain != last_line and not console.is_terminal:
                console.print(f"{fraction:4.0%}  {line}")
                last_line = plain
            time.sleep(POLL_S)


def show_outcome(folder: Path) -> int:
    """Print where the results are, or what went wrong and what to do; the exit code."""
    if folder.parent.name == "failed":
        error = read_json(folder / "error.json")
        console.print(f"[red]failed[/]: {error.get('code')}: {error.get('message')}")
        console.print(f"What to do: {error.get('suggestion')}")
        console.print(f"Everything is in {folder}", markup=False)
        return 1
    for quality_file in sorted(folder.glob("results/*/quality.json")):
        quality = read_json(quality_file)
        results = quality_file.parent
        verdict = str(quality.get("verdict") or quality.get("status"))
        console.print(f"[green]done[/]: {results.name}, quality {verdict}")
        for label, pattern in OUTPUTS.items():
            for path in sorted(results.glob(pattern)):
                console.print(f"  {label:<14} {path}", markup=False)
    for report in sorted(folder.glob("results/report.html")):
        console.print(f"  {'report':<14} {report}", markup=False)
    return 0


def main() -> int:
    # Being told to end must end the daemon as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    parser = argparse.ArgumentParser(description="Run Meshdrop on a share of its own and drop a folder into it.")
    parser.add_argument("folder", nargs="?", type=Path, default=EXAMPLE, help="a job folder; default: the example")
    parser.add_argument("--root", type=Path, help="where to make the share; default: a temporary folder that is kept")
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is not a folder")
    root = (arguments.root or Path(tempfile.mkdtemp(prefix="meshdrop-"))).resolve()
    with running_daemon(root) as (daemon, log):
        name = drop(arguments.folder.resolve(), root)
        console.print(f"Dropped {arguments.folder} as {root / 'inbox' / name}", markup=False)
        try:
            return show_outcome(follow(name, root, daemon))
        except DaemonStopped:
            console.print(f"[red]The daemon stopped (exit status {daemon.returncode}).[/]  Its log, {log}, ends with:")
            console.print("\n".join(log.read_text("utf-8", "replace").splitlines()[-15:]), markup=False)
            return 2
        except KeyboardInterrupt:
            console.print(f"Stopped; the folder waits in {root / 'inbox' / name}", markup=False)
            return 2


if __name__ == "__main__":
    sys.exit(main())
