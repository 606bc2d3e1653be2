"""Rigs of cameras around an object in file order: turntables and the fixed views of multi-view diffusion models."""

import math
from dataclasses import dataclass

import torch

from recon import frames
from recon.arrays import Float, Tensor

_ELEVATIONS_DEG = (-20.0, -10.0, 0.0, 10.0, 20.0, 30.0, 45.0)
ZERO123PLUS_LABEL = "Zero123++ rig"
ZERO123PLUS_ELEVATIONS_DEG = ((20.0, -10.0), (30.0, -20.0))
"""Alternating elevations of Zero123++ 1.2 and 1.0 (Shi et al. 2023); azimuths are 60 degrees apart."""


_MIN_ORBIT_VIEWS = 6
_SAME_ELEVATION_DEG = 3.0


@dataclass(frozen=True)
class Orbit:
    """Cameras at distance 1 that look at the origin from evenly spaced azimuths; +y is up.

    Attributes:
        elevations_deg: Of the even and the odd views.
        direction: +1 if the camera moves to its own right (counter-clockwise seen from above).
    """

    elevations_deg: tuple[float, float]
    direction: int

    @property
    def label(self) -> str:
        even, odd = self.elevations_deg
        rig = ZERO123PLUS_LABEL if self.elevations_deg in ZERO123PLUS_ELEVATIONS_DEG else "orbit"
        way = "counter-clockwise" if self.direction > 0 else "clockwise"
        return f"{rig}, started at elevations {even:+.0f}/{odd:+.0f} degrees, {way} in file order"

    def poses(self, count: int) -> Float[Tensor, "k 4 4"]:
        """``world_from_camera`` of every view; the first stands on the +z side."""
        origin, up = torch.zeros(3, dtype=torch.float64), torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
        poses = []
        for index in range(count):
            azimuth = self.direction * 2 * math.pi * index / count
            elevation = math.radians(self.elevations_deg[index % 2])
            flat = math.cos(elevation)
            position = [math.sin(azimuth) * flat, math.sin(elevation), math.cos(azimuth) * flat]
            poses.append(frames.look_at(torch.tensor(position, dtype=torch.float64), origin, up))
        return torch.stack(poses)


def orbit_axis(world_from_camera: Float[Tensor, "k 4 4"]) -> Float[Tensor, " 3"]:
    """The direction up around which the cameras stand: even and odd views each on a circle of their own.

    With fewer than three views to a circle, the pictures' mean up.
    """
    up = torch.nn.functional.normalize(-world_from_camera[:, :3, 1].mean(0), dim=0)
    if len(world_from_camera) < _MIN_ORBIT_VIEWS:
        return up
    circles = (world_from_camera[0::2, :3, 3], world_from_camera[1::2, :3, 3])
    spread = sum((circle - circle.mean(0)).T @ (circle - circle.mean(0)) for circle in circles)
    axis: Tensor = torch.linalg.eigh(spread).eigenvectors[:, 0]
    return axis * torch.sign(axis @ up)


def orbit_elevations_deg(world_from_camera: Float[Tensor, "k 4 4"], centre: Float[Tensor, " 3"]) -> tuple[float, float]:
    """Mean elevations of the even and the odd views over the plane across the axis, seen from what they look at."""
    outwards = torch.nn.functional.normalize(world_from_camera[:, :3, 3] - centre, dim=1)
    elevations_deg = torch.rad2deg((outwards @ orbit_axis(world_from_camera)).asin())
    return float(elevations_deg[0::2].mean()), float(elevations_deg[1::2].mean())


def is_zero123plus(elevations_deg: tuple[float, float]) -> bool:
    """Whether alternating elevations are those of a Zero123++ rig, to three degrees."""
    ordered = sorted(elevations_deg, reverse=True)
    return any(
        max(abs(ours - theirs) for ours, theirs in zip(ordered, rig, strict=True)) < _SAME_ELEVATION_DEG
        for rig in ZERO123PLUS_ELEVATIONS_DEG
    )


def every_orbit() -> list[Orbit]:
    """All hypotheses: one or two alternating elevations, both directions."""
    pairs = [(even, odd) for even in _ELEVATIONS_DEG for odd in _ELEVATIONS_DEG if abs(even - odd) <= 30]
    pairs += [pair for pair in ZERO123PLUS_ELEVATIONS_DEG if pair not in pairs]
    return [Orbit(pair, direction) for pair in pairs for direction in (1, -1)]
