"""Simplification by edge collapses, many at a time.

Quadric errors (Garland and Heckbert 1997) with area weights, in the mesh's own scale; a round collapses a set of
cheap edges with disjoint stars (``independent``), so a mesh of 400 000 faces needs some thirty rounds of array
operations and stays on its device.
"""

from dataclasses import dataclass

import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.remesh.edges import Edges, find_edges
from recon.remesh.independent import around, choose_disjoint, ranked, triangle_shape
from recon.remesh.pieces import select_faces
from recon.scene import TriangleMesh
from recon.sums import sum_rows_at

CANDIDATE_SHARE = 0.3
"""The cheapest edges that a round chooses from: fewer keep closer to the order of costs and need more rounds."""

RIDGE = 1e-3
"""Share of a quadric's trace that holds a merged vertex near the edge's middle where planes leave it free."""

LENGTH_COST = 1e-6
"""Weight of an edge's squared length against squared distances from planes: on flat ground short edges go first."""

MIN_TURN = 0.3
"""Smallest cosine between a face's normal after and what it was, or the mean normal around the edge: the specks that
an isosurface has near its samples have normals of their own."""

MIN_ROUNDNESS = 0.03
"""Faces do not get flatter than this, unless they were.  An isosurface has so many flat ones that 0.1 stands in the
way of most collapses: three to five times as many rounds, which leave three times as many faces below 0.1."""

MIN_CANDIDATES = 100
MAX_ROUNDS = 400


def collapse_edges(mesh: TriangleMesh, target_face_count: int) -> TriangleMesh:
    """Simplify to about a face count.

    Args:
        mesh: A closed manifold.
        target_face_count: Nothing is done at or below this.

    Returns:
        A closed manifold with at most ``target_face_count`` faces (one more where that is odd), or with as many
        as no safe collapse could remove.
    """
    if mesh.faces.shape[0] <= target_face_count:
        return mesh
    centre = mesh.positions_world.mean(0)
    positions = (mesh.positions_world - centre).double()
    faces, quadrics = mesh.faces, _vertex_quadrics(positions, mesh.faces)
    unsafe_keys = faces.new_empty(0)
    for _ in range(MAX_ROUNDS):
        excess = (faces.shape[0] - target_face_count + 1) // 2
        if excess <= 0:
            break
        edges = find_edges(faces)
        merge = _merge_ends(edges, positions, quadrics)
        is_open = ~torch.isin(edges.keys(), unsafe_keys)
        rank = ranked(torch.where(is_open, merge.cost, torch.inf))
        candidate_count = max(int(CANDIDATE_SHARE * int(is_open.sum())), MIN_CANDIDATES)
        chosen = choose_disjoint(edges, faces, positions.shape[0], is_open & (rank < candidate_count), rank)
        is_safe = _is_safe(edges.vertices[chosen], merge.positions[chosen], positions, faces)
        picked = chosen[is_safe]
        picked = picked[torch.argsort(rank[picked])[:excess]]
        if not chosen.shape[0]:
            break
        keep, gone = edges.vertices[picked].unbind(1)
        # What a collapse makes of its neighbourhood may be safe again.
        is_changed = around(edges.vertices[picked].reshape(-1), faces, positions.shape[0])
        unsafe_keys = torch.cat([unsafe_keys, edges.keys()[chosen[~is_safe]]])
        unsafe_keys = unsafe_keys[~(is_changed[unsafe_keys >> 32] | is_changed[unsafe_keys & 0xFFFFFFFF])]
        positions = positions.index_copy(0, keep, merge.positions[picked])
        quadrics = quadrics.index_add(0, keep, quadrics[gone])
        faces = _replaced(faces, keep, gone, positions.shape[0])
    moved = TriangleMesh(positions.to(mesh.positions_world) + centre, faces)
    return select_faces(moved, torch.ones_like(faces[:, 0], dtype=torch.bool))


def _vertex_quadrics(positions: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "v 10"]:
    """Squared distances from the planes of a vertex's faces, weighted by their areas.

    A quadric p^T A p + 2 b p + c is kept as (Axx, Axy, Axz, Ayy, Ayz, Azz, bx, by, bz, c).
    """
    a, b, c = positions[faces].unbind(1)
    scaled = torch.linalg.cross(b - a, c - a)
    area_m2 = scaled.norm(dim=1, keepdim=True)
    x, y, z = (scaled / area_m2.clamp_min(1e-30)).unbind(1)
    w = -(x * a[:, 0] + y * a[:, 1] + z * a[:, 2])
    own = area_m2 * torch.stack([x * x, x * y, x * z, y * y, y * z, z * z, x * w, y * w, z * w, w * w], 1)
    return sum_rows_at(faces.T.reshape(-1), own.repeat(3, 1), positions.shape[0])


@dataclass(frozen=True)
class _Merge:
    """Where every edge's ends would meet, and what that costs."""

    positions: Float[Tensor, "e 3"]
    cost: Float[Tensor, " e"]


