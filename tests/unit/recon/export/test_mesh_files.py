"""What is written can be read back by an independent library, without loss."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

import meshes
from recon.errors import DiskFull, OutputNotWritable
from recon.export import write_mesh_files
from recon.scene import TexturedMesh, TriangleMesh


@pytest.fixture
def odd_box() -> TexturedMesh:
    """A box whose corners use every bit of single precision."""
    box = meshes.textured_box()
    jitter = torch.rand(8, 3, generator=torch.Generator().manual_seed(3)) * 0.1
    mesh = TriangleMesh(box.mesh.positions_world + jitter + torch.tensor([7.1, -3.3, 0.01]), box.mesh.faces)
    return TexturedMesh(mesh, box.uv, box.face_uv, box.texture_srgb, box.coverage)


def load(path: Path) -> trimesh.Trimesh:
    return trimesh.load(path, process=False, force="mesh")


def face_centre_colours(mesh: trimesh.Trimesh) -> np.ndarray:
    uv = np.asarray(mesh.visual.uv)[mesh.faces].mean(1)
    material = mesh.visual.material
    picture = material.baseColorTexture if hasattr(material, "baseColorTexture") else material.image
    pixels = np.asarray(picture.convert("RGB"))
    return pixels[((1 - uv[:, 1]) * pixels.shape[0]).astype(int), (uv[:, 0] * pixels.shape[1]).astype(int)]


def test_every_file_asked_for_is_written_and_named(tmp_path: Path) -> None:
    """The report names exactly the files in the folder."""
    written = write_mesh_files(meshes.textured_box(), tmp_path / "new" / "folder", "z")
    assert set(written.files) == {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert set(written.files) == {"mesh.glb", "mesh.obj", "mesh.mtl", "mesh.ply", "texture.png", "coverage.png"}


def test_only_the_formats_asked_for_are_written(tmp_path: Path) -> None:
    """Pictures are always there; a mesh format only when it is asked for."""
    written = write_mesh_files(meshes.textured_box(), tmp_path, "z", ("ply",))
    assert set(written.files) == {"mesh.ply", "texture.png", "coverage.png"}


def test_same_mesh_gives_the_same_bytes(tmp_path: Path, odd_box: TexturedMesh) -> None:
    """Writing twice gives identical files."""
    names = write_mesh_files(odd_box, tmp_path / "one", "z").files
    write_mesh_files(odd_box, tmp_path / "two", "z")
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)


@pytest.mark.parametrize("up_world", ["y", "z"])
def test_world_from_glb_takes_the_glb_back_to_the_world(tmp_path: Path, odd_box: TexturedMesh, up_world: str) -> None:
    """mesh.glb through world_from_glb is the world mesh, bit for bit."""
    written = write_mesh_files(odd_box, tmp_path, up_world)
    glb = load(tmp_path / "mesh.glb")
    world_from_glb = np.array(written.world_from_glb)
    positions_world = glb.vertices @ world_from_glb[:3, :3].T + world_from_glb[:3, 3]
    expected = odd_box.mesh.positions_world[odd_box.mesh.faces].numpy()
    np.testing.assert_array_equal(positions_world[glb.faces].astype(np.float32), expected)


def test_glb_points_up_along_y(tmp_path: Path) -> None:
    """The top of a z-up world is the top (+y) of mesh.glb, and its front stays at the front."""
    box = meshes.textured_box()
    written = write_mesh_files(box, tmp_path, "z")
    glb_from_world = np.linalg.inv(np.array(written.world_from_glb))
    np.testing.assert_array_equal(glb_from_world[:3, :3] @ [0, 0, 1], [0, 1, 0])
    np.testing.assert_array_equal(glb_from_world[:3, :3] @ [1, 0, 0], [1, 0, 0])
    glb = load(tmp_path / "mesh.glb")
    is_top = glb.triangles_center[:, 1] > 0.49
    np.testing.assert_array_equal(face_centre_colours(glb)[is_top], [[0, 255, 255]] * 2)


@pytest.mark.parametrize("name", ["mesh.glb", "mesh.obj"])
def test_texture_lies_on_the_right_faces(tmp_path: Path, name: str) -> None:
    """Every side of the box comes back with its own colour."""
    write_mesh_files(meshes.textured_box(), tmp_path, "y")
    expected = np.repeat(meshes.SIDE_COLOURS.numpy(), 2, 0)
    np.testing.assert_array_equal(face_centre_colours(load(tmp_path / name)), expected)


@pytest.mark.parametrize("name", ["mesh.glb", "mesh.obj", "mesh.ply"])
def test_mesh_stays_watertight_when_equal_positions_are_merged(
    tmp_path: Path, odd_box: TexturedMesh, name: str
) -> None:
    """Seams in the texture never open the surface."""
    write_mesh_files(odd_box, tmp_path, "z")
    mesh = load(tmp_path / name)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert len(mesh.vertices) == 8
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0


@pytest.mark.parametrize("name", ["mesh.obj", "mesh.ply"])
def test_obj_and_ply_keep_the_world_frame_exactly(tmp_path: Path, odd_box: TexturedMesh, name: str) -> None:
    """Corner positions come back bit for bit in the capture's own frame."""
    write_mesh_files(odd_box, tmp_path, "z")
    mesh = load(tmp_path / name)
    expected = odd_box.mesh.positions_world[odd_box.mesh.faces].numpy()
    np.testing.assert_array_equal(mesh.vertices[mesh.faces].astype(np.float32), expected)


