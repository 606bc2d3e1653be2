"""The only home of rotations, projections and axis swaps.

Conventions (docs/conventions.md): transforms are named ``b_from_a`` and act on column vectors,
``x_b = b_from_a @ x_a``.  The camera frame is OpenCV's (+x right, +y down, +z forward).  Pixel centres
lie at half-integers: the first pixel's centre is (0.5, 0.5).  Clip space has y pointing down the image so
that row 0 of a rasterised picture is its top row.
"""

import torch

from recon.arrays import Float, Tensor

CAMERA_GL_FROM_CAMERA = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
"""OpenGL / Blender / nerfstudio camera axes (+y up, -z forward) from ours; its own inverse."""

Y_UP_FROM_Z_UP = torch.tensor(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float64
)
"""glTF world (+y up) from a z-up world."""


def transform_points(
    b_from_a: Float[Tensor, "... 4 4"], points_a: Float[Tensor, "... n 3"]
) -> Float[Tensor, "... n 3"]:
    """Apply a rigid or affine transform to points; differentiable in both."""
    return points_a @ b_from_a[..., :3, :3].transpose(-1, -2) + b_from_a[..., None, :3, 3]


def transform_directions(
    b_from_a: Float[Tensor, "... 4 4"], directions_a: Float[Tensor, "... n 3"]
) -> Float[Tensor, "... n 3"]:
    """Rotate directions (no translation, lengths as the transform leaves them)."""
    return directions_a @ b_from_a[..., :3, :3].transpose(-1, -2)


def invert_rigid(b_from_a: Float[Tensor, "... 4 4"]) -> Float[Tensor, "... 4 4"]:
    """Invert a rotation-plus-translation without a general matrix inverse."""
    rotation_transposed = b_from_a[..., :3, :3].transpose(-1, -2)
    a_from_b = torch.zeros_like(b_from_a)
    a_from_b[..., :3, :3] = rotation_transposed
    a_from_b[..., :3, 3] = -(rotation_transposed @ b_from_a[..., :3, 3:]).squeeze(-1)
    a_from_b[..., 3, 3] = 1.0
    return a_from_b


def cross_matrix(vectors: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3 3"]:
    """The skew-symmetric matrix with ``cross_matrix(a) @ b == a x b``."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vectors.shape[:-1], 3, 3)


def rotation_from_vector(rotation_vectors_rad: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3 3"]:
    """Rodrigues' formula; differentiable everywhere, also at zero."""
    angle_squared = (rotation_vectors_rad**2).sum(-1)[..., None, None]
    is_small = angle_squared < 1e-8
    safe_squared = torch.where(is_small, torch.ones_like(angle_squared), angle_squared)
    angle = safe_squared.sqrt()
    sine_over_angle = torch.where(is_small, 1 - angle_squared / 6, torch.sin(angle) / angle)
    versine = torch.where(is_small, 0.5 - angle_squared / 24, (1 - torch.cos(angle)) / safe_squared)
    cross = cross_matrix(rotation_vectors_rad)
    identity = torch.eye(3, dtype=cross.dtype, device=cross.device).expand_as(cross)
    return identity + sine_over_angle * cross + versine * (cross @ cross)


def rigid_from_twist(twists: Float[Tensor, "... 6"]) -> Float[Tensor, "... 4 4"]:
    """A small rigid motion from (rotation vector in radians, translation in metres)."""
    motion = torch.zeros(*twists.shape[:-1], 4, 4, dtype=twists.dtype, device=twists.device)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=twists.dtype, device=twists.device)
    upper = torch.cat([rotation_from_vector(twists[..., :3]), twists[..., 3:, None]], -1)
    return torch.cat([upper, bottom.expand_as(motion[..., :1, :])], -2)


def look_at(
    camera_position_world: Float[Tensor, " 3"], target_world: Float[Tensor, " 3"], up_world: Float[Tensor, " 3"]
) -> Float[Tensor, "4 4"]:
    """``world_from_camera`` of a camera that looks at a target with the image's top towards ``up_world``."""
    forward = torch.nn.functional.normalize(target_world - camera_position_world, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up_world), dim=0)
    down = torch.linalg.cross(forward, right)
    world_from_camera = torch.eye(4, dtype=camera_position_world.dtype)
    world_from_camera[:3, :3] = torch.stack([right, down, forward], 1)
    world_from_camera[:3, 3] = camera_position_world
    return world_from_camera


def pixel_centres_px(
    height_px: int, width_px: int, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Float[Tensor, "h w 2"]:
    """(x, y) of every pixel centre; the first is (0.5, 0.5)."""
    ys = torch.arange(height_px, device=device, dtype=dtype) + 0.5
    xs = torch.arange(width_px, device=device, dtype=dtype) + 0.5
    grid_y, grid_x = torch.meshgrid(ys, xs, indexing="ij")
    return torch.stack([grid_x, grid_y], -1)
