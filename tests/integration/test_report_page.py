"""The report page in a real browser, opened from a file with no network."""

from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

import recon
import reports
from browsers import accessibility_issues, requests_of, resize, severe_messages
from recon.previews.report_html import Failure, write_report_html
from served import PATIENCE_S

pytestmark = [pytest.mark.needs("chromium", "chromedriver"), pytest.mark.timeout(120)]

HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\N{RIGHT-TO-LEFT OVERRIDE}gnp" + "w" * 180
CENTRE_PIXEL = """
const copy = document.createElement("canvas"), canvas = document.querySelector("canvas");
[copy.width, copy.height] = [canvas.width, canvas.height];
const context = copy.getContext("2d");
context.drawImage(canvas, 0, 0);
const at = (x, y) => [...context.getImageData(Math.floor(x * copy.width), Math.floor(y * copy.height), 1, 1).data];
return [at(0.5, 0.5), at(0.02, 0.02)];
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("pages")
    report = reports.box_report(folder)
    write_report_html(folder / "report.html", HOSTILE, report, folder)
    failure = Failure("INPUT_CORRUPT", HOSTILE, "Copy it again.", HOSTILE, "capture", "{}")
    write_report_html(folder / "failed.html", HOSTILE, failure=failure)
    return folder


@pytest.fixture
def canvas(browser: webdriver.Chrome, pages: Path) -> WebElement:
    """The viewer after its first picture was drawn."""
    resize(browser, 1200, "light")
    severe_messages(browser)  # of earlier pages
    browser.get((pages / "report.html").as_uri())
    WebDriverWait(browser, PATIENCE_S).until(lambda driver: driver.execute_script(CENTRE_PIXEL)[0][3] == 255)
    return browser.find_element(By.TAG_NAME, "canvas")


def settled_pixel(browser: webdriver.Chrome) -> list[int]:
    """The canvas's centre once every requested frame is drawn."""
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    pixel: list[int] = browser.execute_script(CENTRE_PIXEL)[0]
    return pixel


def picture(browser: webdriver.Chrome) -> str:
    settled_pixel(browser)
    address: str = browser.execute_script("return document.querySelector('canvas').toDataURL()")
    return address


def test_model_is_drawn_in_front_of_nothing(browser: webdriver.Chrome, canvas: WebElement) -> None:
    """The canvas's centre shows the box, its corner is empty, and the console has no error."""
    centre, corner = browser.execute_script(CENTRE_PIXEL)
    assert centre[3] == 255
    assert corner == [0, 0, 0, 0]
    assert severe_messages(browser) == []


def test_modes_change_what_is_drawn(browser: webdriver.Chrome, canvas: WebElement) -> None:
    """Each mode draws another picture; coverage paints the seen side green, error paints it dark blue."""
    drawn = {}
    for mode in ("texture", "shape", "wireframe", "coverage", "error"):
        browser.find_element(By.CSS_SELECTOR, f"input[value={mode}]").click()
        drawn[mode] = (picture(browser), settled_pixel(browser))
    assert len({address for address, _ in drawn.values()}) == 5
    red, green, blue, _ = drawn["coverage"][1]
    assert green > 2 * red
    assert green > blue
    red, green, blue, _ = drawn["error"][1]
    assert blue > 2 * max(red, green)


def test_keyboard_buttons_and_wheel_move_the_model(browser: webdriver.Chrome, canvas: WebElement) -> None:
    """Every control changes the picture, and reset brings the first one back."""
    first = picture(browser)
    canvas.click()
    assert picture(browser) == first
    moves = {
        "key": lambda: canvas.send_keys(Keys.ARROW_RIGHT),
        "plus": lambda: canvas.send_keys("+"),
        "drag": lambda: ActionChains(browser).drag_and_drop_by_offset(canvas, 60, 20).perform(),
        "button": lambda: browser.find_element(By.CSS_SELECTOR, "[data-action=up]").click(),
    }
    for name, move in moves.items():
        move()
        assert picture(browser) != first, name
        browser.find_element(By.CSS_SELECTOR, "[data-action=reset]").click()
        assert picture(browser) == first, name


