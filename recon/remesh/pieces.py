"""Connected pieces of a mesh, and which of them to keep."""

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from recon.arrays import Float, Int, Tensor
from recon.scene import TriangleMesh
from recon.sums import sum_rows_at


def connected_labels(pairs: Int[Tensor, "e 2"], count: int) -> Int[Tensor, " n"]:
    """Number the connected components of a graph 0, 1, ... (minimum hooking with pointer jumping)."""
    root = torch.arange(count, device=pairs.device)
    while True:
        low, high = torch.aminmax(root[pairs], dim=1)
        hooked = root.scatter_reduce(0, high, low, "amin")
        hooked = hooked.scatter_reduce(0, pairs[:, 0], low, "amin").scatter_reduce(0, pairs[:, 1], low, "amin")
        hooked = hooked[hooked]
        if torch.equal(hooked, root):
            label: Tensor = torch.unique(root, return_inverse=True)[1]
            return label
        root = hooked


def face_components(faces: Int[Tensor, "f 3"], vertex_count: int) -> Int[Tensor, " f"]:
    """Label the pieces of a mesh that share no vertex."""
    if faces.device.type != "cpu":
        return connected_labels(faces[:, [0, 1, 1, 2]].view(-1, 2), vertex_count)[faces[:, 0]]
    corners = faces.numpy()  # one core follows links sooner than it repeats whole rounds
    rows = np.concatenate([corners[:, 0], corners[:, 1]])
    columns = np.concatenate([corners[:, 1], corners[:, 2]])
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(vertex_count, vertex_count))
    _, labels = connected_components(graph, directed=False)
    return torch.from_numpy(labels[corners[:, 0]].astype(np.int64))


def select_faces(mesh: TriangleMesh, keep: Tensor) -> TriangleMesh:
    """The chosen faces and the vertices that they use."""
    faces = mesh.faces[keep]
    used, compact = torch.unique(faces, return_inverse=True)
    return TriangleMesh(mesh.positions_world[used], compact)


def signed_volumes_m3(mesh: TriangleMesh, labels: Int[Tensor, " f"]) -> Float[Tensor, " c"]:
    """Volume enclosed by each piece; negative for a bubble inside another piece."""
    centred = mesh.positions_world - mesh.positions_world.mean(0)
    a, b, c = centred[mesh.faces].unbind(1)
    volume = (a * torch.linalg.cross(b, c)).sum(1) / 6
    return sum_rows_at(labels, volume, int(labels.max()) + 1)


def keep_solid_pieces(mesh: TriangleMesh, min_volume_share: float = 2e-3) -> TriangleMesh:
    """Drop specks and enclosed bubbles; pieces above a share of the largest one's volume stay."""
    if mesh.faces.shape[0] == 0:
        return mesh
    labels = face_components(mesh.faces, mesh.positions_world.shape[0])
    volumes = signed_volumes_m3(mesh, labels)
    return select_faces(mesh, (volumes >= min_volume_share * volumes.max())[labels])
