"""What happens after a job has ended: people are told, numbers are kept, old outcomes go."""

import http.server
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import fakes
from daemon.retention import remove_expired
from served import served, wait_until


class Inbox(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    messages: list[dict[str, object]] = []  # noqa: RUF012  # shared on purpose: one handler per request

    def do_POST(self) -> None:
        self.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class calls it so
        """Say nothing on the terminal."""


@pytest.fixture
def mailbox() -> Iterator[str]:
    """The Apprise URL of a server that keeps messages."""
    Inbox.messages.clear()
    server = http.server.HTTPServer(("127.0.0.1", 0), Inbox)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Apprise takes a receiver for dead after four seconds, and would tell one that is only slow a second time.
    yield f"json://127.0.0.1:{server.server_address[1]}/?cto=30&rto=30"
    server.shutdown()
    server.server_close()


def test_people_are_told(tmp_path: Path, mailbox: str) -> None:
    """A finished job is announced to the targets, by a process of its own, with its name made harmless."""
    notify: dict[str, object] = {"targets": {"studio": mailbox}, "on": ["failed"]}
    with served(tmp_path, notify=notify) as share:
        fakes.write_job(share.config.inbox / "quiet")
        fakes.write_job(share.config.inbox / "bad\x1b[1m", {"raise": "ObjectNotFound"})
        asking = fakes.write_job(share.config.inbox / "asking")
        (asking / "job.toml").write_text('notify = ["studio", "http://evil.example"]\n')
        share.until(lambda: set(share.states().values()) <= {"done", "failed"} and len(share.states()) == 3)
        assert wait_until(lambda: len(Inbox.messages) == 2)
    titles = {str(message["title"]) for message in Inbox.messages}
    assert titles == {"Meshdrop: bad\\x1b[1m failed", "Meshdrop: asking done"}


def test_old_outcomes_go_and_nothing_else(tmp_path: Path) -> None:
    """Only what the daemon put there, and only where it still is what it put there."""
    with served(tmp_path, retention={"done_after_s": 100.0}) as share:
        for name in ("old", "replaced", "kept"):
            fakes.write_job(share.config.inbox / name, {"raise": "ObjectNotFound"} if name == "kept" else None)
        share.until(lambda: set(share.states().values()) == {"done", "failed"} and len(share.states()) == 3)
        share.until(lambda: not share.store.active())
        (share.config.done / "mine").mkdir()
        (share.config.done / "replaced/result.json").write_text("{}")
        ended_s = share.job("old").finished_at_s
        assert ended_s is not None
        remove_expired(share.config, share.store, ended_s + 50)
        assert len(os.listdir(share.config.done)) == 3
        remove_expired(share.config, share.store, ended_s + 200)
        assert sorted(os.listdir(share.config.done)) == ["mine", "replaced"]
        assert os.listdir(share.config.failed) == ["kept"]
        assert share.job("old").destination == ""


def test_the_oldest_outcomes_make_room(tmp_path: Path) -> None:
    """While the share lacks space the oldest outcomes go, one by one, and no more of them than needed."""
    with served(tmp_path, retention={"min_free_bytes": 1000}) as share:
        for name in ("first", "second", "third"):
            fakes.write_job(share.config.inbox / name)
            share.until((share.config.done / name).exists)
            share.until(lambda: not share.store.active())
        free_bytes = iter((0, 0, 5000))
        usage = shutil._ntuple_diskusage
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda _folder: usage(10_000, 0, next(free_bytes)))
            remove_expired(share.config, share.store, 0.0)
        assert os.listdir(share.config.done) == ["third"]
        assert (share.job("first").destination, share.job("third").destination) == ("", "done/third")


def test_retention_is_off_by_default(tmp_path: Path) -> None:
    """Without the operator's word nothing is ever removed."""
    with served(tmp_path) as share:
        fakes.write_job(share.config.inbox / "shoe")
        share.until(lambda: (share.config.done / "shoe").exists() and not share.store.active())
        remove_expired(share.config, share.store, 1e12)
        assert (share.config.done / "shoe/result.json").exists()
