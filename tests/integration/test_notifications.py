"""People are told through real servers, and no server, however slow or dead, is waited for."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fakes
from daemon.config import NotifyConfig
from daemon.notify import Notifier
from daemon.share import create_share
from receivers import http_receiver, mail_receiver
from served import free_port, served, wait_until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def waiting(state: Path) -> int:
    """Messages that were not delivered yet."""
    return len(os.listdir(state / "outbox")) if (state / "outbox").exists() else 0


def test_a_webhook_is_signed_and_tried_again(tmp_path: Path) -> None:
    """A receiver that fails twice gets the message the third time: same identifier, valid signature, what happened."""
    with http_receiver(answers=[500, 302]) as receiver:
        hooks = {"farm": {"url": f"http://127.0.0.1:{receiver.port}/hook", "secret": SECRET}}
        with served(tmp_path, notify={"webhooks": hooks}) as share:
            fakes.write_job(share.config.inbox / "shoe", {"raise": "ObjectNotFound"})
            share.until(lambda: (share.config.failed / "shoe").exists() and not share.store.active())
            assert wait_until(lambda: len(receiver.requests) == 3)
            assert wait_until(lambda: waiting(share.config.state) == 0)
            job_id = share.job("shoe").job_id
    assert {request.path for request in receiver.requests} == {"/hook"}, "a redirect was followed"
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    for request in receiver.requests:
        headers = request.headers
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
        digest = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256)
        assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    about = json.loads(receiver.requests[-1].body)
    assert (about["event"], about["folder"], about["code"], about["job_id"]) == (
        "failed", "shoe", "OBJECT_NOT_FOUND", job_id,
    )  # fmt: skip
    complaints = (tmp_path / "state/notify.log").read_text()
    assert complaints.count("farm: not delivered") == 2
    assert "127.0.0.1" not in complaints
    assert SECRET not in complaints


def test_mail_arrives(tmp_path: Path) -> None:
    """A finished job is announced by mail, its name made harmless, with the verdict and the place."""
    with mail_receiver() as (port, mails):
        url = f"mailto://127.0.0.1:{port}?from=meshdrop@studio.example&to=anna@studio.example&smtp=127.0.0.1"
        with served(tmp_path, notify={"targets": {"anna": url}}) as share:
            fakes.write_job(share.config.inbox / "red\x1bshoe")
            share.until(lambda: len(os.listdir(share.config.done)) == 1 and not share.store.active())
            assert wait_until(lambda: len(mails) == 1)
    mail = mails[0]
    assert "anna@studio.example" in mail["To"]
    assert mail["Subject"] == "Meshdrop: red\\x1bshoe done"
    parts = [part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()]
    text = b"".join(part for part in parts if isinstance(part, bytes)).decode()
    assert "normal" in text
    assert "done/red" in text


def test_dead_and_slow_receivers_delay_nobody(tmp_path: Path) -> None:
    """With one receiver dead and one asleep, jobs end as ever and the third receiver hears of each, in order."""
    with http_receiver(delay_s=60.0) as asleep, http_receiver() as awake:
        targets = {
            "dead": f"json://127.0.0.1:{free_port()}/",
            "asleep": f"json://127.0.0.1:{asleep.port}/",
            "awake": awake.patient_url(),
        }
        with served(tmp_path, notify={"targets": targets}) as share:
            for number in range(8):
                fakes.write_job(share.config.inbox / f"job{number}")
            share.until(lambda: len(os.listdir(share.config.done)) == 8 and not share.store.active())
            assert wait_until(lambda: len(awake.requests) == 8)
            ended = {job.folder: job.finished_at_s or 0.0 for job in share.store.recent(10)}
            # The last message is heard a moment before its sender, answered, removes it.
            assert wait_until(lambda: waiting(share.config.state) == 16)
        assert waiting(tmp_path / "state") == 16, "a stop loses messages"
    told = [str(json.loads(request.body)["title"]).split()[1] for request in awake.requests]
    assert told == sorted(ended, key=lambda folder: ended[folder])


def test_messages_survive_a_restart_of_the_daemon(tmp_path: Path) -> None:
    """What could not be delivered before is delivered after, once."""
    with served(tmp_path, notify={"targets": {"studio": f"json://127.0.0.1:{free_port()}/"}}) as share:
        fakes.write_job(share.config.inbox / "shoe")
        share.until(lambda: (share.config.done / "shoe").exists() and not share.store.active())
        assert wait_until(lambda: "not delivered" in (tmp_path / "state/notify.log").read_text())
    with http_receiver() as receiver:
        targets = {"studio": receiver.patient_url()}
        with served(tmp_path, notify={"targets": targets}) as share:
            share.supervisor.turn()
            assert wait_until(lambda: len(receiver.requests) == 1)
            assert wait_until(lambda: waiting(share.config.state) == 0)
    assert len(receiver.requests) == 1


def test_an_old_message_is_given_up(tmp_path: Path) -> None:
    """A receiver that is gone for good does not fill the disk."""
    config = NotifyConfig.model_validate(
        {"targets": {"dead": f"json://127.0.0.1:{free_port()}/"}, "give_up_after_s": 2.0}
    )
    notifier = Notifier(config, tmp_path)
    notifier.warn("stuck", "title", "body")
    assert waiting(tmp_path) == 1
    assert wait_until(lambda: waiting(tmp_path) == 0)
    assert "dead: given up: title" in (tmp_path / "notify.log").read_text()
    notifier.stop()


def test_a_flood_is_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many jobs end while a receiver is dead, only so many messages wait."""
    monkeypatch.setattr("daemon.notify.MAX_WAITING", 5)
    config = NotifyConfig.model_validate({"targets": {"dead": f"json://127.0.0.1:{free_port()}/"}})
    notifier = Notifier(config, tmp_path)
    for number in range(20):
        notifier.warn("stuck", f"title {number}", "body")
    assert waiting(tmp_path) == 5
    notifier.stop()