def test_obj_shares_positions_across_seams(tmp_path: Path) -> None:
    """The file lists 8 positions, 24 texture coordinates and 8 normals for a box with a chart per side."""
    write_mesh_files(meshes.textured_box(), tmp_path, "z")
    lines = (tmp_path / "mesh.obj").read_text().splitlines()
    counts = {key: sum(line.startswith(key + " ") for line in lines) for key in ("v", "vt", "vn", "f")}
    assert counts == {"v": 8, "vt": 24, "vn": 8, "f": 12}


def test_obj_material_names_the_texture(tmp_path: Path) -> None:
    """The material library points at texture.png beside it and adds no gloss."""
    write_mesh_files(meshes.textured_box(), tmp_path, "z")
    assert "mtllib mesh.mtl\n" in (tmp_path / "mesh.obj").read_text()
    library = (tmp_path / "mesh.mtl").read_text()
    assert "map_Kd texture.png\n" in library
    assert "Ks 0 0 0\n" in library


def test_glb_material_is_matte(tmp_path: Path) -> None:
    """One material, roughness 1, metallic 0."""
    write_mesh_files(meshes.textured_box(), tmp_path, "z")
    glb = load(tmp_path / "mesh.glb")
    assert glb.visual.material.roughnessFactor == 1
    assert glb.visual.material.metallicFactor == 0


def test_ply_says_which_vertices_were_seen(tmp_path: Path) -> None:
    """A vertex of an observed side is 1; one that only filled sides share is 2."""
    write_mesh_files(meshes.textured_box(observed_sides=(4,)), tmp_path, "z")
    mesh = load(tmp_path / "mesh.ply")
    observed = mesh.metadata["_ply_raw"]["vertex"]["data"]["observed"].ravel()
    np.testing.assert_array_equal(observed, np.where(mesh.vertices[:, 2] > 0, 1, 2))


def test_ply_colours_are_means_in_linear_light(tmp_path: Path) -> None:
    """A corner of red, blue and cyan sides gets the mean light of the three, as 8-bit sRGB."""
    write_mesh_files(meshes.textured_box(), tmp_path, "z")
    mesh = load(tmp_path / "mesh.ply")
    corner = int(np.argmax(mesh.vertices.sum(1)))
    # each side of the box meets this corner with one or two faces; decode sRGB, weigh, encode
    weights = np.array([(np.asarray(mesh.faces[2 * side : 2 * side + 2]) == corner).sum() for side in (0, 2, 4)])
    light = weights @ (meshes.SIDE_COLOURS.numpy()[[0, 2, 4]] / 255) / weights.sum()
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    np.testing.assert_allclose(mesh.visual.vertex_colors[corner, :3], expected, atol=1)


def test_pictures_hold_the_atlas_exactly(tmp_path: Path) -> None:
    """texture.png is the texture rounded to 8 bits; coverage.png's palette indices are the coverage."""
    box = meshes.textured_box(observed_sides=(0, 1))
    write_mesh_files(box, tmp_path, "z", ())
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "texture.png")), (box.texture_srgb * 255).round().byte().numpy()
    )
    coverage = Image.open(tmp_path / "coverage.png")
    np.testing.assert_array_equal(np.asarray(coverage), box.coverage.numpy())
    colours = {tuple(colour) for colour in np.asarray(coverage.convert("RGB")).reshape(-1, 3).tolist()}
    assert colours == {(0, 0, 0), (0, 158, 115), (230, 159, 0)}


def test_vertex_without_area_still_has_a_unit_normal(tmp_path: Path) -> None:
    """A stray vertex gets +z, since a zero normal is not valid glTF."""
    box = meshes.textured_box()
    mesh = TriangleMesh(torch.cat([box.mesh.positions_world, torch.zeros(1, 3)]), box.mesh.faces)
    write_mesh_files(TexturedMesh(mesh, box.uv, box.face_uv, box.texture_srgb, box.coverage), tmp_path, "y", ("obj",))
    normals = [line for line in (tmp_path / "mesh.obj").read_text().splitlines() if line.startswith("vn ")]
    assert normals[-1] == "vn 0 0 1"


def test_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    """A write that the kernel refuses for want of space raises DiskFull, which is worth a retry."""
    (tmp_path / "mesh.ply").symlink_to("/dev/full")
    with pytest.raises(DiskFull) as caught:
        write_mesh_files(meshes.textured_box(), tmp_path, "z")
    assert caught.value.file == "mesh.ply"
    assert caught.value.transient


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_forbidden_folder_is_reported_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A write that permissions or a read-only mount refuse raises OutputNotWritable."""

    def refuse(self: Path, data: bytes) -> int:
        raise OSError(number, "refused", str(self))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OutputNotWritable, match=r"coverage\.png|texture\.png"):
        write_mesh_files(meshes.textured_box(), tmp_path, "z")
