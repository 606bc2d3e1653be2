"""Wavefront OBJ: positions, texture coordinates and normals indexed apart, so seams do not cut the surface."""

import torch

from recon.arrays import Tensor
from recon.export.attributes import unit_normals
from recon.scene import TexturedMesh

MATERIAL_LIBRARY = """newmtl object
Ka 1 1 1
Kd 1 1 1
Ks 0 0 0
illum 1
map_Kd {texture_file}
"""


def encode_obj(textured: TexturedMesh) -> bytes:
    """Encode in the world frame; nine significant digits bring single precision back bit for bit."""
    faces = textured.mesh.faces
    corners = torch.stack([faces, textured.face_uv, faces], 2) + 1  # v/vt/vn, counted from 1
    return "".join(
        [
            "mtllib mesh.mtl\n",
            "o object\n",
            _lines("v %.9g %.9g %.9g\n", textured.mesh.positions_world),
            _lines("vt %.9g %.9g\n", textured.uv),
            _lines("vn %.6g %.6g %.6g\n", unit_normals(textured)),
            "usemtl object\n",
            _lines("f %d/%d/%d %d/%d/%d %d/%d/%d\n", corners.flatten(1)),
        ]
    ).encode()


def _lines(line_format: str, rows: Tensor) -> str:
    """All rows through one format operation, which is many times faster than a loop."""
    return (line_format * rows.shape[0]) % tuple(rows.flatten().tolist())
