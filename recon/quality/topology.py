"""What a program that opens the files finds: holes, seams, pieces, faces without area or seen from behind."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from recon.scene import TriangleMesh
from recon.scores import MeshChecks

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]

NEEDLE_RATIO = 1e-6
"""A face lower than this share of its longest edge has no usable normal in single precision."""


def check_mesh(mesh: TriangleMesh, flipped_face_count: int) -> MeshChecks:
    """Merge equal positions, as importers do, and count.

    Args:
        mesh: Any triangles.
        flipped_face_count: Faces that cameras see from behind, counted elsewhere.
    """
    positions = mesh.positions_world.detach().cpu().double().numpy()
    positions, merged = np.unique(positions, axis=0, return_inverse=True)
    faces = merged.reshape(-1)[mesh.faces.cpu().numpy()]
    triangles = positions[faces]
    is_collapsed = (faces == np.roll(faces, 1, axis=1)).any(1)
    faces = faces[~is_collapsed]
    edges = _edges(faces)
    vertex_count = len(np.unique(faces))
    component_count = _component_count(edges.ends)
    nonmanifold_vertices = _nonmanifold_vertex_count(faces, edges)
    is_inconsistent = (edges.face_count == 2) & (edges.forward_count != 1)
    is_watertight = len(faces) > 0 and bool((edges.face_count == 2).all()) and not bool(is_inconsistent.any())
    euler_characteristic = vertex_count - len(edges.ends) + len(faces)
    return MeshChecks(
        vertex_count=vertex_count,
        face_count=len(faces),
        component_count=component_count,
        is_watertight=is_watertight,
        boundary_edges=int((edges.face_count == 1).sum()),
        boundary_loops=_component_count(edges.ends[edges.face_count == 1]),
        nonmanifold_edges=int((edges.face_count > 2).sum()),
        nonmanifold_vertices=nonmanifold_vertices,
        inconsistent_edges=int(is_inconsistent.sum()),
        degenerate_faces=_degenerate_count(triangles),
        flipped_faces=flipped_face_count,
        genus=component_count - euler_characteristic // 2 if is_watertight and not nonmanifold_vertices else None,
        volume=_signed_volume(triangles),
        diagonal=mesh.diagonal_m(),
    )


@dataclass(frozen=True)
class _Edges:
    """Distinct undirected edges.

    Attributes:
        ends: (e, 2), the lower vertex first.
        of_corner: (f, 3), the edge from each corner to the next one of its face.
        face_count: Faces at each edge.
        forward_count: How many of them run from the lower to the higher vertex.
    """

    ends: IntArray
    of_corner: IntArray
    face_count: IntArray
    forward_count: IntArray


def _edges(faces: IntArray) -> _Edges:
    start, end = faces, np.roll(faces, -1, axis=1)
    stride = int(faces.max(initial=0)) + 1
    keys, of_corner, face_count = np.unique(
        np.minimum(start, end) * stride + np.maximum(start, end), return_inverse=True, return_counts=True
    )
    of_corner = of_corner.reshape(faces.shape)
    forward_count = np.bincount(of_corner.ravel(), weights=(start < end).ravel(), minlength=len(keys)).astype(np.int64)
    return _Edges(np.stack([keys // stride, keys % stride], 1), of_corner, face_count, forward_count)


def _component_count(links: IntArray) -> int:
    """Connected components among the nodes that links (n, 2) name."""
    nodes, renamed = np.unique(links, return_inverse=True)
    return _label(renamed.reshape(links.shape), len(nodes))[0] if len(nodes) else 0


def _label(links: IntArray, node_count: int) -> tuple[int, IntArray]:
    ones = np.ones(len(links), dtype=np.int8)
    graph = coo_matrix((ones, (links[:, 0], links[:, 1])), (node_count, node_count))
    count, labels = connected_components(graph, directed=False)
    return int(count), labels.astype(np.int64)


def _nonmanifold_vertex_count(faces: IntArray, edges: _Edges) -> int:
    """Vertices whose faces form several fans.

    Every corner is linked to the ends, at its vertex, of the two edges it lies between; each connected
    piece is then one fan::

         \\ | /
          \\|/      one vertex, two fans: joined by no edge
          /|\\
         / | \\
    """
    corner = np.arange(faces.size).reshape(faces.shape)
    is_higher = (faces > np.roll(faces, -1, axis=1)).astype(np.int64)
    start_of_edge = edges.of_corner * 2 + is_higher
    end_of_edge = edges.of_corner * 2 + 1 - is_higher
    before = np.roll(end_of_edge, 1, axis=1)  # the previous corner's edge ends at this corner
    links = np.concatenate(
        [np.stack([corner, start_of_edge + faces.size], 2), np.stack([corner, before + faces.size], 2)]
    )
    _, labels = _label(links.reshape(-1, 2), faces.size + 2 * len(edges.ends))
    _, first_corner = np.unique(labels[: faces.size], return_index=True)
    return int((np.bincount(faces.ravel()[first_corner]) > 1).sum()) if faces.size else 0


def _degenerate_count(triangles: FloatArray) -> int:
    sides = triangles - np.roll(triangles, 1, axis=1)
    longest_squared = (sides**2).sum(2).max(1, initial=0)
    twice_area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    return int((twice_area <= NEEDLE_RATIO * longest_squared).sum())


def _signed_volume(triangles: FloatArray) -> float:
    """Divergence theorem about the mesh's own middle; exact for closed surfaces."""
    if not len(triangles):
        return 0.0
    a, b, c = np.moveaxis(triangles - triangles.mean((0, 1)), 1, 0)
    return float((a * np.cross(b, c)).sum() / 6)
