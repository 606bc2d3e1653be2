"""Changing closed meshes without breaking them."""

import pytest
import torch
import trimesh

import geometry_scenes
import meshes
import texture_scenes
from recon.remesh import (
    cut_pinches,
    decimate,
    face_components,
    find_edges,
    keep_solid_pieces,
    part_doubles,
    select_faces,
    signed_volumes_m3,
)
from recon.scene import TriangleMesh


def joined(*parts: TriangleMesh) -> TriangleMesh:
    """Several meshes as one; equal positions become one vertex."""
    positions = torch.cat([part.positions_world for part in parts])
    first = torch.tensor([0, *(len(part.positions_world) for part in parts[:-1])]).cumsum(0)
    faces = torch.cat([part.faces + start for part, start in zip(parts, first.tolist(), strict=True)])
    unique, index = torch.unique(positions, dim=0, return_inverse=True)
    return TriangleMesh(unique, index[faces])


def box_at(x: float, y: float, z: float, half_m: float = 0.5) -> TriangleMesh:
    return meshes.box_mesh(half_m, (x, y, z))


def ring() -> TriangleMesh:
    return texture_scenes.from_trimesh(trimesh.creation.torus(0.08, 0.03, major_sections=96, minor_sections=48))


def test_edges_of_a_box() -> None:
    """12 faces have 18 edges; each names its two faces and, in them, the vertices that are not on it."""
    faces = meshes.box_mesh().faces
    edges = find_edges(faces)
    assert edges.vertices.shape == (18, 2)
    assert (edges.vertices[:, 0] < edges.vertices[:, 1]).all()
    for vertices, pair, opposite in zip(edges.vertices, edges.faces, edges.opposite, strict=True):
        for side in range(2):
            assert set(faces[pair[side]].tolist()) == {*vertices.tolist(), int(opposite[side])}


@pytest.mark.parametrize("faces", [meshes.box_mesh().faces[1:], torch.cat([meshes.box_mesh().faces] * 2)])
def test_an_open_or_doubled_mesh_has_no_edge_list(faces: torch.Tensor) -> None:
    """An edge with one face or with four is refused."""
    with pytest.raises(ValueError, match="not a closed manifold"):
        find_edges(faces)


def test_pieces_and_their_volumes() -> None:
    """Two separate boxes, the second inside out: two labels, volumes of 1 and -0.064."""
    inverted = TriangleMesh(box_at(3, 0, 0, 0.2).positions_world, meshes.box_mesh().faces.flip(1))
    mesh = joined(box_at(0, 0, 0), inverted)
    labels = face_components(mesh.faces, len(mesh.positions_world))
    assert labels.tolist() == [0] * 12 + [1] * 12
    assert torch.allclose(signed_volumes_m3(mesh, labels), torch.tensor([1, -0.064]), atol=1e-5)


def test_specks_and_bubbles_go_and_solid_pieces_stay() -> None:
    """Of two large pieces, a speck and a bubble, the large ones are kept, without unused vertices."""
    speck = box_at(0, 5, 0, 0.03)
    bubble = TriangleMesh(box_at(0, 0, 0, 0.2).positions_world, meshes.box_mesh().faces.flip(1))
    kept = keep_solid_pieces(joined(box_at(0, 0, 0), speck, bubble, box_at(3, 0, 0, 0.4)))
    assert kept.positions_world.shape == (16, 3)
    assert geometry_scenes.as_trimesh(kept).volume == pytest.approx(1 + 0.512, rel=1e-5)
    empty = TriangleMesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))
    assert keep_solid_pieces(empty).faces.shape == (0, 3)


def test_chosen_faces_keep_their_corners() -> None:
    """Selected faces are the same triangles in space, and no other vertex is left."""
    box = meshes.box_mesh()
    keep = torch.arange(12) % 5 == 0
    part = select_faces(box, keep)
    assert torch.equal(part.positions_world[part.faces], box.positions_world[box.faces[keep]])
    assert len(part.positions_world) == len(box.faces[keep].unique())


