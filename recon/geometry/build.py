"""The geometry stage in order."""

from dataclasses import dataclass

import torch

from recon.arrays import Bool, Float, Tensor
from recon.errors import ObjectNotFound
from recon.geometry.fill import fill_unknown
from recon.geometry.fusion import Field, fuse, object_bounds_world
from recon.geometry.grid import Grid, enclosing_grid
from recon.geometry.isosurface import extract_surface
from recon.observations import Observations
from recon.remesh import decimate, keep_solid_pieces
from recon.scene import TriangleMesh
from recon.settings import FusionSettings

COARSE_FACTOR = 2
"""The fill is solved at this many fine voxels a sample."""

BAND = 2.0
"""Measured distances count within this many voxels of the surface."""

FREE_MARGIN = 0.3
"""Free space keeps at least this many voxels of distance, so that the fill cannot grow into it."""

FAR = 6.0
"""Distances are clamped here, in voxels: beyond, only the sign matters."""

CPU_RESOLUTION, CUDA_RESOLUTION = 192, 256


@dataclass(frozen=True)
class Geometry:
    """A first mesh.

    Attributes:
        mesh: Closed, manifold, facing outwards.
        voxel_m: Spacing of the finest grid.
        resolution: Voxels along the longest side.
    """

    mesh: TriangleMesh
    voxel_m: float
    resolution: int


def build_geometry(observations: Observations, settings: FusionSettings, target_face_count: int) -> Geometry:
    """Build a closed mesh from posed views.

    Args:
        observations: Prepared views; those without depth carve by their outline.
        settings: Grid resolution.
        target_face_count: Faces after simplification.

    Raises:
        ObjectNotFound: The views leave no volume that all of them allow.
    """
    is_cuda = observations.cameras.device.type == "cuda"
    resolution = settings.grid_resolution or (CUDA_RESOLUTION if is_cuda else CPU_RESOLUTION)
    low_world, high_world = object_bounds_world(observations)
    coarse_grid = enclosing_grid(low_world, high_world, resolution // COARSE_FACTOR)
    coarse = _filled_field(observations, coarse_grid)
    fine_grid = coarse_grid.refined(COARSE_FACTOR)
    fine = _refined_field(observations, coarse, fine_grid)
    if observations.has_noise:
        fine = _blurred(fine)
    mesh = keep_solid_pieces(extract_surface(_closed_at_border(fine), fine_grid))
    if mesh.faces.shape[0] == 0:
        raise ObjectNotFound("The views leave no room for an object: their outlines do not meet in any point.")
    return Geometry(decimate(mesh, target_face_count), fine_grid.spacing_m, resolution)


def _softness_m(observations: Observations, grid: Grid) -> float:
    return (0.5 if observations.has_noise else 0.3) * grid.spacing_m


def _measured_band(field: Field, distance: Float[Tensor, " n"]) -> Bool[Tensor, " n"]:
    return field.is_measured & (distance.abs() < BAND)


def _filled_field(observations: Observations, grid: Grid) -> Float[Tensor, "x y z"]:
    """The coarse field, in voxels, with unseen space closed smoothly."""
    field = fuse(observations, grid.positions_world(), _softness_m(observations, grid))
    distance = field.distance_m / grid.spacing_m
    is_measured = _measured_band(field, distance).view(grid.shape)
    distance = distance.view(grid.shape)
    is_free = distance > 0
    is_fixed = is_measured | _border(grid) | (distance > FAR)
    lower = torch.where(is_free, torch.full_like(distance, FREE_MARGIN), torch.full_like(distance, -torch.inf))
    value = distance.clamp(-0.5 * FAR, FAR)
    value = torch.where(is_free & ~is_measured, value.clamp_min(FREE_MARGIN), value)
    value = torch.where(_border(grid), torch.full_like(value, FAR), value)
    return fill_unknown(value, is_fixed, lower)


def _refined_field(
    observations: Observations, coarse: Float[Tensor, "x y z"], grid: Grid
) -> Float[Tensor, "x2 y2 z2"]:
    """The coarse field on the fine grid, replaced near the surface by what the views say there."""
    field = torch.nn.functional.interpolate(coarse[None, None], size=grid.shape, mode="trilinear", align_corners=True)
    values = (field[0, 0] * COARSE_FACTOR).reshape(-1)
    near = torch.nonzero(values.abs() < 2 * COARSE_FACTOR).squeeze(1)
    measured = fuse(observations, grid.positions_world(near), _softness_m(observations, grid))
    distance = measured.distance_m / grid.spacing_m
    filled = torch.where(distance > 0, values[near].clamp_min(FREE_MARGIN), values[near])
    values[near] = torch.where(_measured_band(measured, distance), distance, filled)
    return values.view(grid.shape)


def _border(grid: Grid) -> Bool[Tensor, "x y z"]:
    """The outermost samples, which are outside by construction."""
    border = torch.ones(grid.shape, dtype=torch.bool, device=grid.device)
    border[1:-1, 1:-1, 1:-1] = False
    return border


def _closed_at_border(field: Float[Tensor, "x y z"]) -> Float[Tensor, "x y z"]:
    closed = torch.full_like(field, FAR)
    closed[1:-1, 1:-1, 1:-1] = field[1:-1, 1:-1, 1:-1]
    return closed


def _blurred(field: Float[Tensor, "x y z"], sigma: float = 0.7) -> Float[Tensor, "x y z"]:
    """Gaussian blur by ``sigma`` voxels: noise of single views becomes a smooth surface."""
    reach = torch.arange(-2, 3, device=field.device, dtype=field.dtype)
    kernel = torch.exp(-0.5 * (reach / sigma) ** 2)
    kernel = kernel / kernel.sum()
    blurred = torch.nn.functional.pad(field[None, None], (2, 2, 2, 2, 2, 2), mode="replicate")
    for shape in ((5, 1, 1), (1, 5, 1), (1, 1, 5)):
        blurred = torch.nn.functional.conv3d(blurred, kernel.view(1, 1, *shape))
    return blurred[0, 0]
