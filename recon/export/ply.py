"""Binary PLY with vertex colours, and per vertex whether a camera saw it."""

import numpy as np

from recon.export.attributes import unit_normals, vertex_colours, vertex_coverage
from recon.export.pictures import to_bytes
from recon.scene import TexturedMesh

_VERTEX = [
    ("x", "float", "<f4"),
    ("y", "float", "<f4"),
    ("z", "float", "<f4"),
    ("nx", "float", "<f4"),
    ("ny", "float", "<f4"),
    ("nz", "float", "<f4"),
    ("red", "uchar", "u1"),
    ("green", "uchar", "u1"),
    ("blue", "uchar", "u1"),
    ("observed", "uchar", "u1"),
]


def encode_ply(textured: TexturedMesh) -> bytes:
    """Encode in the world frame; ``observed`` holds a TEXEL_ value."""
    mesh = textured.mesh
    vertices = np.empty(mesh.positions_world.shape[0], [(name, code) for name, _, code in _VERTEX])
    columns = [
        *mesh.positions_world.float().T,
        *unit_normals(textured).T,
        *to_bytes(vertex_colours(textured)).T,
        vertex_coverage(textured),
    ]
    for (name, _, _), column in zip(_VERTEX, columns, strict=True):
        vertices[name] = column.numpy()
    faces = np.empty(mesh.faces.shape[0], [("count", "u1"), ("corners", "<i4", (3,))])
    faces["count"], faces["corners"] = 3, mesh.faces.numpy()
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment observed: 0 none, 1 seen by a camera, 2 filled in, 3 generated",
        f"element vertex {len(vertices)}",
        *(f"property {kind} {name}" for name, kind, _ in _VERTEX),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    return ("\n".join(header) + "\n").encode() + vertices.tobytes() + faces.tobytes()
