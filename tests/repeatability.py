"""How closely a refinement repeats where sums over pixels run in any order, as on a GPU."""

import torch

from recon.scene import TriangleMesh

TOLERANCE_PX = 0.05
"""How far a vertex may end from where it ended before."""


def assert_repeated(once: TriangleMesh, again: TriangleMesh, pixel_m: float) -> None:
    """The same faces, and every vertex within the tolerance."""
    assert torch.equal(once.faces, again.faces)
    apart_m = (once.positions_world - again.positions_world).norm(dim=1).max()
    assert apart_m < TOLERANCE_PX * pixel_m
