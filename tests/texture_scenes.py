"""Tessellated solids and the photographs that go with them, for the texture stage."""

from functools import cache

import numpy as np
import torch
import trimesh

import scenes
from recon.raster import Rasterizer, select_rasterizer
from recon.scene import Capture, TexturedMesh, TriangleMesh, View
from recon.settings import Settings
from recon.texture import bake_texture
from recon.texture.atlas import Atlas, build_atlas
from recon.texture.photograph import Photograph, observe
from recon.texture.texels import Texels, locate_texels

CPU = torch.device("cpu")
VIEW_PX = 96


def rasterizer() -> Rasterizer:
    return select_rasterizer("torch", CPU)


def from_trimesh(solid: trimesh.Trimesh) -> TriangleMesh:
    faces = torch.from_numpy(np.asarray(solid.faces, np.int64).copy())
    return TriangleMesh(torch.from_numpy(np.asarray(solid.vertices, np.float32).copy()), faces)


def ball(subdivisions: int = 4) -> TriangleMesh:
    """The sphere of ``scenes.sphere``, 20 * 4**subdivisions faces."""
    solid = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.1)
    return from_trimesh(solid.apply_translation(scenes.sphere().centre_world))


def box(extents_m: tuple[float, float, float] = (0.16, 0.16, 0.16), subdivisions: int = 3) -> TriangleMesh:
    """A box about the centre of ``scenes.cube``, 12 * 4**subdivisions faces."""
    solid = trimesh.creation.box(extents=extents_m)
    for _ in range(subdivisions):
        solid = solid.subdivide()
    return from_trimesh(solid.apply_translation(scenes.cube().centre_world))


def ring() -> TriangleMesh:
    return from_trimesh(trimesh.creation.torus(0.08, 0.03, major_sections=64, minor_sections=32))


def staircase(turns: float = 2.0, steps: int = 96) -> TriangleMesh:
    """A ramp that winds about the z axis: seen from above every turn lies over the one before."""
    angle = torch.linspace(0, turns * 2 * torch.pi, steps + 1)
    height = 0.1 * angle / (2 * torch.pi)
    inner = torch.stack([0.1 * angle.cos(), 0.1 * angle.sin(), height], 1)
    outer = torch.stack([0.2 * angle.cos(), 0.2 * angle.sin(), height], 1)
    first = torch.arange(steps)
    lower = torch.stack([first, first + steps + 1, first + steps + 2], 1)
    upper = torch.stack([first, first + steps + 2, first + 1], 1)
    return TriangleMesh(torch.cat([inner, outer]), torch.cat([lower, upper]))


@cache
def ball_capture(gains: tuple[float, ...] = (1.0,)) -> Capture:
    """Twelve overlapping views of the sphere."""
    scene = scenes.sphere()
    cameras = scenes.orbit6_cameras(scene, VIEW_PX) + scenes.cube6_cameras(scene, VIEW_PX)
    return scenes.make_capture(scene, cameras, scenes.Faults(exposure_gains=gains))


@cache
def box_front_view() -> View:
    """The cube straight from the front: one side fills the picture, no other can be seen."""
    scene = scenes.cube()
    return scenes.make_capture(scene, scenes.cube6_cameras(scene, VIEW_PX)[:1]).views[0]


def photograph_all(mesh: TriangleMesh, capture: Capture) -> list[Photograph]:
    return [observe(view, mesh, rasterizer(), CPU) for view in capture.views]


def unwrapped(mesh: TriangleMesh, size_px: int = 256) -> tuple[Atlas, Texels]:
    atlas = build_atlas(mesh, size_px)
    return atlas, locate_texels(mesh, atlas)


def painted(mesh: TriangleMesh, capture: Capture) -> TexturedMesh:
    """A mesh coloured from a capture's photographs, on the smallest texture."""
    return bake_texture(mesh, capture, Settings(texture_px=256), rasterizer(), CPU, lambda fraction: None)
