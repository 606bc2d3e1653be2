"""Telling others: systemd that the loop turns, people how their jobs end and that the queue is stuck.

Messages are files in STATE/outbox.  A process of its own (``daemon.sender``), started when the first message is
there, carries them out and removes them: the daemon opens no socket, never waits for somebody's mail server, and a
restart of either loses nothing.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import sdnotify
import structlog

from daemon.config import NotifyConfig, NotifyEvent
from daemon.jobs import Job
from daemon.names import shown

log = structlog.get_logger()

MAX_WAITING = 1_000
"""Messages that may wait for their receivers; what comes on top is not told."""
RESTART_PAUSE_S = 30.0
"""Between attempts to start a sender that does not stay."""


class ServiceManager:
    """systemd's readiness and watchdog protocol; silent when systemd did not start us.

    ``alive`` is called by the loop itself, never by a thread of its own, which would go on while the loop hangs.
    """

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier() if "NOTIFY_SOCKET" in os.environ else None

    def ready(self) -> None:
        """The daemon serves."""
        self._send("READY=1")

    def alive(self, status: str) -> None:
        """The loop has turned once more."""
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def stopping(self) -> None:
        """The daemon is about to end."""
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(state)


class Notifier:
    """Writes messages for the configured receivers and keeps the sending process alive.

    Args:
        config: Receivers by name; a job may ask for some of them, never for an address of its own.
        state: Holds ``outbox/`` and ``notify.log``, where the sending process complains.
    """

    def __init__(self, config: NotifyConfig, state: Path) -> None:
        self._config = config
        self._outbox = state / "outbox"
        self._log_file = state / "notify.log"
        self._sender: subprocess.Popen[bytes] | None = None
        self._start_s = 0.0
        self._number = 0

    def tell(self, job: Job) -> None:
        """Announce how a job ended to whom it concerns; never fails, never waits for a receiver."""
        asked = job.options.get("notify", ())
        wanted = set(asked if isinstance(asked, list | tuple) else ())
        receivers = self._names() & wanted if wanted else self._names() if job.state.value in self._config.on else set()
        why = job.failure.message if job.failure else str(job.summary.get("verdict", ""))
        about: dict[str, object] = {
            "title": f"Meshdrop: {shown(job.folder)} {job.state.value}",
            "body": f"{why}\n{shown(job.destination)}",
            "job_id": job.job_id,
            "folder": shown(job.folder),
            "code": job.failure.code.value if job.failure else "",
        }
        self._post(receivers, job.state.value, about)

    def warn(self, event: NotifyEvent, title: str, body: str) -> None:
        """Announce something about the daemon as a whole."""
        self._post(self._names() if event in self._config.on else set(), event, {"title": title, "body": body})

    def round(self) -> None:
        """See that messages which wait have a process to carry them."""
        if not self._names() or (self._sender is not None and self._sender.poll() is None):
            return
        with suppress(OSError):
            if time.monotonic() >= self._start_s and any(self._outbox.iterdir()):
                self._start()

    def stop(self) -> None:
        """End the sending process; messages that wait are sent after the next start."""
        if self._sender is not None:
            self._sender.kill()
            self._sender.wait()
            self._close()

    def _names(self) -> set[str]:
        return {*self._config.targets, *self._config.webhooks}

    def _post(self, receivers: set[str], event: str, about: dict[str, object]) -> None:
        if not receivers:
            return
        try:
            self._outbox.mkdir(mode=0o700, exist_ok=True)
            if len(os.listdir(self._outbox)) + len(receivers) > MAX_WAITING:
                log.warning("not told: too many messages wait for their receivers", notification=event)
                return
            for receiver in sorted(receivers):
                self._number += 1
                name = f"{time.time_ns():020d}-{self._number:06d}.json"
                message = {"id": name[:-5], "receiver": receiver, "event": event, "created_s": time.time()} | about
                (self._outbox / f".{name}").write_text(json.dumps(message), "utf-8")
                (self._outbox / f".{name}").rename(self._outbox / name)
            self.round()
            if self._sender is not None and self._sender.stdin is not None:
                os.write(self._sender.stdin.fileno(), b"\n")
        except BlockingIOError:
            return  # the pipe is full of such hints already
        except OSError as error:
            log.warning("not told", notification=event, reason=str(error))

    def _start(self) -> None:
        self._close()
        self._start_s = time.monotonic() + RESTART_PAUSE_S
        with self._log_file.open("ab") as log_stream:
            self._sender = subprocess.Popen(
                [sys.executable, "-P", "-m", "daemon.sender"],
                stdin=subprocess.PIPE,
                stdout=log_stream,
                stderr=log_stream,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        assert self._sender.stdin is not None
        # Not in the arguments nor the environment, which other processes may read.
        self._sender.stdin.write(sender_setup(self._config, self._outbox))
        self._sender.stdin.flush()
        os.set_blocking(self._sender.stdin.fileno(), False)

    def _close(self) -> None:
        if self._sender is not None and self._sender.stdin is not None:
            with suppress(OSError):
                self._sender.stdin.close()
        self._sender = None


def sender_setup(config: NotifyConfig, outbox: Path) -> bytes:
    """The first line that the sending process reads, addresses and secrets included."""
    setup = {
        "outbox": str(outbox),
        "give_up_after_s": config.give_up_after_s,
        "targets": {name: url.get_secret_value() for name, url in config.targets.items()},
        "webhooks": {name: [hook.url, hook.secret.get_secret_value()] for name, hook in config.webhooks.items()},
    }
    return json.dumps(setup).encode() + b"\n"


def unusable_receivers(config: NotifyConfig) -> list[str]:
    """Names of targets whose URL Apprise does not understand and of webhooks with a malformed secret.

    Asked of the sending process, which loads what knows about networks.
    """
    if not config.targets and not config.webhooks:
        return []
    finished = subprocess.run(
        [sys.executable, "-P", "-m", "daemon.sender", "check"],
        input=sender_setup(config, Path()),
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    return [str(name) for name in json.loads(finished.stdout)]
