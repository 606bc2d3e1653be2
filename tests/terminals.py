"""Run the command line as a person does, in a pseudo-terminal, or as a script does, in a pipe."""

import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping
from fcntl import ioctl

from served import PATIENCE_S

ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])")
MESHDROP = (sys.executable, "-m", "daemon")


def plain(text: str) -> str:
    """The letters without what steers the terminal."""
    return ESCAPES.sub("", text).replace("\r", "")


def piped(
    *arguments: str, environment: Mapping[str, str], program: tuple[str, ...] = MESHDROP
) -> subprocess.CompletedProcess[str]:
    """Run a command whose output is read by a program."""
    return subprocess.run(
        [*program, *arguments], capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | dict(environment), stdin=subprocess.DEVNULL,
    )  # fmt: skip


class Terminal:
    """A command in a terminal of 120 by 40 letters."""

    def __init__(self, *arguments: str, environment: Mapping[str, str], program: tuple[str, ...] = MESHDROP) -> None:
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        settings = {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40", **environment}
        settings = {name: text for name, text in {**os.environ, **settings}.items() if name != "NO_COLOR"}
        self._process = subprocess.Popen(
            # setsid makes this terminal the command's own, so that Ctrl-C reaches it
            ["setsid", "--ctty", "--wait", *program, *arguments],
            stdin=slave, stdout=slave, stderr=slave, env=settings,
        )  # fmt: skip
        os.close(slave)
        self.screen = ""
        """Everything that was printed, escapes included."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                block = os.read(self._master, 65536)
            except OSError:  # the last process has closed its end
                return
            if not block:
                return
            self.screen += block.decode("utf-8", "replace")

    def until(self, is_true: Callable[[str], bool], turn: Callable[[], None], timeout_s: float = PATIENCE_S) -> None:
        """Let something else go on until the screen shows what is waited for."""
        deadline_s = time.monotonic() + timeout_s
        try:
            while not is_true(plain(self.screen)):
                assert time.monotonic() < deadline_s, self.screen
                turn()
        except BaseException:
            self._process.kill()  # a command that watches would go on for ever
            raise

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._master, keys)

    def end(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for the command's end; its exit code."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        self._reader.join(timeout_s)
        os.close(self._master)
        return code
