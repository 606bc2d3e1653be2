"""Textured meshes with known geometry, and cameras that see them pixel for pixel."""

from dataclasses import replace

import torch

from recon.frames import look_at
from recon.scene import (
    TEXEL_EMPTY,
    TEXEL_FILLED,
    TEXEL_OBSERVED,
    Camera,
    Capture,
    DepthMap,
    Intrinsics,
    TexturedMesh,
    TriangleMesh,
    View,
)

CELL_PX = 16
MARGIN_PX = 2

SIDES = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
"""Outward normals of the box's sides, in the order of its atlas cells."""

SIDE_COLOURS = torch.tensor(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [128, 128, 128]], dtype=torch.float32
)
"""8-bit sRGB per side."""


def box_mesh(half_m: float = 0.5, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> TriangleMesh:
    """A closed box of 8 vertices and 12 faces; faces 2i and 2i + 1 are side i."""
    corners = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=torch.float32)
    faces = []
    for normal in SIDES:
        quad = _side_corners(normal)
        rows = [int((corners == corner).all(1).nonzero()) for corner in quad]
        faces += [[rows[0], rows[1], rows[2]], [rows[0], rows[2], rows[3]]]
    return TriangleMesh(corners * half_m + torch.tensor(centre), torch.tensor(faces))


def textured_box(half_m: float = 0.5, observed_sides: tuple[int, ...] = (0, 1, 2, 3, 4, 5)) -> TexturedMesh:
    """A box with one colour and one chart per side; sides not observed are marked as filled.

    Side i fills the atlas cell in column i % 3, row i // 3 from the top, with a margin of its own colour that
    the coverage calls empty.
    """
    texture = torch.zeros(2 * CELL_PX, 3 * CELL_PX, 3)
    coverage = torch.full((2 * CELL_PX, 3 * CELL_PX), TEXEL_EMPTY, dtype=torch.uint8)
    uv, face_uv = [], []
    for side in range(6):
        row, column = side // 3 * CELL_PX, side % 3 * CELL_PX
        texture[row : row + CELL_PX, column : column + CELL_PX] = SIDE_COLOURS[side] / 255
        low, high = MARGIN_PX, CELL_PX - MARGIN_PX
        kind = TEXEL_OBSERVED if side in observed_sides else TEXEL_FILLED
        coverage[row + low : row + high, column + low : column + high] = kind
        left, right = (column + low) / (3 * CELL_PX), (column + high) / (3 * CELL_PX)
        bottom, top = 1 - (row + high) / (2 * CELL_PX), 1 - (row + low) / (2 * CELL_PX)
        first = 4 * side
        uv += [[left, bottom], [right, bottom], [right, top], [left, top]]
        face_uv += [[first, first + 1, first + 2], [first, first + 2, first + 3]]
    return TexturedMesh(box_mesh(half_m), torch.tensor(uv), torch.tensor(face_uv), texture, coverage)


def enlarged(textured: TexturedMesh, times: int) -> TexturedMesh:
    """The same mesh with every texel repeated in both directions."""
    texture = textured.texture_srgb.repeat_interleave(times, 0).repeat_interleave(times, 1)
    coverage = textured.coverage.repeat_interleave(times, 0).repeat_interleave(times, 1)
    return replace(textured, texture_srgb=texture, coverage=coverage)


def front_camera(normal: tuple[int, int, int], half_m: float = 0.5, size_px: int = 64) -> Camera:
    """Looks straight at one side of the box, which covers exactly the middle half of the picture's width."""
    direction = torch.tensor(normal, dtype=torch.float64)
    up = torch.tensor([0.0, 0.0, 1.0] if normal[2] == 0 else [0.0, 1.0, 0.0], dtype=torch.float64)
    world_from_camera = look_at(direction * 3 * half_m, torch.zeros(3, dtype=torch.float64), up)
    middle_px = size_px / 2
    return Camera(Intrinsics(size_px, size_px, middle_px, middle_px, middle_px, middle_px), world_from_camera)


def box_view(side: int, half_m: float = 0.5, size_px: int = 64) -> View:
    """The exact photograph and depth of one side, seen from ``front_camera``."""
    middle = slice(size_px // 4, 3 * size_px // 4)
    alpha = torch.zeros(size_px, size_px)
    alpha[middle, middle] = 1
    depth_z = torch.where(alpha > 0, 2 * half_m, 0.0)
    image = alpha[..., None] * SIDE_COLOURS[side] / 255
    camera = front_camera(SIDES[side], half_m, size_px)
    return View(f"side_{side}", image, alpha, "alpha", DepthMap(depth_z, alpha > 0), camera)


def box_capture(half_m: float = 0.5, is_metric: bool = True) -> Capture:
    """All six sides of ``textured_box``."""
    views = tuple(box_view(side, half_m) for side in range(6))
    return Capture(views, layout="transforms_json", is_metric=is_metric, cameras_source="given")


def _side_corners(normal: tuple[int, int, int]) -> list[torch.Tensor]:
    """Counter-clockwise seen from outside."""
    outward = torch.tensor(normal, dtype=torch.float32)
    across = torch.roll(outward.abs(), 1)
    up = torch.linalg.cross(outward, across)
    return [outward - across - up, outward + across - up, outward + across + up, outward - across + up]
