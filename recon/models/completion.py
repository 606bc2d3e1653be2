"""A generated mesh made whole with what was measured: measured where measured, generated where nobody looked.

Both are signed distance fields on one grid.  Free space that a camera saw stays free, whatever the model invents
there; the measured surface stands; behind it and where no view reaches, the generated shape takes over, gradually, so
that a model that is a little too thin does not leave a crust.  The level set is a closed manifold by construction.
"""

from dataclasses import dataclass

import torch

from recon.arrays import Float, Tensor
from recon.errors import ObjectNotFound
from recon.geometry.fusion import CHUNK_SAMPLES, NO_ROOM, fuse, object_bounds_world, view_distances
from recon.geometry.grid import Grid, enclosing_grid
from recon.geometry.hollows import enclosed
from recon.geometry.isosurface import extract_surface
from recon.models.mesh_field import mesh_field
from recon.observations import Observations
from recon.remesh import decimate, keep_solid_pieces
from recon.scene import TriangleMesh

DEFAULT_RESOLUTION = 192
SOFTNESS_VOXELS = 0.4
"""Views that differ by less share the decision."""
MAX_GROWTH = 0.25
"""Of the measured box's longest side, beyond it."""
KEPT_VOXELS = (1.0, 4.0)
"""Depths behind the measured surface: up to the first the field is left as it is, from the second on it is smoothed."""
HANDOVER_VOXELS = 8.0
"""Depth behind the measured surface at which the generated shape alone decides."""


@dataclass(frozen=True)
class CompletedMesh:
    """A closed manifold.

    Attributes:
        voxel_m: Of the grid it was extracted from.
        resolution: Voxels along the longest side.
        measured_fraction: Share of the surface that the measurement decided.
    """

    mesh: TriangleMesh
    voxel_m: float
    resolution: int
    measured_fraction: float


def complete_mesh(
    generated: TriangleMesh, observations: Observations, resolution: int | None, target_face_count: int
) -> CompletedMesh:
    """Join a registered mesh with the measured surface.

    Args:
        generated: In the world frame, any triangles that face outwards.
        observations: On the same device.
        resolution: Voxels along the longest side; None takes 192.
        target_face_count: After simplification.

    Raises:
        ObjectNotFound: The views leave no room for any of it.
    """
    resolution = resolution or DEFAULT_RESOLUTION
    low_world, high_world = _bounds_world(generated, observations)
    grid = enclosing_grid(low_world, high_world, resolution)
    measured = fuse(observations, grid.positions_world(), SOFTNESS_VOXELS * grid.spacing_m)
    handover_m = HANDOVER_VOXELS * grid.spacing_m
    depth_m = _depth_distance_m(observations, grid, measured.distance_m, handover_m).view(grid.shape)
    field_m = _joined(measured.distance_m.view(grid.shape), depth_m, mesh_field(generated, grid), handover_m)
    field_m = _smoothed(field_m, depth_m / grid.spacing_m)
    mesh = keep_solid_pieces(extract_surface(_closed(field_m), grid))
    if mesh.faces.shape[0] == 0:
        raise ObjectNotFound(NO_ROOM)
    mesh = keep_solid_pieces(decimate(mesh, target_face_count))
    near_measured = depth_m.abs() < 2 * grid.spacing_m
    return CompletedMesh(mesh, grid.spacing_m, resolution, _share_of_vertices(mesh, near_measured, grid))


def _bounds_world(
    generated: TriangleMesh, observations: Observations
) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """The measured box, grown to take in the generated mesh, but not by more than a quarter: it may be misplaced."""
    low, high = object_bounds_world(observations)
    reach = MAX_GROWTH * (high - low).max()
    generated_low, generated_high = generated.bounds_world()
    margin = 0.03 * (high - low).max()
    low, high = (
        torch.minimum(low, torch.maximum(generated_low - margin, low - reach)),
        torch.maximum(high, torch.minimum(generated_high + margin, high + reach)),
    )
    return low, high


def _depth_distance_m(
    observations: Observations, grid: Grid, distance_m: Float[Tensor, " s"], handover_m: float
) -> Float[Tensor, " s"]:
    """Distance to the nearest measured depth surface near the measured field's zero, elsewhere -inf.

    Outlines do not count: they bound the object, but touch it nobody knows where.
    """
    depth_m = torch.full_like(distance_m, -torch.inf)
    near = torch.nonzero(distance_m.abs() < handover_m).squeeze(1)
    for chunk in near.split(CHUNK_SAMPLES):
        pixels_px, depth_z_m = observations.cameras.project(grid.positions_world(chunk))
        views = range(observations.cameras.count)
        surfaces = [view_distances(observations, view, pixels_px[view], depth_z_m[view])[0] for view in views]
        depth_m[chunk] = torch.stack(surfaces).amax(0)
    return depth_m


def _joined(
    measured_m: Float[Tensor, "x y z"],
    depth_m: Float[Tensor, "x y z"],
    generated_m: Float[Tensor, "x y z"],
    handover_m: float,
) -> Float[Tensor, "x y z"]:
    """The measured field in front and just behind its surface, then gradually the generated one.

    ::

        seen free    | measured   | handover         | hidden
        measured > 0 | surface    | mix of both      | generated decides
    """
    share = (1 + depth_m / handover_m).clamp(0, 1)
    finite_m = measured_m.clamp(-handover_m, handover_m)
    hidden = share * finite_m + (1 - share) * generated_m
    return torch.where(measured_m > 0, finite_m, hidden)


def _smoothed(field_m: Float[Tensor, "x y z"], depth_voxels: Float[Tensor, "x y z"]) -> Float[Tensor, "x y z"]:
    """Twice the mean of 27 samples, except at the measured surface.

    Where outlines and the generated surface nearly agree, now one and now the other bounds the object, which makes
    steps and tunnels of a voxel.
    """
    padded = torch.nn.functional.pad(field_m[None, None], (2,) * 6, mode="replicate")
    mean = torch.nn.functional.avg_pool3d(torch.nn.functional.avg_pool3d(padded, 3, 1), 3, 1)[0, 0]
    measured, smooth = KEPT_VOXELS
    share = ((depth_voxels + smooth) / (smooth - measured)).clamp(0, 1)
    return share * field_m + (1 - share) * mean


def _closed(field_m: Float[Tensor, "x y z"]) -> Float[Tensor, "x y z"]:
    """Nothing at the border of the grid, no hollow that nobody can reach."""
    field_m = field_m.clone()
    edge = field_m.abs().amax().clamp_min(1e-9)
    for axis in range(3):
        field_m.select(axis, 0).fill_(edge)
        field_m.select(axis, field_m.shape[axis] - 1).fill_(edge)
    field_m = torch.where(enclosed(field_m > 0), -field_m, field_m)
    return torch.where(field_m == 0, 1e-9 * edge, field_m)  # a sample on the surface would make it touch itself


def _share_of_vertices(mesh: TriangleMesh, is_measured: Tensor, grid: Grid) -> float:
    cells = ((mesh.positions_world - grid.origin_world) / grid.spacing_m).round().long()
    x, y, z = cells.clamp_min(0).minimum(torch.tensor(grid.shape, device=cells.device) - 1).unbind(1)
    return float(is_measured[x, y, z].float().mean())
