"""Edge flips towards rounder faces.

  c               c            Two faces a-b-c and b-a-d become c-d-b and d-c-a where that makes the flatter
 / \\             /|\\          of the two rounder and the surface hardly moves.
a---b    ->     a | b
 \\ /             \\|/
  d               d
"""

import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.remesh.edges import Edges, edge_keys, find_edges
from recon.remesh.independent import choose_disjoint, ranked, triangle_shape
from recon.scene import TriangleMesh

MIN_FLATNESS = 0.999
"""Cosine between faces whose edge may flip: where the surface bends more, the other diagonal is another surface."""

MIN_GAIN = 1.05
"""Factor by which the flatter face must become rounder, so that nothing flips to and fro."""


def flip_edges(mesh: TriangleMesh, round_count: int = 4) -> TriangleMesh:
    """Flip edges between nearly coplanar faces until few faces get rounder by it.

    Args:
        mesh: A closed manifold.
        round_count: Each flips a set of edges that do not share a face's neighbourhood.

    Returns:
        The same vertices; a closed manifold.
    """
    faces = mesh.faces
    for _ in range(round_count):
        edges = find_edges(faces)
        gain = _roundness_gain(mesh, edges, faces)
        wanted = (gain > MIN_GAIN) & ~_would_double(edges)
        picked = choose_disjoint(edges, faces, mesh.positions_world.shape[0], wanted, ranked(-gain))
        if picked.shape[0] == 0:
            break
        faces = faces.index_copy(0, edges.faces[picked].T.reshape(-1), _flipped(edges, faces, picked))
    return TriangleMesh(mesh.positions_world, faces)


def _roundness_gain(mesh: TriangleMesh, edges: Edges, faces: Int[Tensor, "f 3"]) -> Float[Tensor, " e"]:
    """How many times rounder the flatter of two faces would be; 0 where the surface would move."""
    everything = torch.arange(edges.vertices.shape[0], device=faces.device)
    new_faces = _flipped(edges, faces, everything)
    old_normal, old_roundness = triangle_shape(mesh.positions_world[faces[edges.faces.T.reshape(-1)]])
    new_normal, new_roundness = triangle_shape(mesh.positions_world[new_faces])
    old, new = (torch.nn.functional.normalize(item, dim=1, eps=1e-30).chunk(2) for item in (old_normal, new_normal))
    is_flat = (old[0] * old[1]).sum(1) > MIN_FLATNESS
    mean = old[0] + old[1]
    keeps_side = ((new[0] * mean).sum(1) > MIN_FLATNESS) & ((new[1] * mean).sum(1) > MIN_FLATNESS)
    worst_before = torch.minimum(*old_roundness.chunk(2))
    worst_after = torch.minimum(*new_roundness.chunk(2))
    gain = worst_after / worst_before.clamp_min(1e-9)
    return torch.where(is_flat & keeps_side, gain, torch.zeros_like(gain))


def _would_double(edges: Edges) -> Bool[Tensor, " e"]:
    """Whether the new edge exists already: a vertex with three faces stands on the old one."""
    new, existing = edge_keys(edges.opposite), edges.keys()
    place = torch.searchsorted(existing, new).clamp_max(existing.shape[0] - 1)
    return existing[place] == new


def _flipped(edges: Edges, faces: Int[Tensor, "f 3"], picked: Int[Tensor, " m"]) -> Int[Tensor, "m2 3"]:
    """The two faces after each flip, first all of the first kind."""
    first = faces[edges.faces[picked, 0]]
    c, d = edges.opposite[picked].unbind(1)
    at_c = (first == c[:, None]).int().argmax(1)
    a = first.gather(1, ((at_c + 1) % 3)[:, None])[:, 0]
    b = first.gather(1, ((at_c + 2) % 3)[:, None])[:, 0]
    return torch.cat([torch.stack([c, d, b], 1), torch.stack([d, c, a], 1)])
