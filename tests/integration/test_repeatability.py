"""The same capture, twice, on one CPU."""

from pathlib import Path

import pytest

from recon import Settings
from repeated_jobs import assert_comes_out_the_same, photographed


@pytest.mark.parametrize("faults", ["exact", "noisy, wrong cameras"])
def test_a_job_comes_out_the_same(faults: str, tmp_path: Path) -> None:
    """Every published file, byte for byte; what bends a mesh to photographs is repeated in tests/stages."""
    assert_comes_out_the_same(photographed("toy", faults, 64), tmp_path, Settings(target_faces=4000))
