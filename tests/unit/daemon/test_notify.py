"""What systemd is told, and what is left in the outbox for whom."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from daemon import notify as module
from daemon.config import load_config
from daemon.errors import ErrorCode, Failure
from daemon.jobs import Job, JobState
from daemon.notify import Notifier, ServiceManager


def test_systemd_is_spoken_to_in_its_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness, a sign of life with the status, and the end; one datagram each."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "n"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        service = ServiceManager()
        service.ready()
        service.alive("3 jobs")
        service.stopping()
        heard = [listener.recv(1000) for _ in range(3)]
    assert heard == [b"READY=1", b"WATCHDOG=1\nSTATUS=3 jobs", b"STOPPING=1"]


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that was started by hand."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service = ServiceManager()
    service.ready()
    service.alive("")
    service.stopping()


class Outbox:
    """A notifier whose sending process is never started."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch, on: list[str]) -> None:
        monkeypatch.setattr(Notifier, "_start", lambda _notifier: None)
        targets = {"studio": "json://localhost/a", "alice": "json://localhost/b"}
        config = load_config(root=base, notify={"targets": targets, "on": on})
        self.folder = base / "outbox"
        self.notifier = Notifier(config.notify, base)

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(file.read_text()) for file in sorted(self.folder.glob("[!.]*.json"))]


def job(state: JobState, **options: object) -> Job:
    failure = Failure(ErrorCode.INPUT_CORRUPT, "cut off") if state is JobState.FAILED else None
    return Job("id-1", "sho\x1be", state, options=options, failure=failure, destination="failed/sho\x1be")


def test_only_what_was_asked_for_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To every receiver, with the failure's code, and names that cannot steer a terminal."""
    outbox = Outbox(tmp_path, monkeypatch, ["failed"])
    outbox.notifier.tell(job(JobState.DONE))
    assert outbox.messages() == []
    outbox.notifier.tell(job(JobState.FAILED))
    assert {message["receiver"] for message in outbox.messages()} == {"studio", "alice"}
    for message in outbox.messages():
        assert (message["event"], message["code"], message["folder"]) == ("failed", "INPUT_CORRUPT", "sho\\x1be")
        assert "\x1b" not in json.dumps(message)


@pytest.mark.parametrize(
    ("asked", "told"),
    [(["alice"], {"alice"}), (["alice", "http://evil.example"], {"alice"}), (["nobody"], set()), ("alice", set())],
)
def test_a_job_may_choose_among_the_receivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: object, told: set[str]
) -> None:
    """By the operator's names; an address of its own is nobody's name."""
    outbox = Outbox(tmp_path, monkeypatch, [])
    outbox.notifier.tell(job(JobState.DONE, notify=asked))
    assert {message["receiver"] for message in outbox.messages()} == told


def test_the_outbox_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While receivers are away what comes on top is not told; the daemon goes on."""
    monkeypatch.setattr(module, "MAX_WAITING", 5)
    outbox = Outbox(tmp_path, monkeypatch, ["failed"])
    for _ in range(10):
        outbox.notifier.tell(job(JobState.FAILED))
    assert len(outbox.messages()) == 4


def test_a_message_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full while it is written leaves nothing that the sender would read, and no error."""
    outbox = Outbox(tmp_path, monkeypatch, ["failed"])
    rename = Path.rename

    def full(_source: Path, _target: Path) -> Path:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "rename", full)
    outbox.notifier.tell(job(JobState.FAILED))
    assert outbox.messages() == []
    monkeypatch.setattr(Path, "rename", rename)
    outbox.notifier.tell(job(JobState.FAILED))
    assert len(outbox.messages()) == 2
