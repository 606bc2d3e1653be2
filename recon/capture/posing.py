"""Stated cameras to posed pinhole cameras at the photograph's size."""

import math
from collections.abc import Sequence

import torch

from recon.arrays import Float, Tensor
from recon.capture.manifest import StatedCamera
from recon.errors import InvalidCameras
from recon.frames import CAMERA_GL_FROM_CAMERA, invert_rigid
from recon.scene import Camera, Intrinsics

ASPECT_TOLERANCE = 0.015
"""Relative difference of aspect ratios that rounding to whole pixels explains."""

_MIN_AXIS_SPREAD = 0.003
"""Mean squared sine between the optical axes: about 3 degrees."""


def pose_camera(stated: StatedCamera, width_px: int, height_px: int, name: str, manifest_path: str) -> Camera:
    """A camera at the photograph's resolution, in our axes.

    Raises:
        InvalidCameras: The stated size has another aspect ratio than the photograph.
    """
    stated_width_px, stated_height_px = stated.size_px or (width_px, height_px)
    if not have_same_aspect((stated_width_px, stated_height_px), (width_px, height_px)):
        raise InvalidCameras(
            f"{manifest_path} states {stated_width_px} x {stated_height_px} for {name}, "
            f"which is {width_px} x {height_px}.",
            file=manifest_path,
            details={"view": name, "key": "w"},
        )
    if stated.focal_px is not None:
        focal_px = stated.focal_px
    else:
        assert stated.field_of_view_x_rad is not None, "readers state one of the two"
        focal_x_px = stated_width_px / 2 / math.tan(stated.field_of_view_x_rad / 2)
        focal_px = (focal_x_px, focal_x_px)
    principal_px = stated.principal_px or (stated_width_px / 2, stated_height_px / 2)
    intrinsics = Intrinsics(stated_width_px, stated_height_px, *focal_px, *principal_px).resized(width_px, height_px)
    return Camera(intrinsics, world_from_camera(stated))


def world_from_camera(stated: StatedCamera) -> Float[Tensor, "4 4"]:
    """The stated transform in our camera axes, freed from the rounding of its digits."""
    matrix = torch.tensor(stated.transform, dtype=torch.float64)
    # The nearest rotation in the Frobenius norm (Higham 1986, polar decomposition).
    left, _, right = torch.linalg.svd(matrix[:3, :3])
    matrix[:3, :3] = left @ right
    if stated.is_camera_from_world:
        matrix = invert_rigid(matrix)
    return matrix @ CAMERA_GL_FROM_CAMERA if stated.axes == "opengl" else matrix


def common_target_world(cameras: Sequence[Camera]) -> Float[Tensor, " 3"] | None:
    """The point nearest to all optical axes, in the least-squares sense.

    Returns:
        None when the axes are so nearly parallel that they fix no point, or when a camera has it behind itself.
    """
    normal = torch.zeros(3, 3, dtype=torch.float64)
    moment = torch.zeros(3, dtype=torch.float64)
    for camera in cameras:
        forward = camera.world_from_camera[:3, 2]
        across = torch.eye(3, dtype=torch.float64) - torch.outer(forward, forward)
        normal += across
        moment += across @ camera.position_world
    # The smallest eigenvalue is the sum of squared sines between the axes and their mean direction.
    if not cameras or float(torch.linalg.eigvalsh(normal)[0]) < _MIN_AXIS_SPREAD * len(cameras):
        return None
    target_world: Tensor = torch.linalg.solve(normal, moment)
    distances_m = _distances_along_axes_m(cameras, target_world)
    return target_world if min(distances_m) > 0.2 * float(torch.tensor(distances_m).median()) > 0 else None


def median_target_distance_m(cameras: Sequence[Camera]) -> float | None:
    """How far the cameras stand from what they look at; None when they do not look at one thing in front of them."""
    target_world = common_target_world(cameras)
    if target_world is None:
        return None
    return float(torch.tensor(_distances_along_axes_m(cameras, target_world)).median())


def _distances_along_axes_m(cameras: Sequence[Camera], target_world: Float[Tensor, " 3"]) -> list[float]:
    return [float(camera.world_from_camera[:3, 2] @ (target_world - camera.position_world)) for camera in cameras]


def have_same_aspect(size_px: tuple[int, int], other_px: tuple[int, int]) -> bool:
    """Whether two (width, height) describe the same field of view at two resolutions."""
    ratio = size_px[0] * other_px[1] / (size_px[1] * other_px[0])
    return abs(ratio - 1) <= ASPECT_TOLERANCE