def test_pinch_zooms_and_a_finger_turns(browser: webdriver.Chrome, canvas: WebElement) -> None:
    """On a phone one finger turns the mesh and two fingers zoom it."""
    first = picture(browser)
    box = canvas.rect
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": x + dx, "y": y + dy, "id": index} for index, (dx, dy) in enumerate(places)]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    browser.execute_script("scrollTo(0, 0)")
    touch("touchStart", (0, 0))
    for step in range(1, 5):
        touch("touchMove", (15.0 * step, 0))
    touch("touchEnd")
    turned = picture(browser)
    assert turned != first
    touch("touchStart", (-40, 0), (40, 0))
    for step in range(1, 5):
        touch("touchMove", (-40 - 15.0 * step, 0), (40 + 15.0 * step, 0))
    touch("touchEnd")
    assert picture(browser) != turned
    assert severe_messages(browser) == []


def test_drawing_goes_on_after_a_lost_context(browser: webdriver.Chrome, canvas: WebElement) -> None:
    """Phones take the GPU away from pages in the background; when it is back the same picture is there."""
    first = picture(browser)
    lose = """
    const [done] = arguments, canvas = document.querySelector("canvas");
    const loss = canvas.getContext("webgl2").getExtension("WEBGL_lose_context");
    canvas.addEventListener("webglcontextlost", () => setTimeout(() => loss.restoreContext(), 50), { once: true });
    canvas.addEventListener("webglcontextrestored", () => setTimeout(done, 200), { once: true });
    loss.loseContext();
    """
    browser.execute_async_script(lose)
    WebDriverWait(browser, PATIENCE_S).until(lambda driver: driver.execute_script(CENTRE_PIXEL)[0][3] == 255)
    assert picture(browser) == first


def test_wheel_zooms_only_with_focus(browser: webdriver.Chrome, canvas: WebElement) -> None:
    """The wheel scrolls the page past the canvas until the canvas was clicked."""
    first = picture(browser)
    wheel = "document.querySelector('canvas').dispatchEvent(new WheelEvent('wheel', {deltaY: 200, cancelable: true}))"
    assert browser.execute_script("return " + wheel) is True
    assert picture(browser) == first
    canvas.click()
    assert browser.execute_script("return " + wheel) is False
    assert picture(browser) != first


@pytest.mark.parametrize("name", ["report.html", "failed.html"])
def test_nothing_is_requested(browser: webdriver.Chrome, pages: Path, name: str) -> None:
    """The browser opens the file itself and nothing else; hostile text runs no script."""
    address = (pages / name).as_uri()
    assert requests_of(browser, address) == {address}
    assert browser.execute_script("return document.images.length") == (6 if name == "report.html" else 0)
    assert browser.find_element(By.TAG_NAME, "h1").text.startswith("</title><script>alert(1)</script>")


@pytest.mark.parametrize("name", ["report.html", "failed.html"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [1200, 390])
def test_page_is_accessible(browser: webdriver.Chrome, pages: Path, width_px: int, theme: str, name: str) -> None:
    """axe-core finds nothing, in both themes, on a desk and on a phone, and nothing sticks out sideways."""
    resize(browser, width_px, theme)
    browser.get((pages / name).as_uri())
    assert accessibility_issues(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width_px


def test_notebook_shows_the_viewer(browser: webdriver.Chrome, pages: Path, tmp_path: Path) -> None:
    """Inside the frame that a notebook draws, cut off from everything around it, the viewer runs all the same."""
    (tmp_path / "notebook.html").write_text(recon.show(pages)._repr_html_(), "utf-8")
    resize(browser, 1200, "light")
    severe_messages(browser)
    browser.get((tmp_path / "notebook.html").as_uri())
    browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
    WebDriverWait(browser, PATIENCE_S).until(lambda driver: driver.execute_script(CENTRE_PIXEL)[0][3] == 255)
    assert browser.execute_script("return window.origin") == "null"
    browser.switch_to.default_content()
    assert severe_messages(browser) == []
