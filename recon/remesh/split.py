"""Edge splits: new vertices in the middle of chosen edges, all at once.

A face with one split edge becomes two, with two three, with three four; neighbours split the same edges, so the
surface stays closed and does not move.

   one          two           three
    c            c              c
   /|\\          / \\            / \\
  / | \\        n---m          n---m
 a--m--b      / .' \\         / \\ / \\
             a------b       a---k---b
"""

import torch

from recon.arrays import Bool, Int, Tensor
from recon.remesh.edges import Edges, edge_keys
from recon.scene import TriangleMesh


def split_edges(mesh: TriangleMesh, edges: Edges, is_split: Bool[Tensor, " e"]) -> TriangleMesh:
    """Halve the chosen edges.

    Args:
        mesh: A closed manifold.
        edges: Its edges.
        is_split: Which of them get a vertex in their middle.

    Returns:
        A closed manifold on the same surface; the old vertices come first.
    """
    chosen = torch.nonzero(is_split).squeeze(1)
    if chosen.shape[0] == 0:
        return mesh
    middles = mesh.positions_world[edges.vertices[chosen]].mean(1)
    vertex_count = mesh.positions_world.shape[0]
    middle_of_edge = torch.full_like(edges.vertices[:, 0], -1)
    middle_of_edge[chosen] = vertex_count + torch.arange(chosen.shape[0], device=chosen.device)
    middle = middle_of_edge[edge_of_sides(mesh.faces, edges)]
    faces = _divided(mesh.faces, middle)
    return TriangleMesh(torch.cat([mesh.positions_world, middles]), faces)


def edge_of_sides(faces: Int[Tensor, "f 3"], edges: Edges) -> Int[Tensor, "f 3"]:
    """For every face the edges from corner 0 to 1, 1 to 2 and 2 to 0."""
    sides = torch.stack([faces, faces.roll(-1, 1)], 2)
    return torch.searchsorted(edges.keys(), edge_keys(sides.view(-1, 2))).view(-1, 3)


def _divided(faces: Int[Tensor, "f 3"], middle: Int[Tensor, "f 3"]) -> Int[Tensor, "f2 3"]:
    """Replace faces by the parts that their split sides (middle >= 0) ask for."""
    count = (middle >= 0).sum(1)
    # Turn every face until its pattern of split sides is one of (0), (1), (0, 1), (0, 1, 2).
    first = torch.where(count == 2, ((middle < 0).int().argmax(1) + 1) % 3, (middle >= 0).int().argmax(1))
    order = (first[:, None] + torch.arange(3, device=faces.device)) % 3
    a, b, c = faces.gather(1, order).unbind(1)
    k, m, n = middle.gather(1, order).unbind(1)
    parts = [
        (count == 0, ((a, b, c),)),
        (count == 1, ((a, k, c), (k, b, c))),
        (count == 2, ((k, b, m), (a, k, m), (a, m, c))),
        (count == 3, ((a, k, n), (k, b, m), (n, m, c), (k, m, n))),
    ]
    return torch.cat([torch.stack(corners, 1)[chosen] for chosen, pieces in parts for corners in pieces])
