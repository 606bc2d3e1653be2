"""A real headless Chromium: how it is started, and what is asked of it."""

import json
import shutil
from pathlib import Path

import axe_core_python
from selenium import webdriver

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
)
AXE = Path(axe_core_python.__file__).with_name("axe.min.js")


def start() -> webdriver.Chrome:
    """Debian's Chromium without a window; it keeps its console and its network requests."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def resize(browser: webdriver.Chrome, width_px: int, theme: str, height_px: int = 800) -> None:
    """Show pages at a width in CSS pixels and in the "light" or "dark" theme."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": False},
    )
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def requests_of(browser: webdriver.Chrome, address: str) -> set[str]:
    """Everything that the browser asks for when it opens a page, pictures inside the page apart."""
    browser.get_log("performance")
    browser.get(address)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return {url for url in urls if not url.startswith("data:")}


def severe_messages(browser: webdriver.Chrome) -> list[str]:
    """Errors on the console since the last call."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def accessibility_issues(browser: webdriver.Chrome) -> list[tuple[str, str, list[str]]]:
    """What axe-core finds on the present page: rule, impact and the elements."""
    browser.execute_script(AXE.read_text("utf-8"))
    found = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    return [
        (issue["id"], issue["impact"], [node["html"][:120] for node in issue["nodes"]]) for issue in found["violations"]
    ]
