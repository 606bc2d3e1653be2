"""No drop is missed: the CI-sized run of tests/bench/drop_loss.py."""

from collections.abc import Callable
from pathlib import Path

import drop_loss
import pytest

from audit import Audit

FOLDERS = 1_200


@pytest.mark.fault("events are lost, threads compete, the share is remounted", "4 writers, 2 busy threads, bind mount")
def test_no_drop_is_missed(tmp_path: Path, record_audit: Callable[[Audit], None]) -> None:
    """Folders of four writers, also with odd names and during an outage, are each one job."""
    loss = drop_loss.drop_and_count(tmp_path, FOLDERS)
    assert loss.outages == 1
    record_audit(Audit(loss.dropped, loss.missed, loss.doubled))
