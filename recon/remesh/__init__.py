"""Changing closed triangle meshes without breaking them: decimation, cuts at pinches, choice of pieces."""

from recon.remesh.decimate import decimate
from recon.remesh.edges import Edges, find_edges
from recon.remesh.pieces import face_components, keep_solid_pieces, select_faces, signed_volumes_m3
from recon.remesh.pinches import cut_pinches, part_doubles

__all__ = [
    "Edges",
    "cut_pinches",
    "decimate",
    "face_components",
    "find_edges",
    "keep_solid_pieces",
    "part_doubles",
    "select_faces",
    "signed_volumes_m3",
]
