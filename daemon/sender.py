"""The process that carries messages to mail servers, chats and webhooks: the only part of Meshdrop with a socket.

Started as ``python -m daemon.sender`` when a message waits; the receivers come on the first line of its standard input,
every further line says that there may be a new message, and the end of the input ends it.  Each receiver has a
thread of its own, so a dead one delays no other.  A message is removed once it is delivered or too old.
"""

import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
import queue
import re
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 300.0
"""Between attempts to deliver one message."""
TIMEOUT_S = 10.0
RESCAN_S = 30.0
SECRET_PREFIX = "whsec_"  # noqa: S105  # marks a secret, is none

Message = dict[str, Any]
Deliver = Callable[[Message], bool]


class Route:
    """The messages of one receiver, in their order."""

    def __init__(self, name: str, deliver: Deliver, give_up_after_s: float) -> None:
        self._name = name
        self._deliver = deliver
        self._give_up_after_s = give_up_after_s
        self._waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._known: set[str] = set()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def offer(self, file: Path) -> None:
        """Take charge of a message, once."""
        if file.name not in self._known:
            self._known.add(file.name)
            self._waiting.put(file)

    def _work(self) -> None:
        while True:
            file = self._waiting.get()
            message = read_message(file)
            if message is not None:
                self._carry(message)
            file.unlink(missing_ok=True)
            self._known.discard(file.name)

    def _carry(self, message: Message) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._is_delivered(message):
            if time.time() - float(message["created_s"]) + pause_s > self._give_up_after_s:
                complain(f"{self._name}: given up: {message['title']}")
                return
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _is_delivered(self, message: Message) -> bool:
        try:
            is_delivered, reason = self._deliver(message), "refused"
        except Exception as error:  # whatever a receiver answers, the next message has its turn
            is_delivered, reason = False, type(error).__name__ + _status(error)
        if not is_delivered:
            complain(f"{self._name}: not delivered ({reason}): {message['title']}")
        return is_delivered


def _status(error: Exception) -> str:
    return f" {error.code}" if isinstance(error, urllib.error.HTTPError) else ""


def complain(sentence: str) -> None:
    """One line in STATE/notify.log; addresses and secrets stay out of it."""
    sys.stderr.write(time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + sentence + "\n")
    sys.stderr.flush()


def read_message(file: Path) -> Message | None:
    """A message of the outbox; None for what is no message (it is thrown away)."""
    try:
        message = json.loads(file.read_text("utf-8"))
        return message if {"receiver", "title", "body", "created_s"} <= set(message) else None
    except (OSError, ValueError, TypeError):
        return None


def through_apprise(url: str) -> Deliver:
    """Delivery to an Apprise URL.

    Raises:
        ValueError: Apprise does not understand it.
    """
    import apprise

    # Apprise's own log lines name addresses.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    receiver = apprise.Apprise()
    if not receiver.add(url):
        raise ValueError("not an Apprise URL")
    kinds = {"done": apprise.NotifyType.SUCCESS, "failed": apprise.NotifyType.FAILURE}

    def deliver(message: Message) -> bool:
        kind = kinds.get(str(message["event"]), apprise.NotifyType.WARNING)
        text_format = apprise.NotifyFormat.TEXT
        return bool(
            receiver.notify(title=message["title"], body=message["body"], notify_type=kind, body_format=text_format)
        )

    return deliver


def through_webhook(url: str, secret: str) -> Deliver:
    """Delivery as a signed POST by the Standard Webhooks specification; 2xx means delivered, redirects do not.

    Raises:
        ValueError: The secret is not whsec_ and 24 to 64 bytes in base64.
    """
    key = webhook_key(secret)
    opener = urllib.request.build_opener(_NoRedirect)

    def deliver(message: Message) -> bool:
        body = json.dumps({name: value for name, value in message.items() if name != "receiver"}).encode()
        timestamp_s = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Meshdrop",
            "webhook-id": str(message["id"]),
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": sign(key, str(message["id"]), timestamp_s, body),
        }
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310  # http(s) by the configuration
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return 200 <= int(answer.status) < 300

    return deliver


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A signed message goes where the operator said and nowhere else."""


def webhook_key(secret: str) -> bytes:
    """The bytes behind ``whsec_...``.

    Raises:
        ValueError: It is not that.
    """
    if not re.fullmatch(rf"{SECRET_PREFIX}[A-Za-z0-9+/=]+", secret):
        raise ValueError("a webhook secret is whsec_ and base64")
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if not 24 <= len(key) <= 64:
        raise ValueError("a webhook secret has 24 to 64 bytes")
    return key


def sign(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The header webhook-signature: HMAC-SHA256 over identifier, time and body."""
    digest = hmac.digest(key, f"{message_id}.{timestamp_s}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def routes(setup: dict[str, Any]) -> tuple[dict[str, Deliver], list[str]]:
    """How each receiver is reached, and the names of those that cannot be."""
    makers: dict[str, Callable[[], Deliver]] = {
        name: partial(through_apprise, url) for name, url in setup["targets"].items()
    } | {name: partial(through_webhook, url, secret) for name, (url, secret) in setup["webhooks"].items()}
    usable: dict[str, Deliver] = {}
    unusable: list[str] = []
    for name, make in makers.items():
        try:
            usable[name] = make()
        except ValueError:
            unusable.append(name)
    return usable, unusable


def serve(setup: dict[str, Any]) -> NoReturn:
    """Hand new messages to the threads of their receivers, for ever."""
    delivers, _ = routes(setup)
    lines = {name: Route(name, deliver, float(setup["give_up_after_s"])) for name, deliver in delivers.items()}
    news = threading.Event()
    threading.Thread(target=_listen, args=(news,), name="news", daemon=True).start()
    while True:
        news.clear()
        for file in sorted(Path(setup["outbox"]).glob("[0-9]*.json")):
            message = read_message(file)
            if message is None or message["receiver"] not in lines:
                file.unlink(missing_ok=True)
            else:
                lines[message["receiver"]].offer(file)
        news.wait(RESCAN_S)


def _listen(news: threading.Event) -> None:
    for _ in sys.stdin.buffer:
        news.set()
    # The daemon is gone; its successor starts a sender of its own.
    os._exit(0)


def main(arguments: list[str]) -> None:
    """Send, or with ``check`` say which receivers cannot be used."""
    setup = json.loads(sys.stdin.buffer.readline())
    if arguments == ["check"]:
        sys.stdout.write(json.dumps(routes(setup)[1]))
        return
    serve(setup)


if __name__ == "__main__":
    main(sys.argv[1:])
