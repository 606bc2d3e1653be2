"""Following the queue."""

import os
import signal
import time

import pytest

from daemon.cli import jobs


class Falls:
    """Ctrl-C while this goes away: Python drops exceptions there."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)


def test_ctrl_c_in_an_unlucky_moment_is_not_lost() -> None:
    """Pressed while an object is finalised it ends the view at the next look; a second one interrupts at once."""
    before, renewed = signal.getsignal(signal.SIGINT), []

    def renew() -> None:
        renewed.append(1)
        Falls()

    try:
        jobs._until_interrupted(renew)
        assert len(renewed) == 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
