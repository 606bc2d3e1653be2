"""Who may delete what: the daemon under one uid, the person who drops under another, both in the share's group."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fakes
from daemon.share import create_share
from served import PATIENCE_S, TESTS, wait_until

pytestmark = [pytest.mark.needs("setpriv")]

DAEMON_UID, DROPPER_UID, STRANGER_UID, GROUP = 61001, 61002, 61003, 61000


def as_user(uid: int, groups: str, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as somebody, with a mask that takes the group's right to write away."""
    switch = ["setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={groups}"]
    with_mask = ["sh", "-c", 'umask 022; exec "$@"', "sh"]
    return subprocess.run([*switch, *with_mask, *command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("outcome", ["done", "failed"])
def test_the_dropper_may_delete_what_comes_back(tmp_path: Path, outcome: str) -> None:
    """A daemon without privileges gives everything to the group; the dropper deletes it, a stranger cannot."""
    open_the_way(tmp_path)
    root, state = tmp_path / "share", tmp_path / "state"
    create_share(root)
    state.mkdir()
    os.chown(state, DAEMON_UID, DAEMON_UID)
    for folder in (root, *root.iterdir()):
        os.chown(folder, DAEMON_UID, GROUP)
        os.chmod(folder, 0o2775 if folder.is_dir() else 0o664)
    draft = fakes.write_job(tmp_path / "draft", {"raise": "ObjectNotFound"} if outcome == "failed" else None)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent), *sys.path]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MESHDROP_INTAKE__SETTLE_S": "600",  # the dropper says when all is there and open
        "MESHDROP_WORKER__ENTRY": "fakes:reconstruct",
        "MESHDROP_WORKER__PRELOAD": "[]",
    }
    command = [sys.executable, "-m", "daemon", "serve", "--root", str(root), "--state", str(state)]
    # It may read everything, so that it finds its interpreter wherever that is installed, and write only its own.
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    switch = ["setpriv", f"--reuid={DAEMON_UID}", f"--regid={DAEMON_UID}", f"--groups={GROUP}", *reading]
    daemon = subprocess.Popen([*switch, *command], env=environment, cwd=state, stderr=(tmp_path / "log").open("wb"))
    back = root / outcome / "shoe"
    try:
        dropped = as_user(DROPPER_UID, str(GROUP), "cp", "-r", str(draft), str(root / "inbox/shoe"))
        assert dropped.returncode == 0, dropped.stderr
        opened = as_user(DROPPER_UID, str(GROUP), "chmod", "-R", "g+w", str(root / "inbox/shoe"))
        assert opened.returncode == 0, opened.stderr
        ready = as_user(DROPPER_UID, str(GROUP), "touch", str(root / "inbox/shoe/READY"))
        assert ready.returncode == 0, ready.stderr
        outcome_file = back / ("result.json" if outcome == "done" else "error.json")
        assert wait_until(outcome_file.exists), (tmp_path / "log").read_text()
    finally:
        daemon.terminate()
        assert daemon.wait(PATIENCE_S) == 0
    written = [path for path in [back, *back.rglob("*")] if path.stat().st_uid == DAEMON_UID]
    assert written, "the daemon wrote something"
    assert {path.stat().st_gid for path in written} == {GROUP}
    assert as_user(STRANGER_UID, str(STRANGER_UID), "rm", "-rf", str(back)).returncode != 0
    assert outcome_file.exists()
    removed = as_user(DROPPER_UID, str(GROUP), "rm", "-r", str(back))
    assert removed.returncode == 0, removed.stderr
    assert not back.exists()


def open_the_way(folder: Path) -> None:
    """pytest's folders are for their owner only, with and without a folder per test process."""
    for parent in [folder, *folder.parents]:
        if parent.name.startswith("pytest-of-"):
            os.chmod(parent, 0o755)
            break
        os.chmod(parent, 0o755)
