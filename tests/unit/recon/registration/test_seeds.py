"""The orientations that are tried."""

import math

import torch

from recon.frames import rotation_from_vector
from recon.registration.seeds import cube_rotations, seed_rotations


def test_the_cube_has_24_rotations() -> None:
    """All different, all proper, closed under composition."""
    rotations = cube_rotations()
    assert rotations.shape == (24, 3, 3)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(24))
    flat = {tuple(rotation.flatten().tolist()) for rotation in rotations}
    assert len(flat) == 24
    products = (rotations[:, None] @ rotations[None]).flatten(0, 1) + 0.0
    assert {tuple(product.flatten().tolist()) for product in products} == {
        tuple((rotation + 0.0).flatten().tolist()) for rotation in rotations
    }


def test_every_orientation_is_near_a_seed() -> None:
    """No rotation is farther than 40 degrees from the nearest seed."""
    vectors = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    vectors = vectors / vectors.norm(dim=1, keepdim=True) * torch.rand(2000, 1) * math.pi
    traces = torch.einsum("nij,rij->nr", rotation_from_vector(vectors), seed_rotations())
    angle_deg = torch.rad2deg(torch.arccos(((traces - 1) / 2).clamp(-1, 1)))
    assert angle_deg.amin(1).max() < 40
