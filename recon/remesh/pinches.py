"""Cuts where sheets of a mesh are glued together."""

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from recon.arrays import Float, Int, Tensor
from recon.remesh.pieces import select_faces
from recon.scene import TriangleMesh
from recon.sums import sum_rows_at

PINCH_GAP = 0.05
"""How far the two sides of a cut pinch move apart, in edge lengths."""

PARTING, MAX_PARTINGS = 0.01, 8
"""How far vertices at equal positions move apart, in edge lengths, and how often that is tried."""


def part_doubles(mesh: TriangleMesh) -> TriangleMesh:
    """Move vertices at equal positions a little inwards: programs that merge them would glue sheets together."""
    a, b = mesh.positions_world[mesh.faces[:, :2]].unbind(1)
    step_m = PARTING * (a - b).norm(dim=1).mean()
    for _ in range(MAX_PARTINGS):
        _, group, counts = torch.unique(mesh.positions_world, dim=0, return_inverse=True, return_counts=True)
        shared = counts[group] > 1
        if not bool(shared.any()):
            break
        rank = torch.arange(len(group), device=group.device) % 7 + 1  # sheets that face alike part as well
        step = -step_m * rank[:, None] * mesh.vertex_normals()
        mesh = TriangleMesh(mesh.positions_world + torch.where(shared[:, None], step, 0.0), mesh.faces)
    return mesh


def cut_pinches(mesh: TriangleMesh) -> TriangleMesh:
    """Separate sheets that a simplification has glued together along an edge or at a vertex.

    Faces around an edge with more than two of them are paired, each with the neighbour that closes the material
    between them; vertices are then renewed, one for every fan of paired faces, and the sides of a cut move apart
    a little so that merging equal positions does not glue them again.  Faces folded onto each other vanish.
    """
    faces = _drop_folded_faces(mesh.faces)
    half_start, half_end = faces[:, [0, 1, 2]].reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    key = (torch.minimum(half_start, half_end) << 32) | torch.maximum(half_start, half_end)
    order = torch.argsort(key, stable=True)
    _, counts = torch.unique_consecutive(key[order], return_counts=True)
    if bool((counts == 2).all()) and _is_vertex_manifold(faces, mesh.positions_world.shape[0]):
        return select_faces(TriangleMesh(mesh.positions_world, faces), torch.ones_like(faces[:, 0], dtype=torch.bool))
    starts = torch.cumsum(counts, 0) - counts
    regular = starts[counts == 2]
    pairs = [torch.stack([order[regular], order[regular + 1]], 1)]
    positions = mesh.positions_world.double()
    for start, count in zip(starts[counts > 2].tolist(), counts[counts > 2].tolist(), strict=True):
        pairs.append(_pair_around_edge(order[start : start + count], half_start, half_end, faces, positions))
    crowded = torch.cat([pairs[0][:0], *pairs[1:]])
    renewed = _renew_vertices(mesh.positions_world, faces, torch.cat(pairs))
    return cut_pinches(_split_doubled_edges(renewed, crowded))


