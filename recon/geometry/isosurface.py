"""Zero set of a sampled field as a watertight triangle mesh.

Marching tetrahedra on the Kuhn subdivision of the lattice (six tetrahedra a cube, all sharing the main
diagonal, so that neighbours agree): a piecewise linear level set on a simplicial complex is a manifold
whenever no sample is exactly zero, with two table rows and no ambiguous case.  (Doi and Koide 1991.)
"""

import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.geometry.grid import Grid
from recon.scene import TriangleMesh

_KUHN_PATHS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
"""The order in which a tetrahedron's corners step along x, y, z from (0,0,0) to (1,1,1)."""

_EVEN_PATHS = ((0, 1, 2), (1, 2, 0), (2, 0, 1))
"""Paths whose tetrahedra are positively oriented."""

MIN_SHARE = 0.02
"""Crossings keep this share of an edge's length away from its ends, which bounds the thinnest triangles."""


def extract_surface(field: Float[Tensor, "x y z"], grid: Grid) -> TriangleMesh:
    """Mesh the boundary between negative (inside) and positive (outside) samples.

    Args:
        field: One value per sample of the grid; its outermost samples must be positive.
        grid: Where the samples are.

    Returns:
        A closed manifold, faces counter-clockwise seen from outside; empty when nothing is inside.
    """
    values = field.reshape(-1)
    inside = values < 0
    corner_offsets = _kuhn_corner_offsets(grid.shape, field.device)
    cells = _active_cells(inside.view(grid.shape))
    edges: list[Int[Tensor, "m 3 2"]] = []
    for path_index, path in enumerate(_KUHN_PATHS):
        corners = cells[:, None] + corner_offsets[path_index]
        if path not in _EVEN_PATHS:
            corners = corners[:, [0, 1, 3, 2]]
        edges.extend(_tetrahedron_faces(corners, inside))
    face_edges = torch.cat(edges)
    ordered = face_edges.sort(-1).values
    keys = ordered[..., 0] * values.shape[0] + ordered[..., 1]
    unique_keys, faces = torch.unique(keys, return_inverse=True)
    start, end = unique_keys // values.shape[0], unique_keys % values.shape[0]
    share = values[start] / (values[start] - values[end])
    share = share.clamp(MIN_SHARE, 1 - MIN_SHARE)[:, None]
    positions_world = grid.positions_world(start) * (1 - share) + grid.positions_world(end) * share
    return TriangleMesh(positions_world, faces)


def _kuhn_corner_offsets(shape: tuple[int, int, int], device: torch.device) -> Int[Tensor, "6 4"]:
    strides = (shape[1] * shape[2], shape[2], 1)
    offsets = []
    for path in _KUHN_PATHS:
        corner, corners = 0, [0]
        for axis in path:
            corner += strides[axis]
            corners.append(corner)
        offsets.append(corners)
    return torch.tensor(offsets, device=device)


def _active_cells(inside: Bool[Tensor, "x y z"]) -> Int[Tensor, " n"]:
    """Flat index of the lowest corner of every cube whose corners are not all on one side."""
    size_x, size_y, size_z = inside.shape
    count = torch.zeros(size_x - 1, size_y - 1, size_z - 1, dtype=torch.uint8, device=inside.device)
    for x in (0, 1):
        for y in (0, 1):
            for z in (0, 1):
                count += inside[x : size_x - 1 + x, y : size_y - 1 + y, z : size_z - 1 + z]
    cells = torch.nonzero((count > 0) & (count < 8))
    return (cells[:, 0] * size_y + cells[:, 1]) * size_z + cells[:, 2]


def _tetrahedron_faces(corners: Int[Tensor, "n 4"], inside: Bool[Tensor, " s"]) -> list[Int[Tensor, "m 3 2"]]:
    """Triangles of positively oriented tetrahedra, each vertex named by the lattice edge that it lies on.

    One corner apart:          two and two:
        a                       a---b  inside
       /|\\   triangle on the     |\\ /|   quadrilateral on ac, ad, bd, bc
      b c d  edges ab ac ad      c---d  outside
    """
    is_inside = inside[corners]
    count = is_inside.sum(1)
    triangles: list[Int[Tensor, "m 3 2"]] = []
    for lone in range(4):
        b, c, d = ((1, 2, 3), (0, 3, 2), (0, 1, 3), (0, 2, 1))[lone]  # (lone, b, c, d) is an even permutation
        alone_inside = (count == 1) & is_inside[:, lone]
        alone_outside = (count == 3) & ~is_inside[:, lone]
        for chosen, order in ((alone_inside, (b, c, d)), (alone_outside, (b, d, c))):
            tetrahedra = corners[chosen]
            triangles.append(torch.stack([tetrahedra[:, [lone, other]] for other in order], 1))
    for pair, rest in (
        ((0, 1), (2, 3)),
        ((0, 2), (3, 1)),
        ((0, 3), (1, 2)),
        ((1, 2), (0, 3)),
        ((3, 1), (0, 2)),
        ((2, 3), (0, 1)),
    ):
        chosen = (count == 2) & is_inside[:, pair[0]] & is_inside[:, pair[1]]
        ends = corners[chosen]
        ac, ad, bc, bd = (ends[:, [one, other]] for one in pair for other in rest)
        triangles.append(torch.stack([ac, ad, bd], 1))
        triangles.append(torch.stack([ac, bd, bc], 1))
    return triangles
