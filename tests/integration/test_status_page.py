"""status.html in a real browser, as the daemon writes it, opened from the share."""

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import fakes
from browsers import accessibility_issues, requests_of, resize, severe_messages
from served import PATIENCE_S, ServedShare, served

pytestmark = [pytest.mark.needs("chromium", "chromedriver"), pytest.mark.timeout(120)]

EVIL = "<script>alert(1)<'\"&\N{RIGHT-TO-LEFT OVERRIDE}gnp\x1b[2J#?%"
LONG = "w" * 255
SLOW: dict[str, object] = {"work_s": 600, "preview": True}


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedShare]:
    """One job runs, three are queued, one waits for files, and jobs under hostile names have come back."""
    folder = tmp_path_factory.mktemp("served")
    with served(folder, intake={"incomplete_after_s": 600.0}) as running:
        for name in (EVIL, LONG, "shoe", "boot"):
            fakes.write_job(running.config.inbox / name)
        fakes.write_job(running.config.inbox / "bad", {"raise": "ObjectNotFound"})
        running.until(lambda: len(running.store.recent(9)) == 5)
        with sqlite3.connect(running.config.database) as table:  # experience: jobs of this size take 100 to 400 s
            table.execute("UPDATE jobs SET started_at_s = finished_at_s - 100 * (1 + rowid % 4) WHERE state = 'done'")
        fakes.write_job(running.config.inbox / f"run {EVIL}", SLOW)
        running.until(lambda: running.store.counts().get("running") == 1)
        for count, name in enumerate(("second", "third", f"last {EVIL}"), 1):
            fakes.write_job(running.config.inbox / name)
            running.until(lambda count=count: running.store.counts().get("queued") == count)  # type: ignore[misc]
        (running.config.inbox / "empty").mkdir()
        # the three queued jobs have their forecasts only after the experience above was read
        running.until(lambda: page_of(running).count("<td>in about ") == 3)
        running.until(lambda: "empty" in page_of(running) and "preview.png" in page_of(running))
        yield running


def page_of(share: ServedShare) -> str:
    file = share.config.root / "status.html"
    return file.read_text("utf-8") if file.exists() else ""


@pytest.fixture
def page(browser: webdriver.Chrome, share: ServedShare) -> Iterator[str]:
    """The page without its refreshing, which would end a test's scripts."""
    address = (share.config.root / "status.html").as_uri() + "#stopped"
    resize(browser, 1200, "light")
    browser.get("about:blank")
    browser.get(address)
    yield address
    browser.get("about:blank")


def test_every_job_is_shown(browser: webdriver.Chrome, page: str) -> None:
    """The running job with its stage and time left, the queue in order with times, and the results with verdicts."""
    assert browser.find_element(By.CSS_SELECTOR, ".stages [aria-current]").text == "Refining"
    assert "50 %" in browser.find_element(By.CSS_SELECTOR, ".job").text
    assert " left" in browser.find_element(By.CSS_SELECTOR, ".job").text
    rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "main table tbody tr")]
    assert [row.split()[:2] for row in rows[:3]] == [["1", "second"], ["2", "third"], ["3", "last"]]
    assert all("in about" in row for row in rows[:3])
    assert rows[3].startswith("empty")
    assert "Waiting for view_00.png" in rows[3]
    badges = {card.find_element(By.TAG_NAME, "h3").text: card.find_element(By.CSS_SELECTOR, ".badge").text
              for card in browser.find_elements(By.CSS_SELECTOR, ".results li")}  # fmt: skip
    assert (badges["shoe"], badges["bad"]) == ("Good result", "Failed")
    assert "GB" in browser.find_element(By.ID, "machine").find_element(By.XPATH, "..").text


def test_hostile_names_are_text(browser: webdriver.Chrome, page: str, share: ServedShare) -> None:
    """Markup, control, bidi and 255-byte names show as text, add no element, and their links lead to their folders."""
    assert browser.execute_script("return document.scripts.length") == 1
    source = page_of(share)
    assert "<script>alert" not in source
    assert not any(char in source for char in "\u202e\x1b")
    links = browser.execute_script("return [...document.querySelectorAll('.results h3 a')].map((a) => a.href)")
    reached = {Path(unquote(link.removeprefix("file://"))) for link in links}
    places = {share.config.root / share.job(name).destination for name in (EVIL, LONG, "shoe")}
    assert {place / "results/report.html" for place in places} <= reached


def test_thumbnails_load_and_nothing_else(browser: webdriver.Chrome, page: str, share: ServedShare) -> None:
    """The preview and the results' pictures load, also under hostile names; no other request leaves the page."""
    WebDriverWait(browser, PATIENCE_S).until(
        lambda driver: driver.execute_script(
            "return [...document.querySelectorAll('main img')].every((image) => image.naturalWidth === 64)"
        )
    )
    assert len(browser.find_elements(By.CSS_SELECTOR, "main img")) == 5
    browser.get("about:blank")
    root = share.config.root.as_uri()
    assert {url.startswith(root) for url in requests_of(browser, page)} == {True}
    assert severe_messages(browser) == []


def test_page_renews_itself_until_stopped(browser: webdriver.Chrome, page: str) -> None:
    """The button stops the reloading, remembers it over a reload, and starts it again."""
    button = browser.find_element(By.ID, "refresh")
    assert button.get_attribute("aria-pressed") == "true"
    browser.execute_script("window.mark = 1")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    WebDriverWait(browser, PATIENCE_S).until(lambda driver: driver.execute_script("return window.mark") is None)
    browser.find_element(By.ID, "refresh").click()
    assert browser.current_url.endswith("#stopped")


def test_old_page_says_so(browser: webdriver.Chrome, page: str, share: ServedShare, tmp_path: Path) -> None:
    """A page that the daemon wrote ten minutes ago warns that it may have stopped; a fresh one does not."""
    # Between tests the loop stands still, and the page grows old indeed.
    before = page_of(share)
    share.until(lambda: page_of(share) != before)
    browser.get("about:blank")
    browser.get(page)
    assert not browser.find_element(By.ID, "old").is_displayed()
    source = page_of(share)
    written_s = float(source.partition('data-written="')[2].partition('"')[0])
    aged = source.replace(f'data-written="{written_s}"', f'data-written="{time.time() - 600}"')
    assert aged != source
    (tmp_path / "old.html").write_text(aged)
    browser.get((tmp_path / "old.html").as_uri() + "#stopped")
    assert "10 minutes old" in browser.find_element(By.ID, "old").text


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [1200, 390])
def test_page_is_accessible(browser: webdriver.Chrome, page: str, width_px: int, theme: str) -> None:
    """axe-core finds nothing, in both themes, on a desk and on a phone, and nothing sticks out sideways."""
    resize(browser, width_px, theme)
    assert accessibility_issues(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width_px


def test_queued_jobs_know_their_time(share: ServedShare) -> None:
    """status.json of a queued job gives its place and, from past jobs of like size, its time with a band."""
    share.until(lambda: "eta_s" in status_of(share, "third"))
    status = status_of(share, "third")
    assert status["queue_position"] == 2
    low_s, high_s = status["eta_range_s"]
    assert low_s <= status["eta_s"] <= high_s
    share.until(lambda: status_of(share, "third")["eta_s"] != status["eta_s"])  # it is renewed as time passes


def status_of(share: ServedShare, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((share.config.inbox / name / "status.json").read_text("utf-8"))
    return content
