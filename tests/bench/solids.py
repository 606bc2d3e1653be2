"""Analytic solids as captures with their truth, traced once by all cores and kept in a folder."""

import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from scoring import SAMPLE_COUNT, Truth

import scenes
from recon.scene import Camera, Capture, View
from shapes import Array, Scene

HELD_OUT_PX = 320
FAULTS = {
    "clean": scenes.Faults(),
    "noise": scenes.Faults(has_sensor_noise=True),
    "pose": scenes.Faults(turn_deg=2.0, shift_m=0.005),
    "noise+pose": scenes.Faults(has_sensor_noise=True, turn_deg=2.0, shift_m=0.005),
    "focal": scenes.Faults(focal_factors=(1.02,)),
    "exposure": scenes.Faults(exposure_gains=(1.0, 0.8, 1.25, 0.9, 1.1, 0.7)),
    "8-bit": scenes.Faults(depth_codes=255),
    "holes": scenes.Faults(unmeasured_radius=0.15),
    "half-depth": scenes.Faults(is_depth_in_every_view=False),
    "no-depth": scenes.Faults(has_depth=False),
}


@dataclass(frozen=True)
class Job:
    """One picture to trace."""

    scene_name: str
    camera: Camera
    supersample: int


def all_scenes() -> dict[str, Scene]:
    return {scene.name: scene for scene in scenes.every_scene()}


def _trace(job: Job) -> scenes.Rendered:
    return scenes.render(all_scenes()[job.scene_name], job.camera, job.supersample)


def ring_cameras(scene: Scene, size_px: int, count: int) -> list[Camera]:
    """Evenly spaced azimuths, elevation +20 and -10 in turn; six of them are the tests' orbit."""
    elevations_deg = (20, -10)
    return [scenes.orbit_camera(scene, 360 * i / count, elevations_deg[i % 2], size_px) for i in range(count)]


def make_captures(
    names: list[str], variants: list[str], size_px: int, view_count: int, cache: Path
) -> dict[tuple[str, str], tuple[Capture, Truth]]:
    """Every solid in every variant; tracing is the slow part and happens once a solid and size."""
    missing = [name for name in names if not _cache_file(cache, name, size_px, view_count).exists()]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:  # a CUDA context survives no fork
        for name in missing:
            _trace_all(pool, name, size_px, view_count, cache)
    made = {}
    for name in names:
        inputs, held_out, samples, seen = pickle.loads(_cache_file(cache, name, size_px, view_count).read_bytes())
        scene = all_scenes()[name]
        cameras = ring_cameras(scene, size_px, view_count)
        poses = torch.stack([camera.world_from_camera for camera in cameras])
        truth = Truth(partial(_offsets, scene), samples, seen, scene.diagonal_m, held_out, poses)
        for variant in variants:
            made[name, variant] = scenes.capture_of(scene, cameras, inputs, FAULTS[variant]), truth
    return made


def _offsets(scene: Scene, positions_world: Array) -> tuple[Array, Array]:
    return scene.signed_distance_m(positions_world), scene.normals_world(positions_world)


def _cache_file(cache: Path, name: str, size_px: int, view_count: int) -> Path:
    return cache / f"{name}-{size_px}-{view_count}.pickle"


def _trace_all(pool: ProcessPoolExecutor, name: str, size_px: int, view_count: int, cache: Path) -> None:
    scene, supersample = all_scenes()[name], 3 if size_px <= 512 else 1
    cameras = ring_cameras(scene, size_px, view_count)
    held_out_cameras = scenes.held_out_cameras(scene, HELD_OUT_PX)
    jobs = [Job(name, camera, supersample) for camera in cameras]
    jobs += [Job(name, camera, 3) for camera in held_out_cameras]
    pictures = list(pool.map(_trace, jobs))
    held_out = tuple(
        View(f"held_out_{index:02d}", picture.image_srgb, picture.alpha, "alpha", None, camera)
        for index, (picture, camera) in enumerate(zip(pictures[view_count:], held_out_cameras, strict=True))
    )
    samples = scene.sample_surface(SAMPLE_COUNT // 4)
    seen = np.zeros(len(samples), bool)
    for camera in cameras:
        seen |= scenes.sees(scene, camera, samples)
    cache.mkdir(parents=True, exist_ok=True)
    _cache_file(cache, name, size_px, view_count).write_bytes(
        pickle.dumps((pictures[:view_count], held_out, samples, seen))
    )


__all__ = ["FAULTS", "all_scenes", "make_captures", "ring_cameras"]
