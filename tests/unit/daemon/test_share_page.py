"""The page on the share as text."""

import base64
import hashlib
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from daemon.dispatch import Progress
from daemon.errors import ErrorCode, Failure
from daemon.forecast import Estimate
from daemon.jobs import Job, JobState
from daemon.share_page import SharePage, disk_row, queue_row, render_page, result_card, running_card

EVIL = "<script>alert(1)</script>\u202e\x1b[2J\"'&"


def page_with(name: str) -> str:
    failure = Failure(ErrorCode.INTERNAL_ERROR, name)
    ended = Job("3", name, JobState.FAILED, finished_at_s=1.0, failure=failure, destination=f"failed/{name}")
    done = Job("4", name, JobState.DONE, started_at_s=1.0, finished_at_s=5.0, destination=f"done/{name}",
               summary={"verdict": name, "models": {name: {}}})  # fmt: skip
    return render_page(
        SharePage(
            written_s=0.0,
            running=[running_card(Job("1", name, model="both"), Progress(name, name, 0.5), None, has_preview=True)],
            queue=[queue_row(Job("2", name, JobState.WAITING), 1, name, Estimate(5.0))],
            results=[result_card(ended), result_card(done)],
            devices=["The processor is idle."],
        )
    )


def test_names_cannot_inject_anything() -> None:
    """A name reaches the page as text only, in links as percent codes; also one that is not UTF-8."""
    page = page_with(EVIL)
    assert page.count("<script>") == 1
    assert not any(char in page for char in "\u202e\x1b")
    assert 'href="failed/%3Cscript%3Ealert' in page
    assert "caf%E9/results/report.html" in page_with("caf\udce9")


@given(name=st.text(min_size=1, max_size=60))
def test_any_name_leaves_the_page_as_it_is(name: str) -> None:
    """The tags of the page do not depend on the names in it."""
    tags = re.compile(r"<[a-z/!][^\s>]*")
    assert tags.findall(page_with(name)) == tags.findall(page_with("shoe"))


def test_only_one_script_may_run() -> None:
    """The policy names the hash of the script on the page and allows no request but pictures."""
    page = page_with("shoe")
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "default-src 'none'; img-src 'self' file:;" in page
    assert "http" not in page.replace("http-equiv", "")


def test_verdicts_are_told() -> None:
    """A finished job wears its verdict, a failed one says why, a cancelled one is not called a failure."""
    done = Job("1", "a", JobState.DONE, finished_at_s=9.0, started_at_s=2.0, destination="done/a",
               summary={"verdict": "warning", "models": {"nvdiffrec": {}}})  # fmt: skip
    card = result_card(done)
    assert (card.label, card.mood, card.took) == ("Usable, with reservations", "warning", "7 s")
    assert card.thumbnail == "done/a/results/nvdiffrec/folder.jpg"
    failed = result_card(Job("2", "b", JobState.FAILED, failure=Failure(ErrorCode.OBJECT_NOT_FOUND, "Nothing there.")))
    assert (failed.label, failed.why, failed.page) == ("Failed", "Nothing there.", "")
    assert result_card(Job("3", "c", JobState.CANCELLED)).mood == "quiet"


def test_stages_are_past_present_and_future() -> None:
    """What is done, what is under way, and what is to come; before the first stage all is to come."""
    at_work = Progress("nvdiffrec", "geometry", 0.256)
    card = running_card(Job("1", "a", attempts=2), at_work, Estimate(10.0), has_preview=False)
    assert [state for _, state in card.stages] == ["past"] * 2 + ["now"] + ["to come"] * 5
    assert (card.percent, card.left, card.note, card.preview) == (26, "about 10 s left", "Attempt 2", "")
    both = running_card(Job("1", "a", model="both"), at_work, None, has_preview=False)
    assert both.note == "Model nvdiffrec"
    fresh = running_card(Job("1", "a"), Progress(), None, has_preview=False)
    assert {state for _, state in fresh.stages} == {"to come"}


def test_full_disk_is_marked(tmp_path: Path) -> None:
    """A disk below the operator's limit says that jobs wait; one that does not answer is left out."""
    row = disk_row("Share", tmp_path, min_free_bytes=2**60)
    assert row is not None
    assert row.is_low
    assert "too little: jobs wait" in render_page(SharePage(0.0, disks=[row]))
    assert disk_row("Share", tmp_path / "gone", 0) is None
