"""The small sibling of tests/bench/soak.py: nothing grows that should not."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from repository import REPOSITORY

STATED_TABLE_BYTES_PER_JOB = 2_000
"""docs/performance.md states 0.95 KB; a short run sees the file grow in steps of whole pages."""
JOBS = 120


def soak_module() -> ModuleType:
    """tests/bench is no package; the benchmark is loaded by its path."""
    file = REPOSITORY / "tests" / "bench" / "soak.py"
    specification = importlib.util.spec_from_file_location("soak", file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["soak"] = module
    specification.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_nothing_grows(tmp_path: Path) -> None:
    """After a quarter of the jobs descriptors, threads and private files stay, and the table keeps its stated rate."""
    samples, found = soak_module().soak(tmp_path, JOBS, sample_count=8)
    assert found.outcomes == {"done": JOBS - JOBS // 20, "failed": JOBS // 20}
    assert found.worker_starts == 1
    assert found.threads == 0
    assert found.state_files == 0
    # One pipe may be open or not at the moment of looking.
    assert abs(found.descriptors) <= 1
    assert found.table_bytes_per_job <= STATED_TABLE_BYTES_PER_JOB
    assert samples[-1].resident_bytes - samples[2].resident_bytes < 4 << 20
