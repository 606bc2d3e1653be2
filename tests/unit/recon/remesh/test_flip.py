"""Flipping edges towards rounder faces."""

import torch
import trimesh

import geometry_scenes
import texture_scenes
from recon.remesh import flip_edges
from recon.remesh.independent import triangle_shape
from recon.scene import TriangleMesh


def sheared_box() -> TriangleMesh:
    """A box with finely divided sides whose inner vertices slid along them."""
    box = trimesh.creation.box()
    for _ in range(3):
        box = box.subdivide()
    mesh = texture_scenes.from_trimesh(box)
    inner = (mesh.positions_world.abs() < 0.45).sum(1) == 2
    shift = 0.05 * torch.sin(40 * mesh.positions_world) * (mesh.positions_world.abs() < 0.49)
    return TriangleMesh(torch.where(inner[:, None], mesh.positions_world + shift, mesh.positions_world), mesh.faces)


def roundness(mesh: TriangleMesh) -> torch.Tensor:
    return triangle_shape(mesh.positions_world[mesh.faces])[1]


def test_faces_get_rounder_and_the_surface_stays() -> None:
    """On flat sides the flattest faces gain; volume, vertices and edges of the box stay."""
    mesh = sheared_box()
    flipped = flip_edges(mesh)
    geometry_scenes.assert_closed_manifold(flipped)
    assert torch.equal(flipped.positions_world, mesh.positions_world)
    assert roundness(flipped).mean() > roundness(mesh).mean()
    assert roundness(flipped).min() >= roundness(mesh).min()
    assert abs(geometry_scenes.as_trimesh(flipped).volume - 1) < 1e-6


def test_creases_are_not_cut_off() -> None:
    """A box of twelve faces has nothing to flip: every flat edge is as good as its other diagonal."""
    box = texture_scenes.from_trimesh(trimesh.creation.box())
    assert torch.equal(flip_edges(box).faces, box.faces)
