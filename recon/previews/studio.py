"""Where the cameras of the previews stand."""

import math

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


def side_cameras(positions_world: Float[Tensor, "v 3"], up_world: str, size_px: int) -> dict[str, CameraBatch]:
    """One camera per side, each as near as the object fits."""
    exact, device = _exact(positions_world), positions_world.device
    return {
        name: _framing(exact, _from_z_up(direction, up_world), _from_z_up(up, up_world), size_px, device)
        for name, (direction, up) in SIDES_Z_UP.items()
    }


def turntable_cameras(
    positions_world: Float[Tensor, "v 3"], up_world: str, size_px: int, count: int, elevation_deg: float = 18.0
) -> CameraBatch:
    """Cameras around the object, counter-clockwise from the front, all at one distance."""
    elevation_rad = math.radians(elevation_deg)
    exact, up = _exact(positions_world), _from_z_up((0.0, 0.0, 1.0), up_world)
    cameras = []
    for index in range(count):
        turn_rad = 2 * math.pi * index / count
        level = math.cos(elevation_rad)
        direction = (level * math.sin(turn_rad), -level * math.cos(turn_rad), math.sin(elevation_rad))
        away = _from_z_up(direction, up_world)
        cameras.append(_framing(exact, away, up, size_px, positions_world.device, is_centred=True))
    poses = torch.cat([camera.camera_from_world for camera in cameras])
    middle = (positions_world.amin(0) + positions_world.amax(0)) / 2
    distance = frames.transform_points(poses, middle[None])[:, 0, 2]
    poses[:, 2, 3] += distance.max() - distance
    focal_px, principal_px = cameras[0].focal_px.expand(count, 2), cameras[0].principal_px.expand(count, 2)
    return CameraBatch(poses, focal_px, principal_px, size_px, size_px)


def some_cameras(cameras: CameraBatch, first: int, count: int) -> CameraBatch:
    """A part of a batch."""
    some = slice(first, first + count)
    poses, focal_px, principal_px = cameras.camera_from_world[some], cameras.focal_px[some], cameras.principal_px[some]
    return CameraBatch(poses, focal_px, principal_px, cameras.height_px, cameras.width_px)


def _from_z_up(direction: tuple[float, float, float], up_world: str) -> Float[Tensor, " 3"]:
    """A direction of a z-up world in the capture's world."""
    z_up = torch.tensor(direction, dtype=torch.float64)
    return z_up if up_world == "z" else frames.Y_UP_FROM_Z_UP[:3, :3] @ z_up


def _exact(positions_world: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
    """Double precision on the CPU, where a few vertices and many small steps are quick."""
    return positions_world.detach().double().cpu()


def _framing(
    positions_world: Float[Tensor, "v 3"],
    direction_world: Float[Tensor, " 3"],
    up_world: Float[Tensor, " 3"],
    size_px: int,
    device: torch.device,
    is_centred: bool = False,
) -> CameraBatch:
    """A camera that sees all vertices from a direction.

    Args:
        positions_world: Everything that must be in the picture; from ``_exact``.
        direction_world: From the object to the camera.
        up_world: What is up in the picture.
        size_px: Side of the square picture.
        device: Where the camera goes.
        is_centred: Aim at the middle of the bounding box, not at the middle of the outline.
    """
    middle = (positions_world.amin(0) + positions_world.amax(0)) / 2
    camera_from_world = frames.invert_rigid(frames.look_at(middle + direction_world, middle, up_world))
    right, down, away = frames.transform_points(camera_from_world, positions_world).unbind(1)
    slope = math.tan(math.radians(FIELD_OF_VIEW_DEG) / 2)
    filled = slope * FILLED_SHARE
    # How far back the camera must go, so that |right| <= filled * (away + back) for every vertex.
    back = torch.stack([(side / filled - away).max() for side in (-right, right, -down, down)]).view(2, 2)
    if not is_centred:
        camera_from_world[:2, 3] += filled * (back[:, 0] - back[:, 1]) / 2
        back = back.mean(1)
    camera_from_world[2, 3] += back.max()
    focal_px = torch.full((1, 2), size_px / 2 / slope)
    return CameraBatch(
        camera_from_world[None].to(device, torch.float32),
        focal_px.to(device),
        torch.full((1, 2), size_px / 2, device=device),
        size_px,
        size_px,
    )
