"""Scores whose exact value follows from the definition."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

import meshes
from recon.quality.comparison import depth_scores, object_mask_on, overlap, picture_scores, psnr_db, ssim
from recon.quality.rendering import first_hits, over_white, surface_on
from recon.raster.torch_raster import TorchRasterizer
from recon.scene import DepthMap, View

CPU = torch.device("cpu")


def drawn_like(view: View, offset: float = 0.0) -> torch.Tensor:
    """The view's own photograph as if drawn, with every colour shifted."""
    return torch.cat([view.image_srgb + offset, view.foreground_alpha[..., None]], -1)


def test_identical_pictures_score_the_limit() -> None:
    """Equal pictures give 99 dB, SSIM 1 and a full overlap."""
    view = meshes.box_view(5)
    assert picture_scores(drawn_like(view), view) == pytest.approx(
        {"psnr_db": 99.0, "ssim": 1.0, "psnr_image_db": 99.0, "ssim_image": 1.0, "mask_iou": 1.0}
    )


def test_own_pixels_are_not_flattered_by_the_background() -> None:
    """A colour error of 0.1 on the object is 20 dB there and 26 dB over a picture of which it fills a quarter."""
    view = meshes.box_view(5)
    scores = picture_scores(drawn_like(view, 0.1), view)
    assert scores["psnr_db"] == pytest.approx(20, abs=1e-4)
    assert scores["psnr_image_db"] == pytest.approx(20 + 10 * math.log10(4), abs=1e-4)
    assert scores["ssim"] < scores["ssim_image"]


def test_own_pixels_are_the_union_of_both_masks() -> None:
    """A mesh that is missing its right half is punished for the missing pixels, not excused."""
    view = meshes.box_view(5)
    drawn = drawn_like(view)
    drawn[:, 32:, 3] = 0
    scores = picture_scores(drawn, view)
    grey = 128 / 255
    assert scores["psnr_db"] == pytest.approx(-10 * math.log10(0.5 * (1 - grey) ** 2), abs=1e-4)
    assert scores["mask_iou"] == pytest.approx(0.5)


