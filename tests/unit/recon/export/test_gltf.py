"""The container obeys the glTF 2.0 specification byte by byte."""

import json
import struct

import numpy as np

import meshes
from recon.export.gltf import encode_glb


def parse(data: bytes) -> tuple[dict[str, list[dict[str, int]]], bytes]:
    """Split a GLB into its JSON and its binary chunk, checking the container on the way."""
    magic, version, total_bytes = struct.unpack_from("<4sII", data)
    assert (magic, version, total_bytes) == (b"glTF", 2, len(data))
    json_bytes, json_kind = struct.unpack_from("<I4s", data, 12)
    assert json_kind == b"JSON"
    assert json_bytes % 4 == 0
    binary_bytes, binary_kind = struct.unpack_from("<I4s", data, 20 + json_bytes)
    assert binary_kind == b"BIN\0"
    binary = data[28 + json_bytes :]
    assert len(binary) == binary_bytes
    assert binary_bytes % 4 == 0
    return json.loads(data[20 : 20 + json_bytes]), binary


def test_container_and_buffer_views_are_aligned() -> None:
    """Chunks and buffer views start at multiples of four and lie inside the buffer, whatever the picture's length."""
    for picture in (b"", b"1", b"12", b"123", b"1234"):
        document, binary = parse(encode_glb(meshes.textured_box(), picture))
        assert document["buffers"][0]["byteLength"] == len(binary)
        for view in document["bufferViews"]:
            assert view["byteOffset"] % 4 == 0
            assert view["byteOffset"] + view["byteLength"] <= len(binary)
        image = document["bufferViews"][document["images"][0]["bufferView"]]
        assert binary[image["byteOffset"] :][: image["byteLength"]] == picture


def test_accessors_match_their_data() -> None:
    """Position bounds are the exact bounds of what is stored, and every index names a vertex."""
    document, binary = parse(encode_glb(meshes.textured_box(0.1), b"png"))
    positions, _, _, indices = document["accessors"]
    views = document["bufferViews"]
    stored = np.frombuffer(binary, "<f4", positions["count"] * 3, views[0]["byteOffset"]).reshape(-1, 3)
    assert positions["min"] == stored.min(0).tolist()
    assert positions["max"] == stored.max(0).tolist()
    stored_indices = np.frombuffer(binary, "<u4", indices["count"], views[3]["byteOffset"])
    assert indices["count"] == 36
    assert set(stored_indices.tolist()) == set(range(positions["count"]))


def test_normals_are_smooth_across_seams() -> None:
    """All copies of a vertex carry the mesh's own unit normal there."""
    box = meshes.textured_box()
    document, binary = parse(encode_glb(box, b"png"))
    views = document["bufferViews"]
    positions, normals = (np.frombuffer(binary, "<f4", 24 * 3, views[i]["byteOffset"]).reshape(-1, 3) for i in (0, 1))
    own_positions, own_normals = box.mesh.positions_world.numpy(), box.mesh.vertex_normals().numpy()
    vertex_of = (positions[:, None] == own_positions).all(2).argmax(1)
    np.testing.assert_allclose(normals, own_normals[vertex_of], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


def test_vertices_are_repeated_only_at_seams() -> None:
    """A box with one chart per side needs 24 vertices for its 36 corners."""
    document, _ = parse(encode_glb(meshes.textured_box(), b"png"))
    assert document["accessors"][0]["count"] == 24
