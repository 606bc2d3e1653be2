"""Real servers on loopback that receive notifications: HTTP with a script of answers, and SMTP."""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser

from aiosmtpd.controller import Controller

from served import PATIENCE_S, free_port


@dataclass(frozen=True)
class Request:
    """One POST as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpReceiver:
    """What arrived, and what to answer: one status per request, 200 when the script is over."""

    port: int = 0
    answers: list[int] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    delay_s: float = 0.0

    def patient_url(self, user: str = "") -> str:
        """For Apprise, which otherwise takes a receiver for dead after four seconds and tells it a second time."""
        return f"json://{user}127.0.0.1:{self.port}/?cto=30&rto=30"


@contextmanager
def http_receiver(answers: list[int] | None = None, delay_s: float = 0.0) -> Iterator[HttpReceiver]:
    """Serve until the end of the block."""
    receiver = HttpReceiver(answers=list(answers or []), delay_s=delay_s)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(receiver.delay_s)
            receiver.requests.append(Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status = receiver.answers.pop(0) if receiver.answers else 200
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
            self.end_headers()

        do_GET = do_POST  # the base class calls it so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class calls it so
            """Say nothing on the terminal."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()


class _Mailbox:
    def __init__(self) -> None:
        self.mails: list[Message] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: object) -> str:  # aiosmtpd calls it so
        self.mails.append(BytesParser().parsebytes(envelope.content))  # type: ignore[attr-defined]
        return "250 OK"


@contextmanager
def mail_receiver() -> Iterator[tuple[int, list[Message]]]:
    """The port of a mail server and what it received."""
    mailbox = _Mailbox()
    port = free_port()
    # The class allows itself five seconds to start, which a busy machine may take.
    controller = Controller(mailbox, hostname="127.0.0.1", port=port, ready_timeout=PATIENCE_S)
    controller.start()
    try:
        yield port, mailbox.mails
    finally:
        controller.stop()
