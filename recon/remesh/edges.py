"""Edges of a closed manifold."""

from dataclasses import dataclass

import torch

from recon.arrays import Int, Tensor


@dataclass(frozen=True)
class Edges:
    """Edges of a closed manifold.

    Attributes:
        vertices: Both ends, the smaller index first, sorted.
        faces: The two faces of each edge.
        opposite: In those faces, the vertex that is not on the edge.
    """

    vertices: Int[Tensor, "e 2"]
    faces: Int[Tensor, "e 2"]
    opposite: Int[Tensor, "e 2"]

    def keys(self) -> Int[Tensor, " e"]:
        """One number for every edge, rising: both ends in one word."""
        return edge_keys(self.vertices)


def edge_keys(vertices: Int[Tensor, "n 2"]) -> Int[Tensor, " n"]:
    """Both ends of edges in one word, the smaller index first."""
    low, high = vertices.aminmax(dim=1)
    return (low << 32) | high


def find_edges(faces: Int[Tensor, "f 3"]) -> Edges:
    """List the edges.

    Raises:
        ValueError: The mesh is not a closed manifold (an edge without exactly two faces).
    """
    ends = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(1).values
    opposite = torch.cat([faces[:, 2], faces[:, 0], faces[:, 1]])
    key = edge_keys(ends)
    order = torch.argsort(key, stable=True)
    key = key[order]
    if key.shape[0] % 2 or not torch.equal(key[0::2], key[1::2]) or bool((key[0::2].diff() == 0).any()):
        raise ValueError("the mesh is not a closed manifold: an edge does not have exactly two faces")
    order = order.view(-1, 2)
    return Edges(ends[order[:, 0]], order % faces.shape[0], opposite[order])
