"""glTF 2.0 binary (GLB): one mesh, one PBR material, one embedded texture.

Khronos glTF 2.0 specification, sections 3.6 to 3.9 and 4 (GLB container).
"""

import json
import struct
from collections.abc import Sequence

import torch

from recon.arrays import Float, Int, Tensor
from recon.export.attributes import unit_normals
from recon.scene import TexturedMesh

FLOAT, UNSIGNED_INT = 5126, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 9729, 9987, 33071


def encode_glb(textured: TexturedMesh, texture_png: bytes) -> bytes:
    """Encode a mesh whose +y points up.

    Vertices are repeated only where a seam gives them several texture coordinates; the copies have equal bits.
    """
    vertex_of, uv_of, faces = _split_at_seams(textured)
    positions = textured.mesh.positions_world[vertex_of].float()
    uv = textured.uv[uv_of].float()
    blocks = [
        _floats(positions),
        _floats(unit_normals(textured)[vertex_of]),
        _floats(torch.stack([uv[:, 0], 1 - uv[:, 1]], 1)),  # glTF's v points down
        faces.to(torch.int32).numpy().astype("<u4").tobytes(),
        texture_png,
    ]
    targets = (ARRAY_BUFFER, ARRAY_BUFFER, ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, None)
    views, binary = _buffer_views(blocks, targets)
    vertex_count = positions.shape[0]
    bounds = {"min": positions.amin(0).tolist(), "max": positions.amax(0).tolist()}
    document = {
        "asset": {"version": "2.0", "generator": "Meshdrop"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "object"}],
        "meshes": [
            {
                "name": "object",
                "primitives": [
                    {"attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2}, "indices": 3, "material": 0}
                ],
            }
        ],
        "accessors": [
            {"bufferView": 0, "componentType": FLOAT, "count": vertex_count, "type": "VEC3", **bounds},
            {"bufferView": 1, "componentType": FLOAT, "count": vertex_count, "type": "VEC3"},
            {"bufferView": 2, "componentType": FLOAT, "count": vertex_count, "type": "VEC2"},
            {"bufferView": 3, "componentType": UNSIGNED_INT, "count": faces.numel(), "type": "SCALAR"},
        ],
        "materials": [
            {
                "name": "object",
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": 0},
                    "metallicFactor": 0.0,
                    "roughnessFactor": 1.0,
                },
            }
        ],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [
            {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE}
        ],
        "images": [{"bufferView": 4, "mimeType": "image/png", "name": "texture"}],
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }
    return _container(json.dumps(document, separators=(",", ":")).encode(), binary)


def _split_at_seams(textured: TexturedMesh) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, "f 3"]]:
    """Distinct (position, texture coordinate) pairs, and the faces in terms of them."""
    uv_count = max(1, textured.uv.shape[0])
    keys, faces = torch.unique(textured.mesh.faces * uv_count + textured.face_uv, return_inverse=True)
    return keys // uv_count, keys % uv_count, faces


def _floats(values: Float[Tensor, "n c"]) -> bytes:
    return values.contiguous().numpy().astype("<f4").tobytes()


def _buffer_views(blocks: Sequence[bytes], targets: Sequence[int | None]) -> tuple[list[dict[str, int]], bytes]:
    """Lay blocks out one after another, each starting at a multiple of four bytes."""
    views: list[dict[str, int]] = []
    binary = bytearray()
    for block, target in zip(blocks, targets, strict=True):
        view = {"buffer": 0, "byteOffset": len(binary), "byteLength": len(block)}
        views.append(view if target is None else {**view, "target": target})
        binary += block + bytes(-len(block) % 4)
    return views, bytes(binary)


def _container(document: bytes, binary: bytes) -> bytes:
    document += b" " * (-len(document) % 4)
    total_bytes = 12 + 8 + len(document) + 8 + len(binary)
    header = struct.pack("<4sII", b"glTF", 2, total_bytes)
    document_header = struct.pack("<I4s", len(document), b"JSON")
    binary_header = struct.pack("<I4s", len(binary), b"BIN\0")
    return b"".join([header, document_header, document, binary_header, binary])
