"""recon.capture.undistortion: lens distortion undone for colour, mask and depth."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.capture.manifest import Lens
from recon.capture.undistortion import (
    distort_slopes,
    distorted_positions_px,
    undistort_coverage,
    undistort_depth,
    undistort_picture,
)
from recon.errors import InvalidCameras
from recon.frames import pixel_centres_px
from recon.scene import DepthMap, Intrinsics

CAMERA = Intrinsics(80, 60, 90.0, 92.0, 41.0, 29.0)
LENS = Lens(k1=-0.15, k2=0.05, k3=0.01, p1=0.004, p2=-0.003)


def undistorted_slopes(slopes, lens):
    """The inverse of the lens model by fixed-point iteration."""
    guess = slopes.clone()
    for _ in range(100):
        guess = guess + slopes - distort_slopes(guess, lens)
    return guess


def distorted_pattern(lens, pattern):
    """A smooth pattern of undistorted pixel positions, as a camera with this lens would photograph it."""
    centres = pixel_centres_px(CAMERA.height_px, CAMERA.width_px, dtype=torch.float64)
    focal = torch.tensor([CAMERA.focal_x_px, CAMERA.focal_y_px], dtype=torch.float64)
    principal = torch.tensor([CAMERA.principal_x_px, CAMERA.principal_y_px], dtype=torch.float64)
    perfect = undistorted_slopes((centres - principal) / focal, lens) * focal + principal
    return pattern(perfect)


def test_a_known_point_moves_as_the_formula_says():
    """One ray through one lens, against numbers worked out by hand."""
    moved = distort_slopes(
        torch.tensor([0.5, 0.0], dtype=torch.float64), Lens(k1=0.1, k2=0.2, k3=0.4, p1=0.01, p2=0.02)
    )
    # r2 = 0.25: radial = 1 + 0.025 + 0.0125 + 0.00625 = 1.04375; x: 0.02 * 0.75 = 0.015; y: 0.01 * 0.25 = 0.0025.
    torch.testing.assert_close(moved, torch.tensor([0.5 * 1.04375 + 0.015, 0.0025], dtype=torch.float64))


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.2, 0.2), st.floats(-0.05, 0.05), st.floats(-0.01, 0.01), st.floats(-0.01, 0.01))
def test_a_distorted_picture_becomes_the_perfect_one(k1, k2, p1, p2):
    """Photographing a smooth pattern through a lens and undoing the lens gives the pattern back."""
    lens = Lens(k1=k1, k2=k2, p1=p1, p2=p2)

    def pattern(positions_px):
        x, y = positions_px.unbind(-1)
        return torch.stack(
            [0.5 + 0.3 * torch.sin(x / 9), 0.5 + 0.3 * torch.cos(y / 8), 0.4 + 0.2 * torch.sin((x + y) / 11)], -1
        )

    image = distorted_pattern(lens, pattern).float()
    positions_px = distorted_positions_px(CAMERA, lens)
    undone, alpha = undistort_picture(image, None, positions_px)
    expected = pattern(pixel_centres_px(60, 80, dtype=torch.float64)).float()
    assert alpha is None
    torch.testing.assert_close(undone[8:-8, 8:-8], expected[8:-8, 8:-8], atol=0.004, rtol=0)


def test_depth_is_picked_not_blended():
    """Undistorted depth holds only values that were measured, never a mixture across an edge."""
    depth_z = torch.where(torch.arange(80)[None].expand(60, 80) < 40, 1.0, 2.0)
    depth = undistort_depth(
        DepthMap(depth_z, torch.ones(60, 80, dtype=torch.bool)), distorted_positions_px(CAMERA, LENS)
    )
    assert set(depth.depth_z.unique().tolist()) == {1.0, 2.0}


def test_nothing_is_known_outside_the_picture():
    """Where a barrel lens saw less than the perfect picture shows, depth is invalid and coverage zero."""
    lens = Lens(k1=0.4)
    positions_px = distorted_positions_px(CAMERA, lens)
    whole = torch.ones(60, 80)
    depth = undistort_depth(DepthMap(whole, whole.bool()), positions_px)
    coverage = undistort_coverage(whole, positions_px)
    _, alpha = undistort_picture(whole[..., None].expand(60, 80, 3), whole, positions_px)
    assert not depth.valid_mask[0, 0]
    assert (coverage[0, 0], alpha[0, 0]) == (0, 0)
    assert depth.valid_mask[30, 40]
    assert (coverage[30, 40], alpha[30, 40]) == (1, 1)


def test_hidden_colour_does_not_bleed():
    """The colour under zero alpha has no part in the colours at the object's rim."""
    image = torch.zeros(60, 80, 3)
    image[..., 0] = 1.0
    image[:, 40:] = torch.tensor([0.0, 1.0, 0.0])
    alpha = (torch.arange(80)[None].expand(60, 80) < 40).float()
    undone, undone_alpha = undistort_picture(image, alpha, distorted_positions_px(CAMERA, LENS))
    visible = undone[undone_alpha > 0.05]
    assert float(visible[:, 1].max()) < 0.05


def test_a_perfect_lens_changes_nothing():
    """All coefficients zero leave every pixel where it is."""
    torch.testing.assert_close(distorted_positions_px(CAMERA, Lens()), pixel_centres_px(60, 80, dtype=torch.float64))


def test_a_lens_that_folds_the_picture_is_refused():
    """Coefficients that map two places to one are a mistake in the camera file."""
    with pytest.raises(InvalidCameras, match="k1"):
        distorted_positions_px(CAMERA, Lens(k1=-3.0))
