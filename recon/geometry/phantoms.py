"""Pieces that no view ever saw: leftovers of hidden space, such as the dark behind the hole of a ring.

Space that every view has something in front of could be full or empty.  Where it touches the object, the fill closes
the object through it; where it floats on its own, an object that nobody saw is no object.
"""

import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.geometry.fusion import view_distances
from recon.observations import Observations
from recon.remesh import face_components, select_faces
from recon.scene import TriangleMesh

NEAR_VOXELS = 1.5
"""A vertex is seen when a view measured a surface within this distance of it."""

HOLE_PX = 3.0
"""Where a view measured nothing, a vertex may be what it shows, if it lies so far inside the outline: the rims of
hidden space project to the rims of what hides it, where depth is often missing."""

MIN_SEEN_SHARE = 0.2
"""A real piece shows a side of itself; hidden space touches what was seen at a few rims only."""


def drop_phantoms(mesh: TriangleMesh, observations: Observations, voxel_m: float) -> TriangleMesh:
    """Drop the pieces of which no view saw a fair share; the one that was seen most always stays.

    Args:
        mesh: Closed pieces.
        observations: Without any depth nothing tells what was seen, and the mesh is returned as it is.
        voxel_m: Spacing of the grid that the pieces were extracted from.
    """
    if not observations.has_depth or mesh.faces.shape[0] == 0:
        return mesh
    labels = face_components(mesh.faces, mesh.positions_world.shape[0])
    if int(labels.max()) == 0:
        return mesh
    seen_corners = seen_vertices(mesh.positions_world, observations, voxel_m)[mesh.faces].float().sum(1)
    seen_count = _sum_by_piece(seen_corners, labels)
    share = seen_count / _sum_by_piece(torch.full_like(seen_corners, 3.0), labels).clamp_min(1)
    keep = (share >= MIN_SEEN_SHARE) | (seen_count == seen_count.max())
    return select_faces(mesh, keep[labels])


def seen_vertices(
    positions_world: Float[Tensor, "n 3"], observations: Observations, voxel_m: float
) -> Bool[Tensor, " n"]:
    """Which places a view measured a surface at, or may show where it measured nothing."""
    pixels_px, depth_z_m = observations.cameras.project(positions_world)
    seen = torch.zeros_like(depth_z_m[0], dtype=torch.bool)
    for view in range(observations.cameras.count):
        surface_m, outline_m = view_distances(observations, view, pixels_px[view], depth_z_m[view])
        metres_per_px = depth_z_m[view] / observations.cameras.focal_px[view].mean()
        is_unmeasured = torch.isinf(surface_m) & torch.isfinite(outline_m)
        seen |= (surface_m.abs() < NEAR_VOXELS * voxel_m) | (is_unmeasured & (outline_m < -HOLE_PX * metres_per_px))
    return seen


def _sum_by_piece(values: Float[Tensor, " f"], labels: Int[Tensor, " f"]) -> Float[Tensor, " c"]:
    return torch.zeros(int(labels.max()) + 1, device=values.device).index_add_(0, labels, values)
