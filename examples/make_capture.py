"""Photograph the painted teapot: six RGB-D views in the form that a user would drop.

    python examples/make_capture.py [FOLDER] [--size 512]

writes view_00.png ... view_05.png (RGBA, straight alpha), depth_00.png ... (16-bit, along the optical axis) and
transforms.json (nerfstudio conventions: OpenGL camera axes, z-up world, metres).  The same numbers come out on every
machine, up to the last bit of the floating point library.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from teapot import Array, albedo_srgb, normals, signed_distance_m

CAPTURE_DIR = Path(__file__).parent / "captures" / "teapot"
AZIMUTHS_DEG = (20, 80, 140, 200, 260, 320)
ELEVATIONS_DEG = (28, 12, 38, 12, 28, -14)
DISTANCE_M, FIELD_OF_VIEW_DEG = 0.55, 32.0
TARGET_M = (0.002, 0.0, 0.092)
DEPTH_UNIT_M = 0.0001
SAMPLES_PER_SIDE = 3
"""Colour is averaged over this many rays squared per pixel, in linear light."""
BOUND_CENTRE_M, BOUND_RADIUS_M = np.array([0.004, 0.0, 0.095]), 0.165
"""A sphere around the teapot, where tracing starts and ends."""


@dataclass(frozen=True)
class Shot:
    """One posed pinhole camera with square pixels and the principal point in the middle."""

    size_px: int
    focal_px: float
    world_from_camera_gl: Array

    def rays(self, points_px: Array) -> tuple[Array, Array]:
        """Origin and unit directions through points (x right, y down) of the picture."""
        middle = self.size_px / 2
        x, y = (points_px[:, 0] - middle) / self.focal_px, (middle - points_px[:, 1]) / self.focal_px
        directions = np.stack([x, y, -np.ones_like(x)], 1) @ self.world_from_camera_gl[:3, :3].T
        return self.world_from_camera_gl[:3, 3], directions / np.linalg.norm(directions, axis=1, keepdims=True)


def place_shot(size_px: int, azimuth_deg: float, elevation_deg: float) -> Shot:
    """A camera on the orbit that looks at the teapot's middle, upright."""
    azimuth_rad, elevation_rad = np.radians(azimuth_deg), np.radians(elevation_deg)
    level = np.array([np.cos(azimuth_rad), np.sin(azimuth_rad), 0.0])
    backward = np.cos(elevation_rad) * level + np.sin(elevation_rad) * np.array([0.0, 0.0, 1.0])
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    world_from_camera_gl = np.eye(4)
    world_from_camera_gl[:3, :3] = np.stack([right, np.cross(backward, right), backward], 1)
    world_from_camera_gl[:3, 3] = np.array(TARGET_M) + DISTANCE_M * backward
    return Shot(size_px, size_px / 2 / np.tan(np.radians(FIELD_OF_VIEW_DEG) / 2), world_from_camera_gl)


def trace(origin: Array, directions: Array) -> Array:
    """Distance along each ray to the surface, NaN where it misses (sphere tracing, Hart 1996)."""
    towards = directions @ (BOUND_CENTRE_M - origin)
    miss_squared = np.sum((BOUND_CENTRE_M - origin) ** 2) - towards**2
    half_chord = np.sqrt(np.maximum(BOUND_RADIUS_M**2 - miss_squared, 0.0))
    distance_m = np.full(len(directions), np.nan)
    active = np.flatnonzero(half_chord > 0)
    travelled_m, limit_m = (towards - half_chord)[active], (towards + half_chord)[active]
    for _ in range(400):
        if not len(active):
            break
        gap_m = signed_distance_m(origin + travelled_m[:, None] * directions[active])
        is_hit = np.abs(gap_m) < 2e-6
        distance_m[active[is_hit]] = travelled_m[is_hit]
        # The smooth unions overestimate a little: shorter steps keep thin parts from being jumped over.
        travelled_m = travelled_m + 0.8 * gap_m
        keep = ~is_hit & (travelled_m < limit_m)
        active, travelled_m, limit_m = active[keep], travelled_m[keep], limit_m[keep]
    return distance_m


