"""The probe on a real card."""

import pytest

from recon.gpu_probe import probe


@pytest.mark.gpu
def test_a_kernel_runs() -> None:
    """Every card computes, and tells its name and memory."""
    found = probe()
    assert found.is_usable, found.error
    assert found.gpus
    for gpu in found.gpus:
        assert gpu.name
        assert 0 < gpu.free_bytes <= gpu.total_bytes
