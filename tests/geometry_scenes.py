"""Analytic captures prepared for the geometry and refinement stages, and what a sound mesh is."""

from functools import cache

import numpy as np
import torch
import trimesh
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

import scenes
from recon.geometry import build_geometry
from recon.observations import Observations, observe
from recon.scene import Capture, TriangleMesh
from recon.settings import FusionSettings

CPU = torch.device("cpu")

SOLIDS = {
    "sphere": scenes.sphere(),
    "cube": scenes.cube(),
    "torus": scenes.torus(),
    "plate": scenes.plate(),
    "pan": scenes.pan(),
    "shaft": scenes.shaft(),
    "bowl": scenes.bowl(),
    "mug": scenes.mug(),
    "toy": scenes.toy(),
}


@cache
def photographed(name: str, rig: str = "cube6", size_px: int = 96, supersample: int = 3) -> Capture:
    """Six exact views of a solid, all around (cube6) or from the sides only (orbit6)."""
    cameras = scenes.cube6_cameras if rig == "cube6" else scenes.orbit6_cameras
    return scenes.make_capture(SOLIDS[name], cameras(SOLIDS[name], size_px), supersample=supersample)


@cache
def observed_noisy(name: str, size_px: int) -> Observations:
    """Six views from the sides through a noisy sensor."""
    cameras = scenes.orbit6_cameras(SOLIDS[name], size_px)
    faults = scenes.Faults(has_sensor_noise=True)
    return observe(scenes.make_capture(SOLIDS[name], cameras, faults, supersample=1), CPU)


@cache
def observed(name: str, rig: str = "cube6", size_px: int = 96, supersample: int = 3) -> Observations:
    return observe(photographed(name, rig, size_px, supersample), CPU)


def built(observations: Observations, face_count: int, resolution: int = 96) -> TriangleMesh:
    """A first mesh by fusion."""
    return build_geometry(observations, FusionSettings(grid_resolution=resolution), face_count).mesh


def as_trimesh(mesh: TriangleMesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.positions_world.double().numpy(), mesh.faces.numpy(), process=False)


def error_m(name: str, mesh: TriangleMesh) -> torch.Tensor:
    """Distance of every vertex to the true surface."""
    return torch.from_numpy(SOLIDS[name].signed_distance_m(mesh.positions_world.double().numpy())).abs()


def assert_closed_manifold(mesh: TriangleMesh) -> None:
    """Every edge is run once in each direction, and the faces around every vertex form one fan."""
    faces = mesh.faces.numpy()
    assert len(faces)
    assert (faces[:, 0] != faces[:, 1]).all()
    assert (faces[:, 1] != faces[:, 2]).all()
    assert (faces[:, 2] != faces[:, 0]).all()
    starts, ends = faces.ravel(), faces[:, [1, 2, 0]].ravel()
    count = len(mesh.positions_world)
    there, back = starts * count + ends, ends * count + starts
    assert len(np.unique(there)) == len(there), "an edge is run twice in one direction"
    order, order_back = np.argsort(there), np.argsort(back)
    assert (there[order] == back[order_back]).all(), "an edge has one face only"
    # A half-edge's partner runs the other way: its end is this one's start.
    corner = np.arange(len(starts))
    following = corner // 3 * 3 + (corner % 3 + 1) % 3
    graph = coo_matrix((np.ones(len(order)), (order, following[order_back])), shape=(len(starts), len(starts)))
    fan_count, _ = connected_components(graph, directed=False)
    assert fan_count == len(np.unique(faces)), "the faces around a vertex form several fans"
