"""Photographs that do not show what the depths show."""

from dataclasses import replace

import pytest
import torch

from recon.cameras.photographs import compare_photographs, fit_outline
from recon.scene import Capture
from scenes import make_capture, orbit6_cameras, toy


def _capture() -> Capture:
    scene = toy()
    return make_capture(scene, orbit6_cameras(scene, 128)[:2], supersample=1)


def test_shifted_photograph_is_found_and_reported() -> None:
    """A photograph moved by (5, -3) px: the similarity says so, and the user is warned."""
    capture = _capture()
    view = capture.views[0]
    moved = replace(view, foreground_alpha=view.foreground_alpha.roll((-3, 5), (0, 1)))
    compared = compare_photographs(replace(capture, views=(moved, capture.views[1])))
    similarity = compared.views[0].image_from_camera
    assert similarity is not None
    middle = torch.tensor([64.0, 64.0, 1.0], dtype=torch.float64)
    assert torch.allclose(similarity @ middle - middle[:2], torch.tensor([5.0, -3.0]).double(), atol=0.3)
    assert compared.views[1].image_from_camera is None
    assert view.name in compared.warnings[0]


def test_agreeing_photographs_are_left_alone() -> None:
    """Nothing to report, nothing changed."""
    capture = _capture()
    assert compare_photographs(capture) is capture


def test_overlap_is_measured_before_and_after() -> None:
    """Overlap grows with the freedom of the correction, to almost one for a pure shift."""
    view = _capture().views[0]
    assert view.depth is not None
    fit = fit_outline(view.foreground_alpha.roll((4, 4), (0, 1)), view.depth)
    assert fit.as_is < 0.93
    assert fit.shifted == pytest.approx(1.0, abs=0.02)
    assert fit.similar >= fit.shifted - 0.01