def test_ssim_matches_the_published_formula() -> None:
    """Two flat pictures: SSIM is the luminance term (2ab + c1) / (a^2 + b^2 + c1) of Wang et al. 2004."""
    view = meshes.box_view(5)
    view = replace(view, image_srgb=torch.full((64, 64, 3), 0.5), foreground_alpha=torch.ones(64, 64))
    drawn = torch.cat([torch.full((64, 64, 3), 0.3), torch.ones(64, 64, 1)], -1)
    c1 = 0.01**2
    expected = (2 * 0.5 * 0.3 + c1) / (0.5**2 + 0.3**2 + c1)
    assert picture_scores(drawn, view)["ssim"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("shift_px", [(0, 0), (-20, 24), (-24, -24)])
def test_ssim_equals_scikit_images_on_the_whole_picture(shift_px: tuple[int, int]) -> None:
    """Working around the object only changes nothing, also where the object touches the picture's edge."""
    generator = torch.Generator().manual_seed(1)
    view = meshes.box_view(5)
    alpha = view.foreground_alpha.roll(shift_px, (0, 1))
    view = replace(view, image_srgb=torch.rand(64, 64, 3, generator=generator), foreground_alpha=alpha)
    drawn = torch.cat([torch.rand(64, 64, 3, generator=generator), alpha.roll(1, 0)[..., None]], -1)
    photo = torch.cat([view.image_srgb, alpha[..., None]], -1)
    image, full = structural_similarity(
        over_white(drawn).numpy(), over_white(photo).numpy(), channel_axis=2, data_range=1.0, full=True
    )
    own = ((drawn[..., 3] > 0.5) | (alpha > 0.5)).numpy()
    scores = picture_scores(drawn, view)
    assert scores["ssim_image"] == pytest.approx(float(image), abs=1e-5)
    assert scores["ssim"] == pytest.approx(float(full[own].mean()), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(7, 40), st.integers(7, 40), st.floats(0, 0.5))
def test_ssim_of_a_gpu_is_scikit_images(seed: int, height: int, width: int, noise: float) -> None:
    """On any two pictures of any size the GPU's formula gives every pixel, the rim too, what the library gives it."""
    generator = torch.Generator().manual_seed(seed)
    one = torch.rand(height, width, generator=generator)
    two = (one + noise * torch.randn(height, width, generator=generator)).clamp(0, 1)
    _, full = structural_similarity(one.double().numpy(), two.double().numpy(), data_range=1.0, full=True)
    assert (ssim(one, two).double() - torch.from_numpy(full)).abs().max() < 1e-6


def test_depth_error_is_measured_in_metres_and_percent() -> None:
    """Depth images 5 mm short on one half: MAE 2.5 mm, RMSE 5 / sqrt 2 mm, percent of the diagonal beside them."""
    view = meshes.box_view(2)
    depth_z = view.depth.depth_z.clone()
    depth_z[:, 32:] -= 0.005
    view = replace(view, depth=replace(view.depth, depth_z=depth_z))
    surface = surface_on(meshes.textured_box(), CPU)
    hits = first_hits(surface, view.posed_camera, 64, 64, TorchRasterizer())
    diagonal = math.sqrt(3)
    assert depth_scores(hits, view, diagonal, is_metric=True) == pytest.approx(
        {
            "depth_mae_m": 0.0025,
            "depth_rmse_m": 0.005 / math.sqrt(2),
            "depth_mae_percent": 0.25 / diagonal,
            "depth_rmse_percent": 0.5 / math.sqrt(2) / diagonal,
        },
        rel=1e-4,
    )


def test_lengths_without_a_scale_are_given_in_percent_only() -> None:
    """When nothing fixes the size, no number pretends to be metres."""
    view = meshes.box_view(2)
    hits = first_hits(surface_on(meshes.textured_box(), CPU), view.posed_camera, 64, 64, TorchRasterizer())
    assert set(depth_scores(hits, view, 1.0, is_metric=False)) == {"depth_mae_percent", "depth_rmse_percent"}


def test_depth_is_compared_on_its_own_grid_and_only_on_the_object() -> None:
    """A depth image of half the size that also shows a wall behind the object has no error."""
    view = meshes.box_view(2)
    depth_z = torch.full((32, 32), 7.0)
    depth_z[8:24, 8:24] = 1.0
    view = replace(view, depth=DepthMap(depth_z, torch.ones(32, 32, dtype=torch.bool)))
    hits = first_hits(surface_on(meshes.textured_box(0.499), CPU), view.posed_camera, 32, 32, TorchRasterizer())
    assert depth_scores(hits, view, 1.0, is_metric=True)["depth_mae_m"] == pytest.approx(0.001, abs=1e-6)


@pytest.mark.parametrize("is_relative", [False, True])
def test_depth_that_says_nothing_has_no_score(is_relative: bool) -> None:
    """No valid pixel, or codes whose meaning is unknown, give no number at all."""
    view = meshes.box_view(2)
    valid_mask = view.depth.valid_mask & is_relative
    view = replace(view, depth=DepthMap(view.depth.depth_z, valid_mask, is_relative))
    hits = first_hits(surface_on(meshes.textured_box(), CPU), view.posed_camera, 64, 64, TorchRasterizer())
    assert depth_scores(hits, view, 1.0, is_metric=True) == {}


def test_overlap_counts_pixels() -> None:
    """One shared pixel of three is a third; two empty masks agree."""
    one, two = torch.tensor([[True, True, False]]), torch.tensor([[False, True, True]])
    assert overlap(one, two) == pytest.approx(1 / 3)
    assert overlap(one & False, two & False) == 1


def test_psnr_is_ten_logarithms_of_the_mean_square() -> None:
    """A constant error of 0.01 is 40 dB."""
    assert psnr_db(torch.zeros(5), torch.full((5,), 0.01)) == pytest.approx(40, abs=1e-4)


@pytest.mark.parametrize("size_px", [32, 64, 160])
def test_mask_keeps_its_place_on_other_grids(size_px: int) -> None:
    """The middle half stays the middle half on a smaller, an equal and a larger grid, save for rounded corners."""
    mask = object_mask_on(meshes.box_view(0), torch.zeros(size_px, size_px))
    quarter = size_px // 4
    assert int(mask.sum()) == pytest.approx((size_px // 2) ** 2, abs=4)
    assert int(mask[quarter : 3 * quarter, quarter : 3 * quarter].sum()) == int(mask.sum())
