"""The verdict's thresholds are the published ones, edges included."""

import pytest

from recon.scores import Thresholds


@pytest.mark.parametrize(
    ("psnr_db", "ssim", "verdict"),
    [
        (25.0, 0.85, "normal"),
        (40.0, 0.8499, "warning"),
        (24.999, 0.99, "warning"),
        (20.0, 0.75, "warning"),
        (19.999, 0.99, "failure"),
        (40.0, 0.7499, "failure"),
        (None, 0.99, "failure"),
        (40.0, None, "failure"),
    ],
)
def test_verdict_needs_both_scores(psnr_db: float | None, ssim: float | None, verdict: str) -> None:
    """Each class asks for its PSNR and its SSIM; a score that is missing is a failure."""
    assert Thresholds().verdict(psnr_db, ssim) == verdict
