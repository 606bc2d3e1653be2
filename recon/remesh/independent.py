"""Choosing edges that can change at the same time, and asking whether each change is safe.

The star of an edge is every face around either end.  Changes within disjoint stars do not see one another, so a
set of edges with disjoint stars can be collapsed at once.  Such a set is found as Luby (1986) finds maximal
independent sets: the edges that are first in their own neighbourhood go, and so again among those left.
"""

import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.remesh.edges import Edges

_LAST = torch.iinfo(torch.int64).max
_ROUNDS = 3


def choose_disjoint(
    edges: Edges,
    faces: Int[Tensor, "f 3"],
    vertex_count: int,
    is_candidate: Bool[Tensor, " e"],
    rank: Int[Tensor, " e"],
) -> Int[Tensor, " m"]:
    """Candidates whose stars share no face; of two that do, the one of lower rank (all different)."""
    is_open = is_candidate
    chosen: list[Int[Tensor, " _"]] = []
    for _ in range(_ROUNDS):
        key = torch.where(is_open, rank, _LAST)
        first = _spread_least(_least_at_vertices(edges, key, vertex_count), faces)
        wins = is_open & (first[edges.vertices] == key[:, None]).all(1)
        picked = torch.nonzero(wins).squeeze(1)
        chosen.append(picked)
        near = around(edges.vertices[picked].reshape(-1), faces, vertex_count)
        is_open = is_open & ~near[edges.vertices].any(1)
    return torch.cat(chosen)


def _least_at_vertices(edges: Edges, key: Int[Tensor, " e"], vertex_count: int) -> Int[Tensor, " v"]:
    least = torch.full((vertex_count,), _LAST, device=key.device)
    for end in range(2):
        least = least.scatter_reduce(0, edges.vertices[:, end], key, "amin")
    return least


def _spread_least(value: Int[Tensor, " v"], faces: Int[Tensor, "f 3"]) -> Int[Tensor, " v"]:
    """For every vertex the least value at any corner of any face around it."""
    in_face = value[faces].amin(1)
    for corner in range(3):
        value = value.scatter_reduce(0, faces[:, corner], in_face, "amin")
    return value


def around(vertices: Int[Tensor, " n"], faces: Int[Tensor, "f 3"], vertex_count: int) -> Bool[Tensor, " v"]:
    """The given vertices and every one that shares a face with them."""
    is_given = torch.zeros(vertex_count, dtype=torch.bool, device=faces.device)
    is_given.index_fill_(0, vertices, True)
    reached = is_given.clone()
    reached.index_fill_(0, faces[is_given[faces].any(1)].reshape(-1), True)
    return reached


def ranked(value: Float[Tensor, " e"]) -> Int[Tensor, " e"]:
    """Places in the order of the values, 0 for the least."""
    order = torch.argsort(value, stable=True)
    return torch.empty_like(order).index_copy(0, order, torch.arange(value.shape[0], device=value.device))


def triangle_shape(corners: Float[Tensor, "n 3 3"]) -> tuple[Float[Tensor, "n 3"], Float[Tensor, " n"]]:
    """Scaled normals, and roundness: 1 for an equilateral triangle, 0 for one without area (Bank and Smith 1997)."""
    a, b, c = corners.unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    squared_m2 = ((b - a) ** 2).sum(1) + ((c - b) ** 2).sum(1) + ((a - c) ** 2).sum(1)
    return normal, 2 * 3**0.5 * normal.norm(dim=1) / squared_m2.clamp_min(1e-30)
