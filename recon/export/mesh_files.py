"""One textured mesh to all of its files."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import torch

from recon import frames
from recon.arrays import Float, Tensor
from recon.errors import writing
from recon.export.gltf import encode_glb
from recon.export.obj import MATERIAL_LIBRARY, encode_obj
from recon.export.pictures import encode_coverage, encode_texture
from recon.export.ply import encode_ply
from recon.report import MeshFiles
from recon.scene import TexturedMesh, TriangleMesh

TEXTURE_FILE = "texture.png"


def write_mesh_files(
    textured: TexturedMesh, output_dir: Path, up_world: str, formats: Collection[str] = ("glb", "obj", "ply")
) -> MeshFiles:
    """Write a mesh in every format asked for, and always its texture and coverage pictures.

    mesh.obj and mesh.ply keep the world frame; mesh.glb is turned so that +y points up.

    Args:
        textured: On any device.
        output_dir: Created if absent.
        up_world: "y" or "z": the world axis that points up.
        formats: Any of "glb", "obj", "ply".

    Returns:
        The names written and the transform back from mesh.glb.

    Raises:
        DiskFull, OutputNotWritable: A file could not be written.
    """
    textured = _on_cpu(textured)
    texture_png = encode_texture(textured.texture_srgb)
    contents = {TEXTURE_FILE: texture_png, "coverage.png": encode_coverage(textured.coverage)}
    glb_from_world = frames.Y_UP_FROM_Z_UP if up_world == "z" else torch.eye(4, dtype=torch.float64)
    if "glb" in formats:
        contents["mesh.glb"] = encode_glb(_transformed(textured, glb_from_world), texture_png)
    if "obj" in formats:
        contents["mesh.obj"] = encode_obj(textured)
        contents["mesh.mtl"] = MATERIAL_LIBRARY.format(texture_file=TEXTURE_FILE).encode()
    if "ply" in formats:
        contents["mesh.ply"] = encode_ply(textured)
    with writing(str(output_dir)):
        output_dir.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        with writing(name):
            (output_dir / name).write_bytes(data)
    rows = (frames.invert_rigid(glb_from_world) + 0.0).tolist()  # + 0.0 turns -0.0 into 0.0
    return MeshFiles(files=tuple(contents), world_from_glb=tuple((a, b, c, d) for a, b, c, d in rows))


def _on_cpu(textured: TexturedMesh) -> TexturedMesh:
    mesh = TriangleMesh(textured.mesh.positions_world.detach().cpu(), textured.mesh.faces.cpu())
    return TexturedMesh(
        mesh,
        textured.uv.detach().cpu(),
        textured.face_uv.cpu(),
        textured.texture_srgb.detach().cpu(),
        textured.coverage.cpu(),
    )


def _transformed(textured: TexturedMesh, b_from_world: Float[Tensor, "4 4"]) -> TexturedMesh:
    positions = frames.transform_points(b_from_world.to(textured.mesh.positions_world), textured.mesh.positions_world)
    return replace(textured, mesh=TriangleMesh(positions, textured.mesh.faces))