@pytest.mark.parametrize("target", [4000, 1000, 300])
def test_decimation_keeps_a_closed_torus_and_its_volume(target: int) -> None:
    """A torus of 9216 faces brought down keeps its hole and, to 1 % (300 faces: 4 %), its volume."""
    mesh = ring()
    simplified = decimate(mesh, target)
    geometry_scenes.assert_closed_manifold(simplified)
    solid, original = geometry_scenes.as_trimesh(simplified), geometry_scenes.as_trimesh(mesh)
    assert solid.euler_number == 0
    assert solid.volume == pytest.approx(original.volume, rel=0.04 if target == 300 else 0.01)
    assert 0.9 * target <= len(simplified.faces) <= target + 4


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_decimation_does_not_depend_on_the_unit(scale: float) -> None:
    """A torus of centimetres, metres or hectometres keeps its surface to the same share of its size."""
    mesh = ring()
    simplified = decimate(TriangleMesh(mesh.positions_world * scale, mesh.faces), 2000)
    ring_m = torch.hypot(simplified.positions_world[:, 0], simplified.positions_world[:, 1]) / scale - 0.08
    tube_m = torch.hypot(ring_m, simplified.positions_world[:, 2] / scale)
    assert (tube_m - 0.03).abs().mean() < 1e-4
    assert (tube_m - 0.03).abs().max() < 1e-3


def test_a_small_mesh_is_not_decimated() -> None:
    """At or below the target the very same mesh comes back."""
    mesh = meshes.box_mesh()
    assert decimate(mesh, 12) is mesh


@pytest.mark.parametrize(
    ("second", "shared"), [((1, 1, 0), "edge"), ((1, -1, 0), "edge"), ((0, 1, 1), "edge"), ((1, 1, 1), "vertex")]
)
def test_boxes_glued_together_are_cut_apart(second: tuple[int, int, int], shared: str) -> None:
    """Two unit boxes that share an edge or a corner only become two closed pieces that no longer touch there.

    +---+
    |   |
    +---#---+      # belongs to both
        |   |
        +---+
    """
    glued = joined(box_at(0, 0, 0), box_at(*second))
    assert len(glued.positions_world) == (14 if shared == "edge" else 15)
    cut = cut_pinches(glued)
    geometry_scenes.assert_closed_manifold(cut)
    labels = face_components(cut.faces, len(cut.positions_world))
    volumes = signed_volumes_m3(cut, labels)
    assert len(volumes) == 2
    assert torch.allclose(volumes, torch.ones(2), atol=0.15)
    assert len(cut.positions_world.unique(dim=0)) == len(cut.positions_world)


def test_vertices_at_one_place_part() -> None:
    """Two boxes that touch with a whole side each keep their own vertices there, a hundredth of an edge apart."""
    one, other = box_at(0, 0, 0), box_at(1, 0, 0)
    touching = TriangleMesh(
        torch.cat([one.positions_world, other.positions_world]), torch.cat([one.faces, other.faces + 8])
    )
    assert len(touching.positions_world.unique(dim=0)) == 12
    parted = part_doubles(touching)
    assert torch.equal(parted.faces, touching.faces)
    assert len(parted.positions_world.unique(dim=0)) == 16
    assert (parted.positions_world - touching.positions_world).norm(dim=1).max() < 0.2


def test_folded_and_flat_faces_vanish() -> None:
    """A pair of faces on the same three vertices and a face with a repeated corner leave nothing behind."""
    box = meshes.box_mesh()
    folded = torch.tensor([[0, 3, 5], [0, 5, 3], [2, 2, 4]])
    cleaned = cut_pinches(TriangleMesh(box.positions_world, torch.cat([box.faces, folded])))
    assert torch.equal(cleaned.faces, box.faces)
    assert torch.equal(cleaned.positions_world, box.positions_world)


def test_a_sound_mesh_stays_as_it_is() -> None:
    """Nothing is cut or moved where nothing is glued."""
    mesh = ring()
    same = cut_pinches(mesh)
    assert torch.equal(same.positions_world, mesh.positions_world)
    assert torch.equal(same.faces, mesh.faces)
