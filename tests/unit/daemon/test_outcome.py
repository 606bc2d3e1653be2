"""What the folder says about its job."""

import html

import pytest

from daemon.errors import ErrorCode, Failure
from daemon.jobs import Job, JobState
from daemon.outcome import HOW_TO_RERUN, failure_page

EVIL = "<script>alert(1)</script>\N{RIGHT-TO-LEFT OVERRIDE}\x1b[2J\udce9"


def page_of(failure: Failure, folder: str = "shoe") -> str:
    return failure_page(Job("1", folder, JobState.PUBLISHING, JobState.FAILED, failure=failure))


@pytest.mark.parametrize("code", ErrorCode)
def test_every_failure_says_what_to_do(code: ErrorCode) -> None:
    """The page of every code has the message, and how to run the job again, once."""
    failure = Failure(code, "It did not work.", file="view_01.png", stage="capture", details={"limit": 3})
    text = html.unescape(page_of(failure))
    assert "It did not work." in text
    assert code.value in text
    assert "view_01.png" in text
    assert '"limit": 3' in text
    said = str(failure.to_json()["suggestion"])
    assert said in text
    assert (HOW_TO_RERUN in text) is not ("RETRY" in said or "inbox" in said)


def test_hostile_text_stays_text() -> None:
    """Names, messages and details of a hostile folder add no element and no control character."""
    failure = Failure(ErrorCode.INPUT_CORRUPT, EVIL, EVIL, EVIL, EVIL, {EVIL: EVIL})
    text = page_of(failure, EVIL)
    assert "<script" not in text
    assert not any(letter in text for letter in ("\x1b", "\N{RIGHT-TO-LEFT OVERRIDE}"))
    assert text.encode()


def test_cancelled_is_not_called_failed() -> None:
    """Who cancelled a job is told that nothing is wrong."""
    text = page_of(Failure(ErrorCode.JOB_CANCELLED, "Cancelled by CANCEL."))
    assert "nothing is wrong" in text
    assert "What went wrong" not in text
    assert ">Failed<" not in text


def test_job_without_failure_has_no_page() -> None:
    """A finished job's page comes with its results."""
    assert failure_page(Job("1", "shoe", JobState.PUBLISHING, JobState.DONE)) == ""