def test_nothing_is_started_without_receivers(tmp_path: Path) -> None:
    """Without configuration there is no process, no outbox, no socket."""
    with served(tmp_path) as share:
        fakes.write_job(share.config.inbox / "shoe")
        share.until(lambda: (share.config.done / "shoe").exists() and not share.store.active())
        assert not (share.config.state / "outbox").exists()
        assert not (share.config.state / "notify.log").exists()


def test_a_stuck_queue_is_told_once(tmp_path: Path) -> None:
    """Jobs wait, the worker's job does not come forward: one message, an unhealthy daemon, and health when it moves."""
    with http_receiver() as receiver:
        notify = {"targets": {"studio": receiver.patient_url()}, "stuck_after_s": 4.0, "on": ["stuck"]}
        with served(tmp_path, notify=notify) as share:
            board = share.supervisor.board
            share.until(lambda: share.supervisor.dispatch.executors[0].is_idle)
            fakes.write_job(share.config.inbox / "slow", {"hang": True})
            share.until(lambda: share.states().get("slow") == "running")
            fakes.write_job(share.config.inbox / "next")
            share.until(lambda: board.health.is_stuck)
            assert wait_until(lambda: len(receiver.requests) == 1)
            share.for_s(1.0)
            assert len(receiver.requests) == 1
            assert any("does not come forward" in problem for problem in board.health.report("")["problems"])
            (share.config.inbox / "slow/CANCEL").touch()
            share.until((share.config.done / "next").exists)
            assert not board.health.is_stuck
    assert "the queue is stuck" in receiver.requests[0].body.decode()


def test_secrets_stay_with_the_sender(tmp_path: Path) -> None:
    """No log, status file, published file, process argument or worker's environment holds a password or secret."""
    create_share(tmp_path / "share")
    with http_receiver() as receiver:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "MESHDROP_ROOT": str(tmp_path / "share"),
            "MESHDROP_STATE": str(tmp_path / "state"),
            "MESHDROP_INTAKE__SETTLE_S": "0.1",
            "MESHDROP_LOG__LEVEL": "debug",
            "MESHDROP_WORKER__ENTRY": "fakes:reconstruct",
            "MESHDROP_WORKER__PRELOAD": "[]",
            "MESHDROP_NOTIFY__TARGETS": json.dumps({"studio": receiver.patient_url("anna:hushhush@")}),
            "MESHDROP_NOTIFY__WEBHOOKS": json.dumps(
                {"farm": {"url": f"http://127.0.0.1:{free_port()}/", "secret": SECRET}}
            ),
        }
        daemon = subprocess.Popen(
            [sys.executable, "-m", "daemon", "serve"], env=environment, stderr=(tmp_path / "stderr").open("wb")
        )
        try:
            fakes.write_job(tmp_path / "share/inbox/shoe")
            assert wait_until(lambda: len(receiver.requests) == 1), (tmp_path / "stderr").read_text()
            health = json.loads((tmp_path / "state/health.json").read_text())
            worker = Path(f"/proc/{health['workers'][0]['pid']}")
            assert b"MESHDROP_ROOT" in (worker / "environ").read_bytes()
            assert b"NOTIFY" not in (worker / "environ").read_bytes()
            children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
            commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
            (sender,) = [command for command in commands if b"daemon.sender" in command]
            assert b"hushhush" not in sender
        finally:
            daemon.terminate()
            assert daemon.wait(30) == 0
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"stderr", "health.json", "result.json", "notify.log", "jobs.sqlite3"} <= {path.name for path in written}
    for path in written:
        data = path.read_bytes()
        assert b"hushhush" not in data, path
        assert SECRET.removeprefix("whsec_").encode() not in data, path
