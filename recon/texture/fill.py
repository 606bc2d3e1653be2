"""Colours for what no photograph shows, and for the space between charts.

Unseen surface gets the harmonic extension of its seen neighbours over the mesh, not over the atlas, where
neighbours may lie far away.
"""

import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.scene import TriangleMesh
from recon.texture.texels import Texels, interpolate_corners

GREY_LINEAR = 0.2
"""For an object of which nothing at all is seen."""
_SWEEPS = 300
_TOLERANCE = 1e-4


def fill_unseen(
    mesh: TriangleMesh, texels: Texels, linear: Float[Tensor, "n 3"], is_seen: Bool[Tensor, " n"]
) -> Float[Tensor, "n 3"]:
    """Colours for every texel: the given ones where seen, smooth ones over the surface elsewhere."""
    if not bool(is_seen.any()):
        return torch.full_like(linear, GREY_LINEAR)
    seen, unseen = (torch.nonzero(mask).squeeze(1) for mask in (is_seen, ~is_seen))
    corner, vertex_count = mesh.faces[texels.face[seen]], mesh.positions_world.shape[0]
    vertex_colours, vertex_weight = _splat(corner, texels.barycentrics[seen], linear[seen], vertex_count)
    vertex_colours = _extend_over_mesh(mesh, vertex_colours, vertex_weight > 0)
    smooth = interpolate_corners(vertex_colours, mesh.faces, texels.face[unseen], texels.barycentrics[unseen])
    return linear.index_copy(0, unseen, smooth)


def _splat(
    corner: Int[Tensor, "n 3"], share: Float[Tensor, "n 3"], linear: Float[Tensor, "n 3"], vertex_count: int
) -> tuple[Float[Tensor, "v 3"], Float[Tensor, " v"]]:
    """Mean colour of the seen texels around every vertex."""
    weight = linear.new_zeros(vertex_count)
    summed = linear.new_zeros(vertex_count, 3)
    for index in range(3):
        weight = weight.index_add(0, corner[:, index], share[:, index])
        summed = summed.index_add(0, corner[:, index], share[:, index, None] * linear)
    return summed / weight.clamp_min(1e-20)[:, None], weight


def _extend_over_mesh(
    mesh: TriangleMesh, colours: Float[Tensor, "v 3"], is_known: Bool[Tensor, " v"]
) -> Float[Tensor, "v 3"]:
    """Solve the graph Laplace equation for the unknown vertices (conjugate gradients, inverse edge lengths)."""
    edges = torch.cat([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    edges = torch.cat([edges, edges.flip(1)])
    length_m = (mesh.positions_world[edges[:, 0]] - mesh.positions_world[edges[:, 1]]).norm(dim=1)
    stiffness = 1 / length_m.clamp_min(float(length_m.mean()) * 1e-2)
    stiffness = stiffness / stiffness.mean()
    diagonal = stiffness.new_zeros(colours.shape[0]).index_add(0, edges[:, 0], stiffness)
    mean = colours[is_known].mean(0)
    start = torch.where(is_known[:, None], colours, mean)
    free = (~is_known & (diagonal > 0))[:, None].to(colours.dtype)

    def laplacian(values: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        pulled = torch.zeros_like(values).index_add(0, edges[:, 0], stiffness[:, None] * values[edges[:, 1]])
        bent: Tensor = (diagonal[:, None] * values - pulled) * free
        return bent

    residual = -laplacian(start)
    scale = diagonal.clamp_min(1e-20)[:, None]
    direction = residual / scale
    energy = (residual * direction).sum(0)
    goal = energy * _TOLERANCE**2
    solution = start
    for _ in range(_SWEEPS):
        image = laplacian(direction)
        step = energy / (direction * image).sum(0).clamp_min(1e-30)
        solution = solution + step * direction
        residual = residual - step * image
        preconditioned = residual / scale
        energy_next = (residual * preconditioned).sum(0)
        if bool((energy_next <= goal).all()):
            break
        direction = preconditioned + energy_next / energy.clamp_min(1e-30) * direction
        energy = energy_next
    return solution


def push_pull(picture: Float[Tensor, "h w c"], weight: Float[Tensor, "h w"]) -> Float[Tensor, "h w c"]:
    """Fill where the weight is zero from ever coarser averages (Gortler et al. 1996, section 3.4)."""
    values = (picture * weight[..., None]).permute(2, 0, 1)[None]
    levels = [(values, weight[None, None])]
    while min(levels[-1][1].shape[-2:]) > 1:
        values, mass = levels[-1]
        values = torch.nn.functional.avg_pool2d(values, 2, ceil_mode=True) * 4
        mass = torch.nn.functional.avg_pool2d(mass, 2, ceil_mode=True) * 4
        saturation = 1 / mass.clamp_min(1)
        levels.append((values * saturation, mass * saturation))
    filled = levels[-1][0] / levels[-1][1].clamp_min(1e-20)
    for values, mass in reversed(levels[:-1]):
        coarse = torch.nn.functional.interpolate(filled, size=values.shape[-2:], mode="bilinear", align_corners=False)
        filled = torch.where(mass > 0, values + (1 - mass.clamp_max(1)) * coarse, coarse)
        filled = torch.where(mass >= 1, values / mass.clamp_min(1e-20), filled)
    return filled[0].permute(1, 2, 0)
