"""A browser that tests share; counts of jobs from tests that inject faults, for docs/reliability.md when asked."""

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from selenium import webdriver

import browsers
from audit import Audit, Tally, audit_share, fault_table, replace_table
from daemon.config import Config


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """One Chromium for all pages of a test process."""
    driver = browsers.start()
    yield driver
    driver.quit()


@pytest.fixture
def record_audit(request: pytest.FixtureRequest) -> Callable[[Audit], None]:
    """Puts a count beside the fault that the test's marker ``fault(what, how)`` names, and demands nothing lost."""
    marker = request.node.get_closest_marker("fault")
    assert marker is not None, "a test that counts jobs names its fault"
    what, how = marker.args

    def record(audit: Audit) -> None:
        request.node.user_properties.append(("fault", {"what": what, "how": how} | asdict(audit)))
        assert (audit.lost, audit.duplicated) == (0, 0)

    return record


@pytest.fixture
def tally(record_audit: Callable[[Audit], None]) -> Tally:
    """Counts what became of dropped folders and fails the test unless each ended exactly once."""

    def count(config: Config, dropped: Collection[str]) -> None:
        record_audit(audit_share(config.root, config.state, dropped))

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    document = os.environ.get("FAULT_TABLE")
    if not document:
        return
    reports = [item for kind in ("passed", "failed") for item in terminalreporter.stats.get(kind, [])]
    found = [dict(value) for item in reports for name, value in item.user_properties if name == "fault"]
    results = [(item.pop("what"), item.pop("how"), Audit(**item)) for item in found]
    replace_table(Path(document), fault_table(results))
