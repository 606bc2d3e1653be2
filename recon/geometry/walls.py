"""How thick walls are, where both of their sides were seen."""

import torch

from recon.arrays import Float, Tensor
from recon.geometry.fusion import CHUNK_SAMPLES, fuse
from recon.observations import Observations

WALL_SHARE, ASKED_POINTS, STEPS = 0.05, 10_000, 8
"""Share of the measured points that must lie on thin walls, how many are asked, and at how many depths behind them."""


def thin_wall_m(observations: Observations, longest_m: float) -> float:
    """Median thickness of walls below ``longest_m`` that both sides were seen of; +inf where there are hardly any."""
    points = observations.points_world()[observations.depth_mask]
    normals = observations.normals_world[observations.depth_mask]
    has_normal = torch.nonzero(normals.norm(dim=1) > 0.5).squeeze(1)
    chosen = has_normal[:: max(1, len(has_normal) // ASKED_POINTS)]
    step_m = longest_m / STEPS
    thickness_m = wall_thickness_m(observations, points[chosen], normals[chosen], longest_m, step_m)
    is_thin = torch.isfinite(thickness_m) & (thickness_m > step_m)  # others stray outside the surface by noise
    if int(is_thin.sum()) <= WALL_SHARE * len(chosen):
        return torch.inf
    return float(thickness_m[is_thin].median())


def wall_thickness_m(
    observations: Observations,
    points_world: Float[Tensor, "n 3"],
    normals_world: Float[Tensor, "n 3"],
    longest_m: float,
    step_m: float,
) -> Float[Tensor, " n"]:
    """How far behind each point of a surface free space begins; +inf for no free space within ``longest_m``."""
    depths_m = torch.arange(step_m, longest_m, step_m, device=points_world.device)[:, None]
    if len(depths_m) == 0:
        return torch.full_like(points_world[:, 0], torch.inf)
    count = max(1, CHUNK_SAMPLES // len(depths_m))
    chunks = zip(points_world.split(count), normals_world.split(count), strict=True)
    return torch.cat([_first_free_m(observations, points, normals, depths_m) for points, normals in chunks])


def _first_free_m(
    observations: Observations,
    points_world: Float[Tensor, "n 3"],
    normals_world: Float[Tensor, "n 3"],
    depths_m: Float[Tensor, "d 1"],
) -> Float[Tensor, " n"]:
    """All depths at once: a GPU takes as long for one of them."""
    behind = points_world - depths_m[..., None] * normals_world
    distance_m = fuse(observations, behind.view(-1, 3), 0.0).distance_m.view(behind.shape[:2])
    is_out = distance_m > 0
    begins_m = depths_m - distance_m.clamp_min(0).minimum(depths_m)
    first_m = begins_m.gather(0, is_out.int().argmax(0, keepdim=True))[0]
    return torch.where(is_out.any(0), first_m, torch.inf)
