"""Counting the jobs of tests that inject faults, and writing the counts into docs/reliability.md when asked."""

import os
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

import pytest

from audit import Audit, Tally, audit_share, fault_table, replace_table
from daemon.config import Config


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Counts what became of dropped folders and fails the test unless each ended exactly once.

    The test's marker ``fault(what, how)`` names the fault.
    """
    marker = request.node.get_closest_marker("fault")
    assert marker is not None, "a test that tallies names its fault"
    what, how = marker.args

    def count(config: Config, dropped: Collection[str]) -> None:
        audit = audit_share(config.root, config.state, dropped)
        request.node.user_properties.append(("fault", {"what": what, "how": how} | asdict(audit)))
        assert (audit.lost, audit.duplicated) == (0, 0)

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    document = os.environ.get("FAULT_TABLE")
    if not document:
        return
    reports = [item for kind in ("passed", "failed") for item in terminalreporter.stats.get(kind, [])]
    found = [dict(value) for item in reports for name, value in item.user_properties if name == "fault"]
    results = [(item.pop("what"), item.pop("how"), Audit(**item)) for item in found]
    replace_table(Path(document), fault_table(results))
