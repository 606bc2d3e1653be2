"""Where the photographs show a surface that no depth image measured."""

from dataclasses import dataclass

import torch

from recon.arrays import Bool, Int, Tensor
from recon.observations import Observations
from recon.optimise.terms import depth_term
from recon.raster import Rasterizer
from recon.scene import TriangleMesh

_REACH_PX, _REACH_NOISE = 2.0, 4.0
"""Measured points farther from the mesh than so many pixel widths, or deviations, belong to another surface."""


@dataclass(frozen=True)
class Holes:
    """What depth says about a mesh.

    Attributes:
        is_measured: Vertices with a face that a depth image decides.
        share: Of the surface that the photographs show, by area: seen where a depth image has a hole, measured by none.
    """

    is_measured: Bool[Tensor, " v"]
    share: float


@torch.no_grad()
def find_holes(mesh: TriangleMesh, observations: Observations, raster: Rasterizer) -> Holes:
    """Compare a refined mesh with the depth images.

    Args:
        mesh: On the raster's device.
        observations: Of the views that it was refined with.
        raster: Draws the mesh.
    """
    reach_m = max(_REACH_PX * observations.pixel_m, _REACH_NOISE * observations.noise_m)
    fragments = raster.rasterize(mesh.positions_world, mesh.faces, observations.cameras)
    blocks = depth_term(mesh, fragments, observations, raster, reach_m).blocks
    face_is_measured = blocks.diagonal(dim1=1, dim2=2).sum(1) > 0
    is_measured = torch.zeros(mesh.positions_world.shape[0], dtype=torch.bool, device=mesh.faces.device)
    is_measured[mesh.faces[face_is_measured].flatten()] = True
    seen = _drawn_faces(fragments.face_index, mesh.faces.shape[0])
    in_hole = _drawn_faces(fragments.face_index[observations.hole_mask], mesh.faces.shape[0]) & ~face_is_measured
    area = mesh.scaled_face_normals().norm(dim=1)
    return Holes(is_measured, float((area * in_hole).sum() / (area * seen).sum().clamp_min(1e-20)))


def _drawn_faces(face_index: Int[Tensor, "*pixels"], face_count: int) -> Bool[Tensor, " f"]:
    is_drawn = torch.zeros(face_count, dtype=torch.bool, device=face_index.device)
    is_drawn[face_index[face_index >= 0]] = True
    return is_drawn
