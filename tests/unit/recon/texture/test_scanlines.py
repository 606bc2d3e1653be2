"""Scan conversion agrees with the inside test and never draws a shared edge twice."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.texture.scanlines import covered_texels


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_coverage_is_the_inside_test(seed: int) -> None:
    """Exactly the texel centres inside a triangle are covered."""
    corners = torch.rand(3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 20
    _, row, column = covered_texels(corners, torch.tensor([[0, 1, 2]]))
    covered = torch.zeros(20, 20, dtype=torch.bool)
    covered[row, column] = True
    y, x = torch.meshgrid(torch.arange(20) + 0.5, torch.arange(20) + 0.5, indexing="ij")
    centre = torch.stack([x, y], -1).double()
    edge = corners.roll(-1, 0) - corners
    to_centre = centre[..., None, :] - corners
    side = edge[:, 0] * to_centre[..., 1] - edge[:, 1] * to_centre[..., 0]
    assert torch.equal(covered, (side > 0).all(-1) | (side < 0).all(-1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_a_fan_covers_every_texel_once(seed: int) -> None:
    """Triangles about a common corner tile a square: no texel twice, none left out."""
    inner = 2 + torch.rand(1, 2, generator=torch.Generator().manual_seed(seed)) * 12
    square = torch.tensor([[0.0, 0.0], [16.0, 0.0], [16.0, 16.0], [0.0, 16.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]])
    _, row, column = covered_texels(torch.cat([inner, square]), faces)
    assert torch.equal((row * 16 + column).sort().values, torch.arange(256))
