"""The geometry stage in order."""

import math
from dataclasses import dataclass

import torch

from recon.arrays import Float, Tensor
from recon.errors import ObjectNotFound
from recon.geometry.cavities import SeenSpace, continue_cavities
from recon.geometry.fill import BAND_INSIDE, BAND_OUTSIDE, FAR, fill_unknown
from recon.geometry.fusion import NO_ROOM, fuse, object_bounds_world
from recon.geometry.grid import Grid, enclosing_grid
from recon.geometry.hollows import enclosed
from recon.geometry.isosurface import extract_surface
from recon.geometry.phantoms import drop_phantoms
from recon.geometry.walls import thin_wall_m
from recon.observations import Observations
from recon.remesh import decimate, keep_solid_pieces
from recon.scene import TriangleMesh
from recon.settings import FusionSettings

COARSE_FACTOR = 2
"""Free space and cavities are mapped with this many fine voxels a sample."""

VOXEL_PX = 2.0
"""Width of a fine voxel in pixels of the depth images; what is smaller is left to the refinement of vertices."""

WALL_VOXELS = 2.0
"""Voxels across a thin wall."""

TWO_SIDES, ONE_SIDE = 0.5, 0.9
"""Length of the mean of the slopes around a sample, over their mean length, between two sides and near one alone."""

MIN_RESOLUTION, MAX_RESOLUTION = 96, {"cpu": 192, "cuda": 256}
"""Voxels along the longest side, whatever the pixels; a grid of 192 takes 0.5 GiB."""


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
    low_world, high_world = object_bounds_world(observations)
    longest_m, wall_m = (
        float((high_world - low_world).max()),
        thin_wall_m(observations, WALL_VOXELS * VOXEL_PX * observations.pixel_m),
    )
    resolution = settings.grid_resolution or choose_resolution(observations, longest_m, wall_m)
    coarse_grid = enclosing_grid(low_world, high_world, resolution // COARSE_FACTOR)
    coarse = _seen_space(observations, coarse_grid)
    cavities = continue_cavities(observations, coarse, coarse_grid)
    grid = coarse_grid.refined(COARSE_FACTOR)
    field = _filled_field(observations, coarse, cavities, grid)
    if observations.has_noise:
        field = _blurred(field, math.isfinite(wall_m))
    field = _without_bubbles(field)
    mesh = drop_phantoms(keep_solid_pieces(extract_surface(field, grid)), observations, grid.spacing_m)
    if mesh.faces.shape[0] == 0:
        raise ObjectNotFound(NO_ROOM)
    return Geometry(keep_solid_pieces(decimate(mesh, target_face_count)), grid.spacing_m, resolution)


def choose_resolution(observations: Observations, longest_m: float, wall_m: float = torch.inf) -> int:
    """Voxels along the longest side that are as wide as pixels and walls say, within what the device affords."""
    wanted = longest_m / min(VOXEL_PX * observations.pixel_m, wall_m / WALL_VOXELS)
    largest = MAX_RESOLUTION.get(observations.cameras.device.type, MAX_RESOLUTION["cpu"])
    return int(min(max(wanted, MIN_RESOLUTION), largest)) // COARSE_FACTOR * COARSE_FACTOR


def _softness_m(observations: Observations, grid: Grid) -> float:
    return (0.5 if observations.has_noise else 0.3) * grid.spacing_m


def _seen_space(observations: Observations, grid: Grid) -> SeenSpace:
    field = fuse(observations, grid.positions_world(), _softness_m(observations, grid))
    distance = (field.distance_m / grid.spacing_m).view(grid.shape)
    is_near = distance.abs() < BAND_INSIDE
    is_measured, is_touched = (mask.view(grid.shape) & is_near for mask in (field.is_measured, field.is_touched))
    return SeenSpace(distance, distance > 0, is_measured, is_touched)


def _filled_field(
    observations: Observations, coarse: SeenSpace, cavities: Float[Tensor, "x y z"], grid: Grid
) -> Float[Tensor, "x2 y2 z2"]:
    """The fused field on the fine grid, in voxels, with unseen space closed smoothly."""
    distance = _upsampled(coarse.distance.clamp(-FAR, FAR), grid) * COARSE_FACTOR
    near = torch.nonzero((distance < FAR).reshape(-1)).squeeze(1)
    measured = fuse(observations, grid.positions_world(near), _softness_m(observations, grid))
    distance.view(-1)[near] = measured.distance_m / grid.spacing_m
    is_measured = torch.zeros_like(distance, dtype=torch.bool)
    is_measured.view(-1)[near] = measured.is_measured
    wall_distance = _upsampled(cavities.clamp_min(-2 * FAR), grid) * COARSE_FACTOR
    is_cavity = (wall_distance > -BAND_OUTSIDE) & (distance < torch.where(is_measured, -BAND_INSIDE, 0.0))
    distance = torch.where(is_cavity, wall_distance, distance)
    return fill_unknown(distance, is_measured | is_cavity)


def _upsampled(field: Float[Tensor, "x y z"], grid: Grid) -> Float[Tensor, "x2 y2 z2"]:
    """Trilinear interpolation to a refined grid."""
    finer = torch.nn.functional.interpolate(field[None, None], size=grid.shape, mode="trilinear", align_corners=True)
    return finer[0, 0].contiguous()


def _without_bubbles(field: Float[Tensor, "x y z"]) -> Float[Tensor, "x y z"]:
    """Make outside samples that no path joins to the border inside: nobody can have seen such a hollow."""
    return torch.where(enclosed(field > 0), -field, field)


def _blurred(field: Float[Tensor, "x y z"], spares_walls: bool) -> Float[Tensor, "x y z"]:
    """Gaussian blur: noise of single views becomes a smooth surface.

    Walls as thin as the blur is wide stay, where the object has any: flaps of noise are as thin.

    Only signs and distances up to a voxel count: free space seen far behind a rim or a thin part would outweigh them.
    Near a surface that is alone all slopes agree; between the two sides of a wall they cancel.
    """
    field = field.clamp(-1, 1)
    if not spares_walls:
        return _gaussian(field)
    slopes = torch.stack(torch.gradient(field))
    agreement = torch.stack([_gaussian(slope) for slope in slopes]).norm(dim=0)
    agreement = agreement / _gaussian(slopes.norm(dim=0)).clamp_min(1e-6)
    alone = ((agreement - TWO_SIDES) / (ONE_SIDE - TWO_SIDES)).clamp(0, 1)
    blurred: Tensor = field + alone * (_gaussian(field) - field)
    return blurred


def _gaussian(field: Float[Tensor, "x y z"], sigma: float = 0.7) -> Float[Tensor, "x y z"]:
    """Blur by ``sigma`` voxels."""
    reach = torch.arange(-2, 3, device=field.device, dtype=field.dtype)
    kernel = torch.exp(-0.5 * (reach / sigma) ** 2)
    kernel = kernel / kernel.sum()
    blurred = torch.nn.functional.pad(field[None, None], (2, 2, 2, 2, 2, 2), mode="replicate")
    for shape in ((5, 1, 1), (1, 5, 1), (1, 1, 5)):
        blurred = torch.nn.functional.conv3d(blurred, kernel.view(1, 1, *shape))
    return blurred[0, 0]