def _merge_ends(edges: Edges, positions: Float[Tensor, "v 3"], quadrics: Float[Tensor, "v 10"]) -> _Merge:
    start, end = edges.vertices.unbind(1)
    quadric = quadrics[start] + quadrics[end]
    middle = (positions[start] + positions[end]) / 2
    trace = quadric[:, 0] + quadric[:, 3] + quadric[:, 5]
    step = -_solve_symmetric(quadric, RIDGE * trace + 1e-30, _half_gradient(quadric, middle))
    length = (positions[start] - positions[end]).norm(dim=1)
    # A nearly flat neighbourhood may ask for a point far away; its ends then meet in the middle.
    step = torch.where((step.norm(dim=1) <= length)[:, None], step, torch.zeros_like(step))
    merged = middle + step
    error = ((_half_gradient(quadric, merged) + quadric[:, 6:9]) * merged).sum(1) + quadric[:, 9]
    return _Merge(merged, error.clamp_min(0) + LENGTH_COST * trace * length**2)


def _half_gradient(quadric: Float[Tensor, "e 10"], points: Float[Tensor, "e 3"]) -> Float[Tensor, "e 3"]:
    """A p + b."""
    rows = quadric[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].view(-1, 3, 3)
    return (rows * points[:, None]).sum(2) + quadric[:, 6:9]


def _solve_symmetric(
    quadric: Float[Tensor, "e 10"], ridge: Float[Tensor, " e"], right: Float[Tensor, "e 3"]
) -> Float[Tensor, "e 3"]:
    """(A + ridge)^-1 right, by cofactors: batches of tiny matrices are slow in every linear algebra library."""
    xx, xy, xz, yy, yz, zz = quadric[:, :6].unbind(1)
    xx, yy, zz = xx + ridge, yy + ridge, zz + ridge
    cofactors = [
        yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy,
        xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy,
    ]  # fmt: skip
    c00, c01, c02, c11, c12, c22 = cofactors
    determinant = xx * c00 + xy * c01 + xz * c02
    x, y, z = right.unbind(1)
    rows = [c00 * x + c01 * y + c02 * z, c01 * x + c11 * y + c12 * z, c02 * x + c12 * y + c22 * z]
    return torch.stack(rows, 1) / determinant[:, None]


def _is_safe(
    ends: Int[Tensor, "m 2"],
    merged: Float[Tensor, "m 3"],
    positions: Float[Tensor, "v 3"],
    faces: Int[Tensor, "f 3"],
) -> Bool[Tensor, " m"]:
    """Whether collapsing edges with disjoint stars keeps a manifold and turns no face over."""
    count = ends.shape[0]
    owner = torch.full((positions.shape[0],), -1, device=faces.device)
    for end in range(2):
        owner[ends[:, end]] = torch.arange(count, device=faces.device)
    owners = owner[faces]
    star = torch.nonzero((owners >= 0).any(1)).squeeze(1)
    owners, corners = owners[star], faces[star]
    collapse = owners.amax(1)
    is_kept = (owners >= 0).sum(1) == 1
    before = positions[corners]
    after = torch.where((owners >= 0)[..., None], merged[collapse][:, None], before)
    old_normal, old_roundness = triangle_shape(before)
    new_normal, new_roundness = triangle_shape(after)
    mean_normal = sum_rows_at(collapse, old_normal, count)[collapse]
    turn = torch.maximum(_cosine(old_normal, new_normal), _cosine(mean_normal, new_normal))
    is_bad = (turn < MIN_TURN) | (new_roundness < old_roundness.clamp_max(MIN_ROUNDNESS))
    bad_count = torch.zeros(count, device=faces.device).index_add_(0, collapse, (is_bad & is_kept).float())
    return (bad_count == 0) & _link_is_two_vertices(ends, collapse, corners, owners >= 0, positions.shape[0])


def _cosine(one: Float[Tensor, "n 3"], other: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    return torch.nn.functional.cosine_similarity(one, other, dim=1, eps=1e-30)


def _link_is_two_vertices(
    ends: Int[Tensor, "m 2"],
    collapse: Int[Tensor, " s"],
    corners: Int[Tensor, "s 3"],
    is_end: Bool[Tensor, "s 3"],
    vertex_count: int,
) -> Bool[Tensor, " m"]:
    """The link condition (Dey et al. 1999): the ends share two neighbours, and the star is more than a tetrahedron.

    Around either end every neighbour appears in two faces; the neighbours that both ends share, in four.  Of the
    star's faces, those with both ends are counted for each.
    """
    pairs = []
    for end in range(2):
        has_end = (corners == ends[collapse, end][:, None]).any(1)
        others = corners[has_end]
        key = collapse[has_end][:, None] * vertex_count + others
        pairs.append(key[~is_end[has_end]])
    key, times = torch.unique(torch.cat(pairs), return_counts=True)
    shared = torch.zeros(ends.shape[0], device=key.device).index_add_(0, key // vertex_count, (times == 4).float())
    face_count = torch.bincount(collapse, minlength=ends.shape[0])
    return (shared == 2) & (face_count > 6)


def _replaced(
    faces: Int[Tensor, "f 3"], keep: Int[Tensor, " m"], gone: Int[Tensor, " m"], vertex_count: int
) -> Int[Tensor, "f2 3"]:
    """Faces with one vertex in place of another, without those that lost their area."""
    target = torch.arange(vertex_count, device=faces.device).index_copy(0, gone, keep)
    faces = target[faces]
    a, b, c = faces.unbind(1)
    return faces[(a != b) & (b != c) & (c != a)]