def shade_linear(points: Array) -> Array:
    """Paint under a soft sky and a window: the same from every side, as photographs of unglazed clay are."""
    normal = normals(points)
    sunlight = np.clip(normal @ (np.array([0.45, -0.35, 0.82]) / np.linalg.norm([0.45, -0.35, 0.82])), 0.0, 1.0)
    sky = 0.5 + 0.5 * normal[:, 2]
    openness = np.ones(len(points))
    for reach_m in (0.006, 0.014, 0.030):
        gap_m = signed_distance_m(points + reach_m * normal)
        openness -= 0.30 * np.clip(1 - gap_m / reach_m, 0.0, 1.0)
    light = np.clip(openness, 0.15, 1.0) * (0.42 + 0.34 * sky) + 0.34 * sunlight
    albedo = albedo_srgb(points)
    albedo_linear = np.where(albedo <= 0.04045, albedo / 12.92, ((albedo + 0.055) / 1.055) ** 2.4)
    return np.clip(albedo_linear * light[:, None], 0.0, 1.0)


def photograph(shot: Shot, pixels: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Straight-alpha RGBA (n, 4) and depth along the axis (n) in steps of DEPTH_UNIT_M, of pixels (column, row)."""
    premultiplied, hits = np.zeros((len(pixels), 3)), np.zeros(len(pixels))
    for offset in np.ndindex(SAMPLES_PER_SIDE, SAMPLES_PER_SIDE):
        origin, directions = shot.rays(pixels + (np.array(offset) + 0.5) / SAMPLES_PER_SIDE)
        distance_m = trace(origin, directions)
        hit = np.flatnonzero(~np.isnan(distance_m))
        premultiplied[hit] += shade_linear(origin + distance_m[hit, None] * directions[hit])
        hits[hit] += 1
    linear = premultiplied / np.maximum(hits, 1)[:, None]
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    rgba = np.concatenate([srgb, hits[:, None] / SAMPLES_PER_SIDE**2], 1)

    origin, directions = shot.rays(pixels + 0.5)
    depth_z_m = np.nan_to_num(trace(origin, directions) * (directions @ -shot.world_from_camera_gl[:3, 2]))
    return np.rint(rgba * 255).astype(np.uint8), np.rint(depth_z_m / DEPTH_UNIT_M).astype(np.uint16)


def make_capture(folder: Path, size_px: int = 512) -> None:
    """Write the six views, their depths and transforms.json into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.stack(np.meshgrid(np.arange(size_px), np.arange(size_px)), -1).reshape(-1, 2)
    frames = []
    for index, (azimuth_deg, elevation_deg) in enumerate(zip(AZIMUTHS_DEG, ELEVATIONS_DEG, strict=True)):
        shot = place_shot(size_px, azimuth_deg, elevation_deg)
        rgba, depth = photograph(shot, pixels)
        Image.fromarray(rgba.reshape(size_px, size_px, 4)).save(folder / f"view_{index:02}.png", optimize=True)
        Image.fromarray(depth.reshape(size_px, size_px)).save(folder / f"depth_{index:02}.png", optimize=True)
        frames.append(
            {
                "file_path": f"view_{index:02}.png",
                "depth_file_path": f"depth_{index:02}.png",
                "transform_matrix": shot.world_from_camera_gl.round(9).tolist(),
            }
        )
    intrinsics = {"w": size_px, "h": size_px, "fl_x": round(shot.focal_px, 6), "fl_y": round(shot.focal_px, 6)}
    centre = {"cx": size_px / 2, "cy": size_px / 2, "camera_model": "PINHOLE", "depth_unit_scale_factor": DEPTH_UNIT_M}
    manifest = json.dumps({**intrinsics, **centre, "frames": frames}, indent=1)
    (folder / "transforms.json").write_text(manifest + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Photograph the painted teapot: six RGB-D views.")
    parser.add_argument("folder", nargs="?", type=Path, default=CAPTURE_DIR)
    parser.add_argument("--size", type=int, default=512, help="side of the square pictures in pixels")
    arguments = parser.parse_args()
    make_capture(arguments.folder, arguments.size)