def _split_doubled_edges(mesh: TriangleMesh, pairs: Int[Tensor, "p 2"]) -> TriangleMesh:
    """Give paired half-edges a vertex of their own where two pairs still run between the same two vertices."""
    corners = mesh.faces.reshape(-1)
    start = corners[pairs[:, 0]]
    end = mesh.faces[pairs[:, 0] // 3, (pairs[:, 0] + 1) % 3]
    key = (torch.minimum(start, end) << 32) | torch.maximum(start, end)
    _, group, counts = torch.unique(key, return_inverse=True, return_counts=True)
    faces, positions, normals = mesh.faces.tolist(), [mesh.positions_world], mesh.vertex_normals()
    touched: set[int] = set()
    for row in torch.nonzero(counts[group] > 1).squeeze(1).tolist():
        halves = pairs[row].tolist()
        if touched & {half // 3 for half in halves}:
            continue
        touched |= {half // 3 for half in halves}
        a, b = int(start[row]), int(end[row])
        length = (mesh.positions_world[a] - mesh.positions_world[b]).norm()
        middle = (mesh.positions_world[a] + mesh.positions_world[b]) / 2
        positions.append((middle - PINCH_GAP * length * (normals[a] + normals[b]) / 2)[None])
        new = mesh.positions_world.shape[0] + len(positions) - 2
        for half in halves:
            face, corner = divmod(half, 3)
            head, tail, apex = (faces[face][(corner + step) % 3] for step in range(3))
            faces[face] = [head, new, apex]
            faces.append([new, tail, apex])
    return TriangleMesh(torch.cat(positions), torch.tensor(faces, device=mesh.faces.device))


def _drop_folded_faces(faces: Int[Tensor, "f 3"]) -> Int[Tensor, "kept 3"]:
    """Remove degenerate faces and pairs of faces on the same three vertices."""
    a, b, c = faces.unbind(1)
    faces = faces[(a != b) & (b != c) & (c != a)]
    _, group, counts = torch.unique(faces.sort(1).values, dim=0, return_inverse=True, return_counts=True)
    first = torch.zeros_like(counts).scatter_reduce_(
        0, group, torch.arange(group.shape[0], device=faces.device), "amin", include_self=False
    )
    is_first = first[group] == torch.arange(group.shape[0], device=faces.device)
    return faces[(counts[group] % 2 == 1) & is_first]


def _is_vertex_manifold(faces: Int[Tensor, "f 3"], vertex_count: int) -> bool:
    """Whether the faces around every vertex form one fan (given that every edge has two faces)."""
    key_start, key_end = faces[:, [0, 1, 2]].reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    key = (torch.minimum(key_start, key_end) << 32) | torch.maximum(key_start, key_end)
    pairs = torch.argsort(key, stable=True).view(-1, 2)
    labels = _corner_fans(faces, pairs)
    used = torch.bincount(faces.reshape(-1), minlength=vertex_count) > 0
    return int(labels.max()) + 1 == int(used.sum())


def _corner_fans(faces: Int[Tensor, "f 3"], pairs: Int[Tensor, "p 2"]) -> Int[Tensor, " c"]:
    """Label face corners (3 f + corner) that paired half-edges connect around a vertex.

    Half-edge 3 f + i runs from corner i to corner i + 1 of face f; its partner runs the other way.
    """
    one, two = pairs[:, 0].cpu().numpy(), pairs[:, 1].cpu().numpy()

    def head(half: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return half // 3 * 3 + (half % 3 + 1) % 3

    rows = np.concatenate([one, head(one)])
    columns = np.concatenate([head(two), two])
    size = faces.shape[0] * 3
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    return torch.from_numpy(labels.astype(np.int64)).to(faces.device)


def _pair_around_edge(
    halves: Int[Tensor, " n"],
    half_start: Int[Tensor, " h"],
    half_end: Int[Tensor, " h"],
    faces: Int[Tensor, "f 3"],
    positions: Float[Tensor, "v 3"],
) -> Int[Tensor, "m 2"]:
    """Pair the half-edges of one crowded edge by angle, so that each pair bounds material."""
    low = torch.minimum(half_start[halves[0]], half_end[halves[0]])
    high = torch.maximum(half_start[halves[0]], half_end[halves[0]])
    axis = torch.nn.functional.normalize(positions[high] - positions[low], dim=0)
    opposite = faces[halves // 3, (halves % 3 + 2) % 3]
    arms = positions[opposite] - positions[low]
    arms = arms - (arms @ axis)[:, None] * axis
    right = torch.nn.functional.normalize(arms[0], dim=0)
    up = torch.linalg.cross(axis, right)
    angle = torch.atan2(arms @ up, arms @ right)
    by_angle = halves[torch.argsort(angle)]
    runs_up = (half_start[by_angle] == low).tolist()
    paired: list[list[int]] = []
    waiting: list[tuple[int, bool]] = []
    for half, upward in [*zip(by_angle.tolist(), runs_up, strict=True)] * 2:
        if any(half in pair for pair in paired):
            continue
        if waiting and waiting[-1][1] != upward and not waiting[-1][1]:
            paired.append([waiting.pop()[0], half])
        elif all(half != other for other, _ in waiting):
            waiting.append((half, upward))
    left = [half for half, _ in waiting]
    paired += [left[index : index + 2] for index in range(0, len(left) - 1, 2)]
    return torch.tensor(paired, dtype=torch.int64, device=faces.device).view(-1, 2)


def _renew_vertices(
    positions_world: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"], pairs: Int[Tensor, "p 2"]
) -> TriangleMesh:
    """One vertex per fan; fans that share a position step inwards, away from each other."""
    labels = _corner_fans(faces, pairs)
    fan_count = int(labels.max()) + 1
    source = torch.zeros(fan_count, dtype=torch.int64, device=faces.device)
    source[labels] = faces.reshape(-1)
    renewed = TriangleMesh(positions_world[source], labels.view(-1, 3))
    shared = torch.bincount(source, minlength=positions_world.shape[0])[source] > 1
    edge_m = (renewed.positions_world[renewed.faces[:, 0]] - renewed.positions_world[renewed.faces[:, 1]]).norm(dim=1)
    total = sum_rows_at(labels.view(-1, 3)[:, 0], edge_m, fan_count)
    count = torch.bincount(labels.view(-1, 3)[:, 0], minlength=fan_count).clamp_min(1)
    typical_m = torch.where(total > 0, total / count, edge_m.mean())
    step = -PINCH_GAP * typical_m[:, None] * renewed.vertex_normals()
    moved = torch.where(shared[:, None], renewed.positions_world + step, renewed.positions_world)
    return TriangleMesh(moved, renewed.faces)
