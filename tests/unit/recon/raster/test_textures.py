"""Texture look-up at known texels."""

import pytest
import torch

from recon.raster.textures import bilinear, exact_halvings, trilinear

TEXTURE = torch.rand(6, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def texel_uv(row: float, column: float, height: int, width: int) -> torch.Tensor:
    """Texture coordinate of a texel's centre; row 0 is the top."""
    return torch.tensor([[(column + 0.5) / width, 1 - (row + 0.5) / height]], dtype=torch.float64)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (5, 0), (0, 3), (5, 3), (2, 1)])
def test_texel_centres_are_exact(row: int, column: int) -> None:
    """At a texel's centre the look-up is that texel; v points up."""
    torch.testing.assert_close(bilinear(TEXTURE, texel_uv(row, column, 6, 4))[0], TEXTURE[row, column])


def test_between_texels_is_linear() -> None:
    """A quarter of the way to the neighbour weighs three to one, along both axes."""
    found = bilinear(TEXTURE, texel_uv(2.25, 1.5, 6, 4))[0]
    upper, lower = TEXTURE[2, 1:3].mean(0), TEXTURE[3, 1:3].mean(0)
    torch.testing.assert_close(found, 0.75 * upper + 0.25 * lower)


@pytest.mark.parametrize(("u", "v", "row", "column"), [(-3.0, 0.5, None, 0), (2.0, 2.0, 0, 3), (0.0, -1.0, 5, 0)])
def test_beyond_the_border_the_nearest_texel_counts(u: float, v: float, row: int | None, column: int) -> None:
    """Coordinates outside 0..1 are clamped, not wrapped."""
    expected = TEXTURE[2:4, column].mean(0) if row is None else TEXTURE[row, column]
    torch.testing.assert_close(bilinear(TEXTURE, torch.tensor([[u, v]], dtype=torch.float64))[0], expected)


def test_single_texel() -> None:
    """A texture of one texel is one colour everywhere."""
    texture = torch.tensor([[[0.25, 0.5]]])
    assert bilinear(texture, torch.rand(5, 2)).tolist() == [[0.25, 0.5]] * 5
    assert trilinear(texture, torch.rand(5, 2), torch.ones(5, 2, 2)).tolist() == [[0.25, 0.5]] * 5


def test_gradients_equal_finite_differences() -> None:
    """Differentiable in the texture and in the coordinates, with and without a mip-map."""
    uv = torch.rand(7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    per_px = torch.rand(7, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    texture = torch.rand(8, 4, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    inputs = (texture.requires_grad_(), uv.requires_grad_())
    assert torch.autograd.gradcheck(bilinear, inputs)
    assert torch.autograd.gradcheck(lambda texture, uv: trilinear(texture, uv, per_px), inputs)


def test_magnified_texture_is_bilinear() -> None:
    """Where a pixel is smaller than a texel, the mip-map changes nothing."""
    uv = torch.rand(20, 2, dtype=torch.float64)
    per_px = torch.eye(2, dtype=torch.float64).expand(20, 2, 2) / 8
    torch.testing.assert_close(trilinear(TEXTURE, uv, per_px), bilinear(TEXTURE, uv))


@pytest.mark.parametrize("level", [1, 2, 3])
def test_whole_levels_are_box_averages(level: int) -> None:
    """A pixel that covers 2^l texels sees the mean of a block of 2^l by 2^l."""
    texture = torch.rand(16, 16, 1, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    size = 2**level
    blocks = texture.view(16 // size, size, 16 // size, size).mean((1, 3))
    per_px = torch.eye(2, dtype=torch.float64)[None] * size / 16
    found = trilinear(texture, texel_uv(1, 0, 16 // size, 16 // size), per_px)
    torch.testing.assert_close(found[0, 0], blocks[1, 0])


def test_between_levels_is_linear() -> None:
    """Half way between two levels (a factor of the square root of two) both weigh the same."""
    texture = torch.rand(16, 16, 1, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    uv, step = torch.tensor([[0.4, 0.6]], dtype=torch.float64), torch.eye(2, dtype=torch.float64)[None] / 16
    between = trilinear(texture, uv, 2**0.5 * 2 * step)
    torch.testing.assert_close(between, (trilinear(texture, uv, 2 * step) + trilinear(texture, uv, 4 * step)) / 2)


def test_level_follows_the_long_axis_of_the_footprint() -> None:
    """A pixel seen at a slant uses the level of its longer side, however it is turned."""
    texture = torch.rand(16, 16, 1, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    uv = torch.tensor([[0.4, 0.6]], dtype=torch.float64)
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]], dtype=torch.float64)
    slanted = turn @ torch.diag(torch.tensor([4.0, 0.5], dtype=torch.float64)) / 16
    square = torch.eye(2, dtype=torch.float64) * 4 / 16
    torch.testing.assert_close(trilinear(texture, uv, slanted[None]), trilinear(texture, uv, square[None]))


@pytest.mark.parametrize(
    ("height", "width", "count"), [(1, 1, 0), (16, 16, 4), (16, 4, 2), (12, 12, 2), (7, 8, 0), (1000, 1000, 3)]
)
def test_exact_halvings(height: int, width: int, count: int) -> None:
    """A mip-map ends where a side is odd, so that no level is shifted against another."""
    assert exact_halvings(height, width) == count
