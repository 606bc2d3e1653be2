"""What became of every dropped job: counted on the share and in the table, by tests that inject faults.

Tests marked ``fault(what, how)`` count with the fixture ``tally`` (tests/integration/conftest.py).  With
``FAULT_TABLE=docs/reliability.md ./tests/run integration -m fault`` the counts become the table in that document.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from daemon.config import Config
from served import jobs_on_record

Tally = Callable[[Config, Collection[str]], None]
"""The fixture ``tally``: counts what became of dropped folders and fails the test unless each ended once."""

TABLE_BEGIN, TABLE_END = "<!-- faults: begin, written by the tests -->\n", "<!-- faults: end -->\n"
_NUMBER = re.compile(r"~\d+$")


@dataclass(frozen=True)
class Audit:
    """Numbers of jobs.

    Attributes:
        dropped: Folders that a user dropped.
        lost: Of those, folders that did not come back with an outcome.
        duplicated: Outcomes beyond one per folder, on the share or in the table.
    """

    dropped: int
    lost: int
    duplicated: int


def audit_share(root: Path, state: Path, dropped: Collection[str]) -> Audit:
    """Count what became of folders, each of which should have ended exactly once.

    Args:
        root: The share.
        state: The daemon's own folder.
        dropped: Names; a batch's jobs as "BATCH/NAME".
    """
    places: Counter[str] = Counter()
    ids: Counter[str] = Counter()
    for area, outcome_file in (("done", "result.json"), ("failed", "error.json")):
        for file in (root / area).rglob(outcome_file):
            places[_NUMBER.sub("", str(file.parent.relative_to(root / area)))] += 1
            ids[json.loads(file.read_text())["job_id"]] += 1
    ended = Counter(job.folder for job in jobs_on_record(state) if job.state in {"done", "failed", "cancelled"})
    lost = sum(places[name] == 0 for name in dropped)
    doubled = sum(count - 1 for counter in (places, ids, ended) for count in counter.values() if count > 1)
    return Audit(len(dropped), lost, doubled)


def fault_table(results: Iterable[tuple[str, str, Audit]]) -> str:
    """The Markdown table: one row per fault.

    Args:
        results: (fault, how it was injected, what became of the jobs) of each run of a test.
    """
    rows: dict[tuple[str, str], list[Audit]] = defaultdict(list)
    for what, how, audit in results:
        rows[what, how].append(audit)
    lines = ["| Fault | Injected how | Times tried | Jobs lost | Duplicated |", "| --- | --- | ---: | ---: | ---: |"]
    for (what, how), audits in sorted(rows.items()):
        tried, lost = sum(item.dropped for item in audits), sum(item.lost for item in audits)
        lines.append(f"| {what} | {how} | {tried} | {lost} | {sum(item.duplicated for item in audits)} |")
    return "\n".join(lines) + "\n"


def replace_table(document: Path, table: str) -> None:
    """Put the table between its marks in the document."""
    before, _, rest = document.read_text("utf-8").partition(TABLE_BEGIN)
    _, _, after = rest.partition(TABLE_END)
    document.write_text(before + TABLE_BEGIN + table + TABLE_END + after, "utf-8")
