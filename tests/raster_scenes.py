"""Meshes and cameras that rasterisers are tested on."""

import math

import torch

from recon import frames
from recon.scene import CameraBatch, TriangleMesh


def uv_sphere(ring_count: int, segment_count: int, radius_m: float = 1.0) -> TriangleMesh:
    """A closed sphere about the origin, poles on the z axis; faces point outwards."""
    heights = torch.arange(1, ring_count, dtype=torch.float64) * math.pi / ring_count
    turns = torch.arange(segment_count, dtype=torch.float64) * 2 * math.pi / segment_count
    height, turn = torch.meshgrid(heights, turns, indexing="ij")
    ring = torch.stack([height.sin() * turn.cos(), height.sin() * turn.sin(), height.cos()], -1).reshape(-1, 3)
    poles = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]], dtype=torch.float64)
    row, column = torch.meshgrid(torch.arange(ring_count - 2), torch.arange(segment_count), indexing="ij")
    a, b = row * segment_count + column, row * segment_count + (column + 1) % segment_count
    c, d = a + segment_count, b + segment_count
    quads = torch.cat([torch.stack([a, c, b], -1).reshape(-1, 3), torch.stack([b, c, d], -1).reshape(-1, 3)])
    this, following = torch.arange(segment_count), (torch.arange(segment_count) + 1) % segment_count
    north, last = ring.shape[0], (ring_count - 2) * segment_count
    caps = [
        torch.stack([torch.full_like(this, north), this, following], 1),
        torch.stack([torch.full_like(this, north + 1), last + following, last + this], 1),
    ]
    return TriangleMesh(radius_m * torch.cat([ring, poles]), torch.cat([quads, *caps]))


def disc(segment_count: int, radius_m: float = 1.0) -> TriangleMesh:
    """A flat fan in the plane z = 0."""
    turns = torch.arange(segment_count, dtype=torch.float64) * 2 * math.pi / segment_count
    rim = torch.stack([turns.cos(), turns.sin(), torch.zeros_like(turns)], 1)
    this = torch.arange(segment_count)
    fan = torch.stack([torch.full_like(this, segment_count), this, (this + 1) % segment_count], 1)
    return TriangleMesh(radius_m * torch.cat([rim, torch.zeros(1, 3, dtype=torch.float64)]), fan)


def square(half_m: float = 1.0, z_m: float = 0.0) -> TriangleMesh:
    """Two triangles parallel to the plane z = 0."""
    corners = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=torch.float64) * half_m
    corners[:, 2] = z_m
    return TriangleMesh(corners, torch.tensor([[0, 1, 2], [0, 2, 3]]))


def joined(one: TriangleMesh, other: TriangleMesh) -> TriangleMesh:
    """Both meshes; the faces of ``other`` come last."""
    shifted = other.faces + one.positions_world.shape[0]
    return TriangleMesh(torch.cat([one.positions_world, other.positions_world]), torch.cat([one.faces, shifted]))


def camera_below(distance_m: float, size_px: int, focal_px: float | None = None) -> CameraBatch:
    """Looks along +z at the origin from z = -distance; x to the right, y down, float64."""
    camera_from_world = torch.eye(4, dtype=torch.float64)[None].clone()
    camera_from_world[0, 2, 3] = distance_m
    focal = torch.full((1, 2), focal_px or size_px, dtype=torch.float64)
    return CameraBatch(camera_from_world, focal, torch.full((1, 2), size_px / 2, dtype=torch.float64), size_px, size_px)


def cameras_around(
    count: int, height_px: int, width_px: int, distance_m: float = 4.0, dtype: torch.dtype = torch.float64
) -> CameraBatch:
    """Look at the origin from all sides; unequal focal lengths, principal points well off the centre."""
    poses = []
    for index in range(count):
        turn, height = 2.4 * index, math.sin(1.7 * index)
        direction = torch.tensor([math.cos(turn), math.sin(turn), 0.8 * height], dtype=torch.float64)
        position = distance_m * direction / direction.norm()
        poses.append(frames.look_at(position, torch.zeros(3, dtype=torch.float64), torch.tensor([0.0, 0, 1]).double()))
    focal_px = torch.tensor([[1.1 * width_px, 1.3 * width_px]], dtype=dtype).expand(count, 2)
    principal_px = torch.tensor([[0.43 * width_px, 0.58 * height_px]], dtype=dtype).expand(count, 2)
    return CameraBatch(frames.invert_rigid(torch.stack(poses)).to(dtype), focal_px, principal_px, height_px, width_px)
