"""Colours for what no photograph shows, and for the space between charts.

Colours are carried on over the mesh, not over the atlas, where neighbours may lie far away, and with the least total
variation (Rudin et al. 1992): what nobody saw has few colours that meet in short borders.  A harmonic extension mixes
them instead, and in linear light a bright jaw tints all of the dark cavity behind it.
"""

import torch

from recon import colour
from recon.arrays import Bool, Float, Int, Tensor
from recon.scene import TriangleMesh
from recon.sums import SumsByPlace
from recon.texture.texels import Texels, interpolate_corners

GREY_LINEAR = 0.2
"""For an object of which nothing at all is seen."""
_ROUNDS, _SMALL_DIFFERENCE = 4, 0.02
"""Reweighted least squares: differences below this (sRGB, 0..1) along an edge count squared."""
_SWEEPS = 300
_TOLERANCE = 1e-2
"""Of a round's residual.  After four rounds colours are 0.002 from those of twelve exact ones."""


def fill_unseen(
    mesh: TriangleMesh, texels: Texels, linear: Float[Tensor, "n 3"], is_seen: Bool[Tensor, " n"]
) -> Float[Tensor, "n 3"]:
    """Colours for every texel: the given ones where seen, what their neighbours carry on elsewhere."""
    if not bool(is_seen.any()):
        return torch.full_like(linear, GREY_LINEAR)
    seen, unseen = (torch.nonzero(mask).squeeze(1) for mask in (is_seen, ~is_seen))
    corner, vertex_count = mesh.faces[texels.face[seen]], mesh.positions_world.shape[0]
    vertex_colours, vertex_weight = _splat(corner, texels.barycentrics[seen], linear[seen], vertex_count)
    vertex_srgb = colour.srgb_from_linear(vertex_colours.clamp(0, 1))
    vertex_srgb = _extend_over_mesh(mesh, vertex_srgb, vertex_weight > 0)
    vertex_colours = colour.linear_from_srgb(vertex_srgb.clamp(0, 1))
    smooth = interpolate_corners(vertex_colours, mesh.faces, texels.face[unseen], texels.barycentrics[unseen])
    return linear.index_copy(0, unseen, smooth)


def _splat(
    corner: Int[Tensor, "n 3"], share: Float[Tensor, "n 3"], linear: Float[Tensor, "n 3"], vertex_count: int
) -> tuple[Float[Tensor, "v 3"], Float[Tensor, " v"]]:
    """Mean colour of the seen texels around every vertex."""
    by_vertex = SumsByPlace(corner.T.reshape(-1), vertex_count)
    weight = by_vertex.of(share.T.reshape(-1))
    summed = by_vertex.of((share.T[..., None] * linear).flatten(0, 1))
    return summed / weight.clamp_min(1e-20)[:, None], weight


def _extend_over_mesh(
    mesh: TriangleMesh, colours: Float[Tensor, "v 3"], is_known: Bool[Tensor, " v"]
) -> Float[Tensor, "v 3"]:
    """Give the other vertices the colours that vary least in total along edges."""
    edges = torch.cat([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    edges = torch.cat([edges, edges.flip(1)])
    length_m = (mesh.positions_world[edges[:, 0]] - mesh.positions_world[edges[:, 1]]).norm(dim=1)
    weight = 1 / length_m.clamp_min(float(length_m.mean()) * 1e-2)
    solution = torch.where(is_known[:, None], colours, colours[is_known].mean(0))
    for _ in range(_ROUNDS):
        solution = _least_squares(solution, edges, weight / weight.mean(), is_known)
        weight = 1 / ((solution[edges[:, 0]] - solution[edges[:, 1]]).norm(dim=1) + _SMALL_DIFFERENCE)
    return solution


def _least_squares(
    start: Float[Tensor, "v 3"], edges: Int[Tensor, "e 2"], weight: Float[Tensor, " e"], is_known: Bool[Tensor, " v"]
) -> Float[Tensor, "v 3"]:
    """Solve the weighted graph Laplace equation for the unknown vertices (conjugate gradients)."""
    by_end = SumsByPlace(edges[:, 0], start.shape[0])
    diagonal = by_end.of(weight)
    free = (~is_known & (diagonal > 0))[:, None].to(start.dtype)

    def laplacian(values: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        pulled = by_end.of(weight[:, None] * values[edges[:, 1]])
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
