"""Moving vertices without turning faces over."""

import torch

from recon.arrays import Bool, Float, Tensor
from recon.scene import TriangleMesh

HALVINGS = 5
"""What would still turn over with a thirtieth of its step stays where it was."""


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
    for halving in range(HALVINGS + 1):
        moved = TriangleMesh(mesh.positions_world + share * step, mesh.faces)
        after = moved.scaled_face_normals()
        turns = ((after * before).sum(1) < 0) | (_is_folded(moved, after) & ~was_folded)
        if not bool(turns.any()):
            return moved
        is_held = torch.zeros_like(share, dtype=torch.bool)
        is_held[mesh.faces[turns].flatten()] = True
        share = torch.where(is_held, share / 2 if halving < HALVINGS else torch.zeros_like(share), share)
    return TriangleMesh(mesh.positions_world + share * step, mesh.faces)


def folded_faces(mesh: TriangleMesh) -> Bool[Tensor, " f"]:
    """Which faces point away from the mean of the faces at their corners, weighed by area."""
    return _is_folded(mesh, mesh.scaled_face_normals())


def _is_folded(mesh: TriangleMesh, scaled_normals: Float[Tensor, "f 3"]) -> Bool[Tensor, " f"]:
    around: Float[Tensor, "v 3"] = torch.zeros_like(mesh.positions_world)
    for corner in range(3):
        around.index_add_(0, mesh.faces[:, corner], scaled_normals)
    return (scaled_normals * around[mesh.faces].sum(1)).sum(1) < 0
