"""Turning back faces that point against those around them."""

import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.remesh.edges import find_edges
from recon.scene import TriangleMesh
from recon.sums import SumsByPlace, sum_rows_at

ROUNDS, ALONE_ROUNDS = 20, 6
"""Most folds are gone after four rounds.  From the seventh on, what surrounds their corners moves, too."""


def unfold(mesh: TriangleMesh) -> TriangleMesh:
    """Move corners of folded faces half-way to the mean of their neighbours, until no face is folded.

    Vertices elsewhere keep their positions; the faces stay.

    Args:
        mesh: A closed manifold.
    """
    is_folded = folded_faces(mesh)
    if not bool(is_folded.any()):
        return mesh
    ends = find_edges(mesh.faces).vertices
    for index in range(ROUNDS):
        is_moved = _corners(mesh, is_folded)
        if index >= ALONE_ROUNDS:
            is_moved = _corners(mesh, is_moved[mesh.faces].any(1))
        halfway = (mesh.positions_world + _neighbour_means(mesh.positions_world, ends)) / 2
        mesh = TriangleMesh(torch.where(is_moved[:, None], halfway, mesh.positions_world), mesh.faces)
        is_folded = folded_faces(mesh)
        if not bool(is_folded.any()):
            break
    return mesh


def folded_faces(mesh: TriangleMesh) -> Bool[Tensor, " f"]:
    """Which faces point away from the mean of the faces at their corners, weighed by area."""
    scaled_normals = mesh.scaled_face_normals()
    around = sum_rows_at(mesh.faces.T.reshape(-1), scaled_normals.repeat(3, 1), mesh.positions_world.shape[0])
    return (scaled_normals * around[mesh.faces].sum(1)).sum(1) < 0


def _corners(mesh: TriangleMesh, faces: Bool[Tensor, " f"]) -> Bool[Tensor, " v"]:
    is_corner = torch.zeros_like(mesh.positions_world[:, 0], dtype=torch.bool)
    is_corner[mesh.faces[faces].flatten()] = True
    return is_corner


def _neighbour_means(positions_world: Float[Tensor, "v 3"], ends: Int[Tensor, "e 2"]) -> Float[Tensor, "v 3"]:
    by_end = SumsByPlace(ends.T.reshape(-1), positions_world.shape[0])
    others = positions_world[ends.flip(1).T.reshape(-1)]
    return by_end.of(others) / by_end.of(torch.ones_like(others[:, :1])).clamp_min(1)
