"""How closely a refinement repeats where sums over pixels run in any order, as on a GPU."""

import torch

from recon.scene import TriangleMesh

USUAL_PX, USUAL_SHARE, MOST_PX = 0.02, 0.999, 0.1
"""How far that share of the vertices may end from where they ended before, and how far any.  A last bit can decide
which pixel a vertex falls on: one vertex of a mug ends .06 px away in half of the runs, and no other above .05."""


def assert_repeated(once: TriangleMesh, again: TriangleMesh, pixel_m: float) -> None:
    """The same faces, and the same vertices within the tolerance."""
    assert torch.equal(once.faces, again.faces)
    apart_px = (once.positions_world - again.positions_world).norm(dim=1) / pixel_m
    assert apart_px.quantile(USUAL_SHARE) < USUAL_PX
    assert apart_px.max() < MOST_PX
