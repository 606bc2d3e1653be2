"""More faces where the measured surface leaves flat ones: coarse to fine."""

import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.observations import Observations
from recon.optimise.terms import DepthTerm
from recon.remesh import Edges, edge_of_sides, flip_edges, split_edges
from recon.scene import TriangleMesh

SHORTEST_PX = 1.5
"""Edges that are shorter, in pixels, stay: half of one would rest on too few measurements."""


def add_faces(
    mesh: TriangleMesh, edges: Edges, depth: DepthTerm, observations: Observations, target_face_count: int
) -> TriangleMesh:
    """Halve the longest edge of the faces that miss most, worst first, and make the faces around them rounder.

    What a face misses is the sum over its pixels, so a small error over a large face counts like a large one over a
    small face.

    Args:
        mesh: A closed manifold.
        edges: Its edges.
        depth: The depth term, evaluated near the mesh.
        observations: What the term compared it with.
        target_face_count: The result has at most so many faces (one more where that is odd).

    Returns:
        A closed manifold near the same surface; the old vertices come first.
    """
    count = min((target_face_count - mesh.faces.shape[0] + 1) // 2, mesh.faces.shape[0])
    if count <= 0:
        return mesh
    ends = mesh.positions_world[edges.vertices]
    length_m = (ends[:, 0] - ends[:, 1]).norm(dim=1)
    sides = edge_of_sides(mesh.faces, edges)
    longest = sides.gather(1, length_m[sides].argmax(1, keepdim=True))[:, 0]
    need_m2 = torch.zeros_like(length_m).scatter_reduce(0, longest, depth.squares_m2, "amax")
    need_m2 = torch.where(length_m > SHORTEST_PX * observations.pixel_m, need_m2, torch.zeros_like(need_m2))
    return flip_edges(split_edges(mesh, edges, _largest(need_m2, count)))


def _largest(value: Float[Tensor, " e"], count: int) -> Bool[Tensor, " e"]:
    """Up to a number of the largest values above zero."""
    chosen: Int[Tensor, " n"] = torch.topk(value, min(count, value.shape[0])).indices
    is_chosen = torch.zeros_like(value, dtype=torch.bool)
    is_chosen[chosen] = True
    return is_chosen & (value > 0)
