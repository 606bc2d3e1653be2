"""Simplification to a face count: a serial library, after many collapses at a time where there is a GPU."""

import fast_simplification
import numpy as np
import torch

from recon.remesh.collapse import collapse_edges
from recon.remesh.pinches import cut_pinches, part_doubles
from recon.scene import TriangleMesh

AGGRESSION = 3.0
"""fast_simplification's schedule: slower and truer than its default of 7."""

EDGE_LENGTHS = (0.1, 0.03, 0.01)
"""The library's thresholds are fixed numbers, so the unit decides what it removes first: units in which an edge is this
long, tried in turn until the target is reached.  With edges of 0.1 a rounded cube of 1.2 million faces keeps its
surface to 1.6 um on average where metres (edges of 0.001) lost 11 um."""

CLOSE_ENOUGH, FEW = 1.02, 4
"""Cutting pinches adds a few faces, which are not worth another pass."""

PARALLEL_LEAST = 40_000
"""Below so many faces the library goes on: parallel collapses of half a million faces to ten thousand take hundreds of
small rounds, and the textured result lost 2 dB."""

LEAST_PROGRESS = 0.9
"""A pass that leaves more than this share of the faces will not be bettered by a longer one."""


def decimate(mesh: TriangleMesh, target_face_count: int) -> TriangleMesh:
    """Simplify by quadric errors (Garland and Heckbert 1997) to about a face count.

    Args:
        mesh: A closed manifold.
        target_face_count: Nothing is done at or below this.

    Returns:
        A closed manifold without two vertices at one position; with more faces than asked for where no collapse is
        left that turns none over.
    """
    if mesh.faces.shape[0] <= target_face_count:
        return mesh
    if mesh.faces.device.type != "cpu":
        mesh = collapse_edges(mesh, max(target_face_count, PARALLEL_LEAST))
    mesh = _simplify_serially(mesh, target_face_count)
    if mesh.faces.shape[0] > CLOSE_ENOUGH * target_face_count + FEW:
        mesh = collapse_edges(mesh, target_face_count)
    return part_doubles(mesh)


def _simplify_serially(mesh: TriangleMesh, target_face_count: int) -> TriangleMesh:
    """With fast_simplification, on one core; it leaves more faces than asked for where it gets stuck."""
    for edge_length in EDGE_LENGTHS:
        face_count = mesh.faces.shape[0]
        if face_count <= CLOSE_ENOUGH * target_face_count + FEW:
            break
        mesh = _simplify(mesh, target_face_count, edge_length)
        if mesh.faces.shape[0] > LEAST_PROGRESS * face_count:
            break
    return mesh


def _simplify(mesh: TriangleMesh, target_face_count: int, edge_length: float) -> TriangleMesh:
    """One pass of fast_simplification, in units that make the mean edge ``edge_length`` long."""
    a, b = mesh.positions_world[mesh.faces[:, :2]].unbind(1)
    unit_m = float((a - b).norm(dim=1).mean()) / edge_length
    centre = mesh.positions_world.mean(0)
    positions = ((mesh.positions_world - centre) / unit_m).cpu().numpy().astype(np.float32)
    corners = mesh.faces.cpu().numpy().astype(np.int32)
    points, kept = fast_simplification.simplify(positions, corners, target_count=target_face_count, agg=AGGRESSION)
    device = mesh.faces.device
    scaled = torch.from_numpy(np.asarray(points, np.float32)).to(device) * unit_m + centre
    return cut_pinches(TriangleMesh(scaled, torch.from_numpy(np.asarray(kept, np.int64)).to(device)))
