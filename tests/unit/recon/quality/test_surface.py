"""Shares of area, not of texels or faces."""

import pytest
import torch

import meshes
from recon.quality.surface import surface_shares
from recon.scene import TEXEL_GENERATED, TexturedMesh, TriangleMesh


def test_shares_are_weighted_by_area() -> None:
    """In a box of 2 x 1 x 1, a large side is a fifth of the surface and an end a tenth."""
    box = meshes.textured_box(observed_sides=(0, 4))
    stretched = TriangleMesh(box.mesh.positions_world * torch.tensor([2.0, 1.0, 1.0]), box.mesh.faces)
    shares = surface_shares(TexturedMesh(stretched, box.uv, box.face_uv, box.texture_srgb, box.coverage))
    assert shares.observed_fraction == pytest.approx(0.1 + 0.2)
    assert shares.filled_fraction == pytest.approx(0.7)
    assert shares.generated_fraction == 0


def test_generated_surface_is_told_apart() -> None:
    """A model's invention is neither observed nor filled."""
    box = meshes.textured_box(observed_sides=(0,))
    coverage = torch.where(box.coverage == 2, TEXEL_GENERATED, box.coverage).to(torch.uint8)
    shares = surface_shares(TexturedMesh(box.mesh, box.uv, box.face_uv, box.texture_srgb, coverage))
    assert shares.generated_fraction == pytest.approx(5 / 6)
    assert shares.observed_fraction == pytest.approx(1 / 6)
    assert shares.filled_fraction == 0
