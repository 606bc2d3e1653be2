"""Where the cameras of the previews stand."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from recon import frames
from recon.arrays import Float, Tensor
from recon.scene import CameraBatch

SIDES_Z_UP: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "front": ((0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    "back": ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "left": ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "right": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "top": ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0)),
    "bottom": ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0)),
}
"""From where each side is seen, and what is up in its picture; as for the canonical cube of cameras."""

FIELD_OF_VIEW_DEG = 26.0
FILLED_SHARE = 0.88
"""Of the picture's longer side that the object spans."""

CHUNK_VERTICES = 1 << 15


def side_cameras(positions_world: Float[Tensor, "v 3"], up_world: str, size_px: int) -> dict[str, CameraBatch]:
    """One camera per side, each as near as the object fits."""
    views = [tuple(_from_z_up(axis, up_world) for axis in side) for side in SIDES_Z_UP.values()]
    cameras = _framing(positions_world, [view[0] for view in views], [view[1] for view in views], size_px)
    return {name: some_cameras(cameras, index, 1) for index, name in enumerate(SIDES_Z_UP)}


def turntable_cameras(
    positions_world: Float[Tensor, "v 3"], up_world: str, size_px: int, count: int, elevation_deg: float = 18.0
) -> CameraBatch:
    """Cameras around the object, counter-clockwise from the front, all at one distance."""
    elevation_rad = math.radians(elevation_deg)
    level, up = math.cos(elevation_rad), _from_z_up((0.0, 0.0, 1.0), up_world)
    directions = []
    for index in range(count):
        turn_rad = 2 * math.pi * index / count
        direction = (level * math.sin(turn_rad), -level * math.cos(turn_rad), math.sin(elevation_rad))
        directions.append(_from_z_up(direction, up_world))
    cameras = _framing(positions_world, directions, [up] * count, size_px, is_centred=True)
    poses = cameras.camera_from_world.clone()
    middle = (positions_world.amin(0) + positions_world.amax(0)) / 2
    distance = frames.transform_points(poses, middle[None])[:, 0, 2]
    poses[:, 2, 3] += distance.max() - distance
    return replace(cameras, camera_from_world=poses)


def some_cameras(cameras: CameraBatch, first: int, count: int) -> CameraBatch:
    """A part of a batch."""
    some = slice(first, first + count)
    poses, focal_px, principal_px = cameras.camera_from_world[some], cameras.focal_px[some], cameras.principal_px[some]
    return CameraBatch(poses, focal_px, principal_px, cameras.height_px, cameras.width_px)


def _from_z_up(direction: tuple[float, float, float], up_world: str) -> Float[Tensor, " 3"]:
    """A direction of a z-up world in the capture's world."""
    z_up = torch.tensor(direction, dtype=torch.float64)
    return z_up if up_world == "z" else frames.Y_UP_FROM_Z_UP[:3, :3] @ z_up


def _framing(
    positions_world: Float[Tensor, "v 3"],
    directions_world: Sequence[Float[Tensor, " 3"]],
    ups_world: Sequence[Float[Tensor, " 3"]],
    size_px: int,
    is_centred: bool = False,
) -> CameraBatch:
    """Cameras that see all vertices from given directions.

    Args:
        positions_world: Everything that must be in the pictures.
        directions_world: From the object to each camera.
        ups_world: What is up in each picture.
        size_px: Side of the square pictures.
        is_centred: Aim at the middle of the bounding box, not at the middle of the outline.
    """
    # Double precision on the CPU, where a few vertices and many small steps are quick.
    exact, count = positions_world.detach().double().cpu(), len(directions_world)
    middle = (exact.amin(0) + exact.amax(0)) / 2
    looks = [frames.look_at(middle + away, middle, up) for away, up in zip(directions_world, ups_world, strict=True)]
    camera_from_world = frames.invert_rigid(torch.stack(looks))
    right, down, ahead = camera_from_world[:, :3, :3].unbind(1)
    slope = math.tan(math.radians(FIELD_OF_VIEW_DEG) / 2)
    filled = slope * FILLED_SHARE
    # How far back each camera must go, so that |right| <= filled * (ahead + back) for every vertex; now it is 1 away.
    sides = torch.stack([-right, right, -down, down], 1) / filled - ahead[:, None]
    reach = [((part - middle) @ sides.view(-1, 3).T).amax(0) for part in exact.split(CHUNK_VERTICES)]
    back = torch.stack(reach).amax(0).view(count, 2, 2) - 1
    if not is_centred:
        camera_from_world[:, :2, 3] += filled * (back[..., 0] - back[..., 1]) / 2
        back = back.mean(2, keepdim=True)
    camera_from_world[:, 2, 3] += back.flatten(1).amax(1)
    device = positions_world.device
    return CameraBatch(
        camera_from_world.to(device, torch.float32),
        torch.full((count, 2), size_px / 2 / slope, device=device),
        torch.full((count, 2), size_px / 2, device=device),
        size_px,
        size_px,
    )
