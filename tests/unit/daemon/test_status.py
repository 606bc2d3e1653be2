"""The pages that people look at."""

from daemon.errors import ErrorCode, Failure
from daemon.jobs import Job, JobState
from daemon.status import render_page

EVIL = "<script>alert(1)</script>\u202e\x1b[2J\"'&"


def test_names_cannot_inject_anything() -> None:
    """A folder's name reaches the page as text only, in links as percent codes."""
    failure = Failure(ErrorCode.INTERNAL_ERROR, EVIL)
    jobs = [Job("1", EVIL, JobState.RUNNING), Job("2", "caf\udce9", JobState.WAITING)]
    ended = [Job("3", EVIL, JobState.FAILED, finished_at_s=1.0, failure=failure, destination=f"failed/{EVIL}")]
    page = render_page([(job, EVIL) for job in jobs], 2, ended)
    assert "<script" not in page
    assert not any(char in page for char in "\u202e\x1b")
    assert 'href="failed/%3Cscript%3E' in page
    assert page.encode()


def test_the_page_needs_no_network() -> None:
    """It refreshes itself and loads nothing from elsewhere."""
    page = render_page([], 0, [])
    assert 'http-equiv="refresh"' in page
    assert "//" not in page
