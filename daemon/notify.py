"""Telling others: systemd that the loop turns, people that their job has ended.

Notifications leave from a short-lived process of their own (``python -m daemon.notify``, the message on its
standard input), so that the daemon opens no socket and never waits for somebody's mail server.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import sdnotify
import structlog

from daemon.config import NotifyConfig
from daemon.jobs import Job
from daemon.names import shown

log = structlog.get_logger()

PAUSES_S = (2.0, 10.0, 60.0, 300.0)
"""Between attempts to deliver."""


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
    """Tells people how their jobs ended.

    Args:
        config: Targets by name; a job may ask for some of them, never for an address of its own.
        stderr_file: Where the sending processes complain.
    """

    def __init__(self, config: NotifyConfig, stderr_file: Path) -> None:
        self._config = config
        self._stderr_file = stderr_file
        self._senders: list[subprocess.Popen[bytes]] = []

    def tell(self, job: Job) -> None:
        """Send the outcome of a job to whom it concerns; never fails, never waits."""
        self._senders = [sender for sender in self._senders if sender.poll() is None]
        urls = self._urls(job)
        if not urls:
            return
        why = job.failure.message if job.failure else str(job.summary.get("verdict", ""))
        message = {
            "urls": urls,
            "title": f"Meshdrop: {shown(job.folder)} {job.state.value}",
            "body": f"{why}\n{shown(job.destination)}",
        }
        try:
            with self._stderr_file.open("ab") as stderr:
                sender = subprocess.Popen(
                    [sys.executable, "-P", "-m", "daemon.notify"],
                    stdin=subprocess.PIPE,
                    stdout=stderr,
                    stderr=stderr,
                    env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                )
            assert sender.stdin is not None
            sender.stdin.write(json.dumps(message).encode())
            sender.stdin.close()
            self._senders.append(sender)
        except OSError as error:
            log.warning("notification not sent", job_id=job.job_id, reason=str(error))

    def _urls(self, job: Job) -> list[str]:
        asked = job.options.get("notify", ())
        wanted = set(asked if isinstance(asked, list | tuple) else ())
        is_general = job.state.value in self._config.on
        return [url for name, url in self._config.targets.items() if name in wanted or (is_general and not wanted)]


def main() -> None:
    """Deliver the message on standard input, trying again for some minutes."""
    import apprise

    message = json.load(sys.stdin)
    for url in message["urls"]:
        sender = apprise.Apprise()
        sender.add(url)
        for pause_s in (*PAUSES_S, 0.0):
            if sender.notify(title=message["title"], body=message["body"]):
                break
            time.sleep(pause_s)


if __name__ == "__main__":
    main()
