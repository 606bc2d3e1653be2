"""Moving vertices without turning faces over."""

import torch

from recon.arrays import Bool, Float, Tensor
from recon.scene import TriangleMesh

HALVINGS, RINGS = 5, 4
"""What would still turn over with a thirtieth of its step stays where it was; if it turns over all the same, because
the faces around it moved, a ring more stays each time."""


def move_without_folds(mesh: TriangleMesh, step: Float[Tensor, "v 3"]) -> TriangleMesh:
    """Move vertices, less far around faces that would turn over.

    Args:
        mesh: A closed manifold.
        step: Wanted displacements, metres; where faces turn, or come to point against the faces around them, it is
            halved until they do not.
    """
    before = mesh.scaled_face_normals()
    was_folded = _is_folded(mesh, before)
    share = torch.ones_like(step[:, :1])
    is_held = torch.zeros_like(share, dtype=torch.bool)
    for attempt in range(HALVINGS + RINGS):
        moved = TriangleMesh(mesh.positions_world + share * step, mesh.faces)
        after = moved.scaled_face_normals()
        turns = ((after * before).sum(1) < 0) | (_is_folded(moved, after) & ~was_folded)
        if not bool(turns.any()):
            return moved
        if attempt < HALVINGS:
            share = torch.where(_corners(mesh, turns), share / 2, share)
        else:
            is_held = _corners(mesh, turns | is_held[mesh.faces].any(1).squeeze(1))
            share = share.masked_fill(is_held, 0)
    return TriangleMesh(mesh.positions_world + share * step, mesh.faces)


def _corners(mesh: TriangleMesh, faces: Bool[Tensor, " f"]) -> Bool[Tensor, "v 1"]:
    is_corner = torch.zeros_like(mesh.positions_world[:, :1], dtype=torch.bool)
    is_corner[mesh.faces[faces].flatten()] = True
    return is_corner


def folded_faces(mesh: TriangleMesh) -> Bool[Tensor, " f"]:
    """Which faces point away from the mean of the faces at their corners, weighed by area."""
    return _is_folded(mesh, mesh.scaled_face_normals())


def _is_folded(mesh: TriangleMesh, scaled_normals: Float[Tensor, "f 3"]) -> Bool[Tensor, " f"]:
    around: Float[Tensor, "v 3"] = torch.zeros_like(mesh.positions_world)
    for corner in range(3):
        around.index_add_(0, mesh.faces[:, corner], scaled_normals)
    return (scaled_normals * around[mesh.faces].sum(1)).sum(1) < 0
