"""Pixels as mixtures of texels, and texels from pixels."""

from dataclasses import replace

import pytest
import torch

import texture_scenes
from recon.texture import least_squares
from recon.texture.least_squares import PixelRows, WeighedPhotograph, build_rows, solve_texels, srgb_slope
from recon.texture.texels import Texels


@pytest.fixture(scope="module")
def ball_rows() -> tuple[Texels, PixelRows]:
    mesh = texture_scenes.ball()
    atlas, texels = texture_scenes.unwrapped(mesh, 128)
    photographs = texture_scenes.photograph_all(mesh, texture_scenes.ball_capture())
    credit = torch.ones(texels.count)
    weighed = [WeighedPhotograph(item, torch.tensor([1.0, 2.0, 0.5]), credit) for item in photographs]
    return texels, build_rows(mesh, atlas, texels, weighed, texture_scenes.rasterizer())


def test_every_pixel_is_a_mean_of_texels(ball_rows: tuple[Texels, PixelRows]) -> None:
    """Rows sum to one, so that a plain texture renders plain; the second matrix is the first one's transpose."""
    texels, rows = ball_rows
    ones = torch.ones(texels.count, 1)
    torch.testing.assert_close(rows.pixels_from_texels @ ones, torch.ones(rows.linear.shape[0], 1))
    texel_values = torch.rand(texels.count, 1, generator=torch.Generator().manual_seed(0))
    pixel_values = torch.rand(rows.linear.shape[0], 1, generator=torch.Generator().manual_seed(1))
    forward = (pixel_values * (rows.pixels_from_texels @ texel_values)).sum()
    torch.testing.assert_close(forward, (texel_values * (rows.texels_from_pixels @ pixel_values)).sum())


def test_rows_show_the_surface_colours(ball_rows: tuple[Texels, PixelRows]) -> None:
    """Rendering the texels' positions gives the points that the pixels see; gains scale the photographs."""
    texels, rows = ball_rows
    photographs = texture_scenes.photograph_all(texture_scenes.ball(), texture_scenes.ball_capture())
    linear = torch.cat([item.linear[item.trust > 0] for item in photographs])
    torch.testing.assert_close(rows.linear, linear * torch.tensor([1.0, 2.0, 0.5]))
    depth = torch.cat([item.inverse_z[item.trust > 0] for item in photographs])
    positions = rows.pixels_from_texels @ texels.positions_world
    cameras = torch.cat([item.camera.positions_world.expand(int((item.trust > 0).sum()), 3) for item in photographs])
    distance_m = (positions - cameras).norm(dim=1)
    assert (distance_m * depth - 1).abs().median() < 0.02


def test_blurred_texels_are_sharpened_to_explain_the_pixels(ball_rows: tuple[Texels, PixelRows]) -> None:
    """Photographs rendered from known texels: the error of a grey start falls tenfold, in texels and in pixels."""
    _, rows = ball_rows
    texels, _ = ball_rows
    wave = (texels.positions_world * 90).sin()
    true_linear = 0.4 + 0.3 * wave
    exact = replace(rows, linear=rows.pixels_from_texels @ true_linear)
    start = torch.full_like(true_linear, 0.4)
    solved = solve_texels(exact, start, step_count=16)

    def pixel_error(linear: torch.Tensor) -> torch.Tensor:
        return (rows.pixels_from_texels @ linear - exact.linear).abs().mean()

    assert pixel_error(solved) < 0.1 * pixel_error(start)
    is_used = (rows.texels_from_pixels @ torch.ones(rows.linear.shape[0], 1))[:, 0] > 1
    assert (solved - true_linear)[is_used].abs().mean() < 0.1 * (start - true_linear)[is_used].abs().mean()


def test_the_pull_towards_the_start_follows_what_no_texel_explains(
    ball_rows: tuple[Texels, PixelRows], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Detail that all photographs share is followed with the least pull, noise on a surface known already with more."""
    texels, rows = ball_rows
    pulls: list[float] = []
    change = least_squares._Equations.change

    def noted(self: least_squares._Equations, anchor: float, step_count: int) -> torch.Tensor:
        pulls.append(anchor)
        return change(self, anchor, step_count)

    monkeypatch.setattr(least_squares._Equations, "change", noted)
    detailed = 0.4 + 0.3 * (texels.positions_world * 90).sin()
    plain = torch.full_like(detailed, 0.4)
    noise = 0.02 * torch.randn(rows.linear.shape, generator=torch.Generator().manual_seed(0))
    solve_texels(replace(rows, linear=rows.pixels_from_texels @ detailed), plain)
    solve_texels(replace(rows, linear=rows.pixels_from_texels @ plain + noise), plain)
    assert pulls[0] == pulls[2] == least_squares.PILOT_ANCHOR
    assert pulls[1] == least_squares.LEAST_ANCHOR
    assert pulls[3] > 5 * pulls[1], pulls


def test_texels_that_no_pixel_mixes_keep_their_colour(ball_rows: tuple[Texels, PixelRows]) -> None:
    """The solver only moves what the photographs speak about."""
    texels, rows = ball_rows
    no_pixel = (rows.texels_from_pixels @ torch.ones(rows.linear.shape[0], 1))[:, 0] == 0
    start = torch.rand(texels.count, 3, generator=torch.Generator().manual_seed(0))
    assert no_pixel.any()
    assert torch.equal(solve_texels(rows, start)[no_pixel], start[no_pixel])


def test_large_photographs_get_fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three samples a side while they fit the budget, then two, then one."""
    photographs = texture_scenes.photograph_all(texture_scenes.ball(2), texture_scenes.ball_capture())
    pixel_count = sum(int((item.trust > 0).sum()) for item in photographs)
    for samples, side in ((9, 3), (4, 2), (1, 1)):
        monkeypatch.setattr(least_squares, "SAMPLE_BUDGET", pixel_count * samples)
        assert least_squares.choose_sample_side(photographs) == side


def test_srgb_slope_is_the_derivative() -> None:
    """Against finite differences of the encoding, on both branches."""
    from recon.colour import srgb_from_linear

    linear = torch.tensor([0.001, 0.01, 0.2, 0.9], dtype=torch.float64)
    step = 1e-7
    difference = (srgb_from_linear(linear + step) - srgb_from_linear(linear - step)) / (2 * step)
    torch.testing.assert_close(srgb_slope(linear), difference, rtol=1e-5, atol=1e-6)
