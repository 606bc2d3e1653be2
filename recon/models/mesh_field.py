"""Any triangle soup as a signed distance field: what a generated mesh is made of need not be closed or clean.

Implicit moving least squares (Kolluri 2005): near the surface the field is the mean distance to the tangent planes of
surface points, weighted by how near they are.  Away from it, space that can be reached from the border is outside and
everything else is inside, so small holes, inner walls and self-intersections do not matter.
"""

import torch
from scipy import ndimage

from recon.arrays import Float, Tensor
from recon.geometry.grid import Grid
from recon.scene import TriangleMesh

REACH_VOXELS = 2
"""Samples this many steps from a surface point take its distance into account."""
POINTS_PER_VOXEL_AREA = 3.0
"""Density of the surface points in squared voxel sides."""
MIN_WEIGHT = 1e-3
_CHUNK = 1 << 17


def mesh_field(mesh: TriangleMesh, grid: Grid) -> Float[Tensor, "x y z"]:
    """Signed distance in metres, positive outside, exact within two voxels of the surface and no nearer elsewhere.

    Args:
        mesh: Faces counter-clockwise seen from outside.
        grid: Where to evaluate, on the mesh's device; its border counts as outside.
    """
    positions, normals = _surface_points(mesh, grid.spacing_m)
    total = torch.zeros(grid.shape, device=grid.device).view(-1)
    weight = torch.zeros_like(total)
    for some_positions, some_normals in zip(positions.split(_CHUNK), normals.split(_CHUNK), strict=True):
        _splat(some_positions, some_normals, grid, total, weight)
    far_m = (REACH_VOXELS + 1) * grid.spacing_m
    near = weight > MIN_WEIGHT
    distance = torch.where(near, total / weight.clamp_min(1e-12), far_m).view(grid.shape)
    return _signed_far_away(distance, near.view(grid.shape), far_m)


def _surface_points(mesh: TriangleMesh, spacing_m: float) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Points spread over the faces, at least one each, with unit normals; the same points for the same mesh."""
    scaled = mesh.scaled_face_normals()
    area_m2 = scaled.norm(dim=1) / 2
    count = (area_m2 / spacing_m**2 * POINTS_PER_VOXEL_AREA).ceil().long().clamp(0, 10_000)
    face = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    generator = torch.Generator(device=count.device).manual_seed(0)
    u, v = torch.rand(2, len(face), generator=generator, device=count.device)
    u, v = torch.where(u + v > 1, torch.stack([1 - u, 1 - v]), torch.stack([u, v]))
    corners = mesh.positions_world[mesh.faces[face]]
    positions = corners[:, 0] * (1 - u - v)[:, None] + corners[:, 1] * u[:, None] + corners[:, 2] * v[:, None]
    return positions, torch.nn.functional.normalize(scaled, dim=1, eps=1e-20)[face]


def _splat(
    positions: Float[Tensor, "n 3"],
    normals: Float[Tensor, "n 3"],
    grid: Grid,
    total: Float[Tensor, " s"],
    weight: Float[Tensor, " s"],
) -> None:
    """Add every point's tangent-plane distance to the samples around it."""
    place = (positions - grid.origin_world) / grid.spacing_m
    base = place.floor().long()
    size = torch.tensor(grid.shape, device=base.device)
    steps = torch.arange(1 - REACH_VOXELS, REACH_VOXELS + 1, device=base.device)
    for offset in torch.cartesian_prod(steps, steps, steps):
        cell = base + offset
        inside = ((cell >= 0) & (cell < size)).all(1)
        cell, arm = cell[inside], (cell - place)[inside] * grid.spacing_m
        share = torch.exp(-2 * (arm / grid.spacing_m).square().sum(1))
        flat = (cell[:, 0] * size[1] + cell[:, 1]) * size[2] + cell[:, 2]
        total.index_add_(0, flat, share * (arm * normals[inside]).sum(1))
        weight.index_add_(0, flat, share)


def _signed_far_away(distance_m: Float[Tensor, "x y z"], near: Tensor, far_m: float) -> Float[Tensor, "x y z"]:
    """Far samples are outside when a way leads from them to the border that does not cross the surface's band."""
    open_space = (~near).cpu().numpy()
    open_space[[0, -1]] = open_space[:, [0, -1]] = open_space[:, :, [0, -1]] = True
    labels, _ = ndimage.label(open_space)
    is_outside = torch.from_numpy(labels == labels[0, 0, 0]).to(distance_m.device)
    far = torch.where(is_outside, far_m, -far_m)
    return torch.where(near & ~_border_of(distance_m), distance_m, far)


def _border_of(field: Float[Tensor, "x y z"]) -> Tensor:
    border = torch.ones_like(field, dtype=torch.bool)
    border[1:-1, 1:-1, 1:-1] = False
    return border
