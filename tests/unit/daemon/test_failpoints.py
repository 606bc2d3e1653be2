"""The points at which tests kill and fail the daemon."""

import os
from pathlib import Path

import pytest

from daemon import failpoints
from repository import REPOSITORY


@pytest.fixture(autouse=True)
def _fresh() -> None:
    failpoints._raised.clear()


def test_nothing_happens_unless_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither without the variable nor at another point."""
    monkeypatch.delenv("MESHDROP_FAILPOINT", raising=False)
    failpoints.hit("before:job-added")
    monkeypatch.setenv("MESHDROP_FAILPOINT", "before:job-added=EIO")
    failpoints.hit("after:job-added")


def test_an_error_is_raised_so_many_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the step succeeds."""
    monkeypatch.setenv("MESHDROP_FAILPOINT", "before:job-added=ENOSPC*2")
    for _ in range(2):
        with pytest.raises(OSError, match=os.strerror(28)):
            failpoints.hit("before:job-added")
    failpoints.hit("before:job-added")


def test_a_kill_is_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """No handler, no cleaning up."""
    monkeypatch.setenv("MESHDROP_FAILPOINT", "before:job-added")
    pid = os.fork()
    if pid == 0:
        failpoints.hit("before:job-added")
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == 9


def test_every_point_is_passed_before_and_after() -> None:
    """The list and the code are the same, so that a test which walks the list walks every step."""
    code = "".join(file.read_text("utf-8") for file in Path(REPOSITORY / "daemon").rglob("*.py"))
    for name in failpoints.FAILPOINTS:
        assert f'failpoints.hit("{name}")' in code
    assert code.count("failpoints.hit(") == len(failpoints.FAILPOINTS)
