"""Small meshes whose every count is known."""

import math

import pytest
import torch

import meshes
from recon.quality.topology import check_mesh
from recon.scene import TriangleMesh


def torus(rings: int = 12, sides: int = 8) -> TriangleMesh:
    """A closed torus of radii 2 and 1."""
    positions = []
    for ring in range(rings):
        for side in range(sides):
            u, v = 2 * math.pi * ring / rings, 2 * math.pi * side / sides
            radius = 2 + math.cos(v)
            positions.append([radius * math.cos(u), radius * math.sin(u), math.sin(v)])
    faces = []
    for ring in range(rings):
        for side in range(sides):
            a, b = ring * sides + side, (ring + 1) % rings * sides + side
            c, d = (ring + 1) % rings * sides + (side + 1) % sides, ring * sides + (side + 1) % sides
            faces += [[a, b, c], [a, c, d]]
    return TriangleMesh(torch.tensor(positions), torch.tensor(faces))


def tetrahedron(apex: list[float], base_shift: float = 0.0) -> tuple[list[list[float]], list[list[int]]]:
    """Outward faces over a base in the plane z = 1 + base_shift (or below an apex)."""
    base = [[0.0, 0.0, 1 + base_shift], [1.0, 0.0, 1 + base_shift], [0.0, 1.0, 1 + base_shift]]
    return [apex, *base], [[1, 2, 3], [0, 2, 1], [0, 3, 2], [0, 1, 3]]


def test_box_is_a_clean_closed_surface() -> None:
    """A box of side 1: 8 vertices, 12 faces, volume 1, no fault at all."""
    checks = check_mesh(meshes.box_mesh(), 0)
    assert checks.is_watertight
    assert (checks.vertex_count, checks.face_count, checks.component_count, checks.genus) == (8, 12, 1, 0)
    assert checks.volume == pytest.approx(1)
    assert checks.diagonal == pytest.approx(math.sqrt(3))
    faults = (
        checks.boundary_edges,
        checks.boundary_loops,
        checks.nonmanifold_edges,
        checks.nonmanifold_vertices,
        checks.inconsistent_edges,
        checks.degenerate_faces,
        checks.flipped_faces,
    )
    assert faults == (0,) * 7


def test_torus_has_one_handle() -> None:
    """Genus 1, and nearly the volume 2 pi^2 R r^2 of the smooth torus."""
    checks = check_mesh(torus(48, 32), 0)
    assert (checks.is_watertight, checks.genus, checks.component_count) == (True, 1, 1)
    assert checks.volume == pytest.approx(2 * math.pi**2 * 2, rel=0.02)


def test_copies_of_a_position_are_merged() -> None:
    """A box stored as 12 loose triangles is still closed."""
    box = meshes.box_mesh()
    loose = TriangleMesh(box.positions_world[box.faces].flatten(0, 1), torch.arange(36).view(12, 3))
    checks = check_mesh(loose, 0)
    assert (checks.is_watertight, checks.vertex_count) == (True, 8)


def test_missing_faces_are_holes() -> None:
    """Faces taken out of two opposite sides leave two loops of three edges each."""
    box = meshes.box_mesh()
    keep = [face for face in range(12) if face not in (0, 2)]
    checks = check_mesh(TriangleMesh(box.positions_world, box.faces[keep]), 0)
    assert (checks.is_watertight, checks.boundary_edges, checks.boundary_loops) == (False, 6, 2)
    assert checks.genus is None


def test_separate_pieces_are_counted() -> None:
    """Two boxes apart are two components whose genus adds up to 0."""
    one, two = meshes.box_mesh(), meshes.box_mesh(centre=(5.0, 0.0, 0.0))
    both = TriangleMesh(torch.cat([one.positions_world, two.positions_world]), torch.cat([one.faces, two.faces + 8]))
    checks = check_mesh(both, 0)
    assert (checks.is_watertight, checks.component_count, checks.genus) == (True, 2, 0)


def test_surface_touching_itself_in_a_point_is_found() -> None:
    r"""Two tetrahedra share their apex.

        \---/
         \ /
          .      one vertex, two fans
         / \
        /---\
    """
    upper, faces = tetrahedron([0.0, 0.0, 0.0])
    lower = [[x, y, -z] for x, y, z in upper[1:]]
    mirrored = [[4 if corner == 1 else corner + 3 if corner else 0 for corner in reversed(face)] for face in faces]
    checks = check_mesh(TriangleMesh(torch.tensor(upper + lower), torch.tensor(faces + mirrored)), 0)
    assert (checks.is_watertight, checks.nonmanifold_vertices, checks.nonmanifold_edges) == (True, 1, 0)
    assert checks.genus is None


def test_edge_with_three_faces_is_found() -> None:
    """Three triangles like pages of a book share one edge."""
    positions = torch.tensor([[0.0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, -1, 0]])
    checks = check_mesh(TriangleMesh(positions, torch.tensor([[0, 1, 2], [0, 1, 3], [0, 1, 4]])), 0)
    assert (checks.nonmanifold_edges, checks.boundary_edges) == (1, 6)
    assert not checks.is_watertight


def test_face_turned_over_is_inconsistent() -> None:
    """One reversed face disagrees with its three neighbours, so the box is not watertight."""
    box = meshes.box_mesh()
    faces = box.faces.clone()
    faces[5] = faces[5].flip(0)
    checks = check_mesh(TriangleMesh(box.positions_world, faces), 0)
    assert (checks.inconsistent_edges, checks.is_watertight, checks.boundary_edges) == (3, False, 0)


def test_inside_out_mesh_has_negative_volume() -> None:
    """Reversing every face keeps the box closed and turns its volume negative."""
    box = meshes.box_mesh(centre=(9.0, 9.0, 9.0))
    checks = check_mesh(TriangleMesh(box.positions_world, box.faces.flip(1)), 0)
    assert checks.is_watertight
    assert checks.volume == pytest.approx(-1, rel=1e-5)


def test_faces_without_area_are_counted() -> None:
    """A needle and a face with two equal corners are degenerate; the latter closes nothing and opens nothing."""
    box = meshes.box_mesh()
    needle = torch.tensor([[3.0, 0, 0], [4.0, 0, 0], [3.5, 1e-8, 0]])
    positions = torch.cat([box.positions_world, needle])
    checks = check_mesh(TriangleMesh(positions, torch.cat([box.faces, torch.tensor([[0, 0, 1], [8, 9, 10]])])), 0)
    assert checks.degenerate_faces == 2
    assert (checks.face_count, checks.boundary_edges) == (13, 3)
