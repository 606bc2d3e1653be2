"""Solids on a table, as a depth camera sees the whole scene."""

import numpy as np
import torch

import scenes
from recon.scene import DepthMap, batch_cameras
from shapes import Scene


def cameras_above(scene, size_px=96, count=6):
    return [
        scenes.look_from(scene, np.array([np.sin(a), -np.cos(a), 0.6 if i % 2 else 0.4]), size_px)
        for i, a in enumerate(np.linspace(0, 2 * np.pi, count, endpoint=False))
    ]


def depth_of_scene(scene, camera, clutter=(), noise_m=0.0, seed=0):
    """Depth of a solid, other solids and the table under them, everywhere in the picture; and the solid's true mask."""
    size = (camera.intrinsics.height_px, camera.intrinsics.width_px)
    solid = scenes.render(scene, camera, 1)
    layers = [
        np.where(item.depth_z_m > 0, item.depth_z_m, np.inf)
        for item in (solid, *(scenes.render(s, camera, 1) for s in clutter))
    ]
    batch = batch_cameras([camera], *size, "cpu", torch.float64)
    rays = (batch.unproject(torch.ones(1, *size, dtype=torch.float64))[0] - camera.position_world).numpy()
    with np.errstate(divide="ignore"):
        table_z = (scene.low_world[2] - float(camera.position_world[2])) / rays[..., 2]
    layers.append(np.where(table_z > 0, table_z, np.inf))
    depth = np.min(layers, 0)
    mask = np.argmin(layers, 0) == 0
    valid = np.isfinite(depth) & (depth < 10)
    depth = depth + noise_m * np.random.default_rng(seed).normal(size=size) * valid
    return DepthMap(torch.from_numpy(np.where(valid, depth, 0).astype(np.float32)), torch.from_numpy(valid)), mask


def ball_on_table(scene, x_m, y_m, radius_m=0.06):
    """A ball beside a solid, on the same table."""
    ball = scenes.sphere(radius_m)
    offset = np.array([x_m, y_m, scene.low_world[2] + radius_m - ball.centre_world[2]])
    return Scene(
        "ball", lambda p: ball.signed_distance_m(p - offset), ball.low_world + offset, ball.high_world + offset
    )
