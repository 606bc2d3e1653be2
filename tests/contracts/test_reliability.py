"""The fault table in docs/reliability.md is what the tests that inject faults have found, and covers all of them."""

import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from audit import TABLE_BEGIN, TABLE_END
from repository import REPOSITORY

COLLECT = """
import json, pytest

class Collector:
    def pytest_collection_finish(self, session):
        faults = [item.get_closest_marker("fault").args for item in session.items]
        print("FAULTS", json.dumps(faults))

pytest.main(["--collect-only", "-q", "-m", "fault", "tests/integration"], plugins=[Collector()])
"""
"""CI=true, so that no test is left out for want of a program."""


@pytest.fixture(scope="module")
def cases() -> Counter[tuple[str, str]]:
    """How many tests inject each fault, by what it is and how it is injected."""
    answer = subprocess.run(
        [sys.executable, "-c", COLLECT],
        cwd=REPOSITORY,
        env=os.environ | {"CI": "true"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.search(r"^FAULTS (.*)$", answer, re.MULTILINE)
    assert found, answer
    return Counter((what, how) for what, how in json.loads(found[1]))


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], tuple[int, int, int]]:
    """The table: times tried, jobs lost, duplicated."""
    text = (REPOSITORY / "docs/reliability.md").read_text("utf-8")
    table = text.partition(TABLE_BEGIN)[2].partition(TABLE_END)[0]
    found = {}
    for line in table.splitlines()[2:]:
        what, how, *numbers = (cell.strip() for cell in line.strip("|").split("|"))
        tried, lost, duplicated = (int(number) for number in numbers)
        found[what, how] = (tried, lost, duplicated)
    return found


def test_every_fault_has_its_row(
    cases: Counter[tuple[str, str]], rows: dict[tuple[str, str], tuple[int, int, int]]
) -> None:
    """A new fault needs a new table, and a row without its test is a claim without proof."""
    assert set(rows) == set(cases)


def test_every_case_was_tried(
    cases: Counter[tuple[str, str]], rows: dict[tuple[str, str], tuple[int, int, int]]
) -> None:
    """A new step of a job is one more case: the table has to be written again."""
    assert {fault: count for fault, count in cases.items() if rows[fault][0] < count} == {}


def test_nothing_was_lost_or_doubled(rows: dict[tuple[str, str], tuple[int, int, int]]) -> None:
    """The promise of the page."""
    assert rows
    assert all((lost, duplicated) == (0, 0) for _, lost, duplicated in rows.values())
