"""Changing closed triangle meshes without breaking them.

Collapses, splits and flips are done many at a time: those whose neighbourhoods do not touch, chosen by
``independent``.  Every operation leaves a closed manifold a closed manifold.
"""

from recon.remesh.collapse import collapse_edges
from recon.remesh.decimate import decimate
from recon.remesh.edges import Edges, find_edges
from recon.remesh.flip import flip_edges
from recon.remesh.pieces import connected_labels, face_components, keep_solid_pieces, select_faces, signed_volumes_m3
from recon.remesh.pinches import cut_pinches, part_doubles
from recon.remesh.split import edge_of_sides, split_edges
from recon.remesh.unfolded import folded_faces, unfold

__all__ = [
    "Edges",
    "collapse_edges",
    "connected_labels",
    "cut_pinches",
    "decimate",
    "edge_of_sides",
    "face_components",
    "find_edges",
    "flip_edges",
    "folded_faces",
    "keep_solid_pieces",
    "part_doubles",
    "select_faces",
    "signed_volumes_m3",
    "split_edges",
    "unfold",
]
