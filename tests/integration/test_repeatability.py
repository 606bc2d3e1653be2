"""The same capture, twice, on one CPU."""

from pathlib import Path

import pytest

from repeated_jobs import FAULTS, assert_comes_out_the_same, photographed


@pytest.mark.parametrize("faults", FAULTS)
def test_a_job_comes_out_the_same(faults: str, tmp_path: Path) -> None:
    """Every published file, byte for byte; with exact depth, with all that is wrong with it, and without any."""
    assert_comes_out_the_same(photographed("toy", faults, 64), tmp_path)
