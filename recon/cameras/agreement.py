"""How well the views agree: every view's points against every other view's surface and silhouette.

A point of one view that falls on another view's surface gives a point-to-plane distance (projective data association,
Blais and Levine 1995); one that falls outside another view's silhouette gives its distance to that silhouette.  Both
come with derivatives by all unknowns of both views.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

from recon import frames
from recon.arrays import Bool, Float, Tensor
from recon.cameras.rig_state import RigState
from recon.cameras.surfaces import Samples, Surface

_FACING_COSINE = 0.5
"""Normals of matched points agree within 60 degrees."""


@dataclass(frozen=True)
class Views:
    """Surfaces, the maps that are interpolated on them, and points drawn from them.

    Attributes:
        maps: Per view: depth, its two slopes, usability, silhouette distance and its two slopes.
    """

    surfaces: tuple[Surface, ...]
    maps: tuple[Float[Tensor, "7 _h _w"], ...]
    samples: Samples


def make_views(surfaces: list[Surface], samples: Samples) -> Views:
    """Stack what is interpolated."""
    maps = []
    for surface in surfaces:
        rise_y, rise_x = torch.gradient(surface.outside_px)
        usable = surface.usable.to(surface.depth.dtype)
        layers = [surface.depth, surface.slope_x, surface.slope_y, usable, surface.outside_px, rise_x, rise_y]
        maps.append(torch.stack(layers))
    return Views(tuple(surfaces), tuple(maps), samples)


@dataclass(frozen=True)
class Sources:
    """Points that are compared with one target view, from b cameras or placements of a camera.

    Attributes:
        points, normals: In the camera frame of their own view.
        target_from_source: Where the target sees them from.
    """

    points: Float[Tensor, "b n 3"]
    normals: Float[Tensor, "b n 3"]
    target_from_source: Float[Tensor, "b 4 4"]


@dataclass(frozen=True)
class Target:
    """One view as the others see it, under b assumptions about its depth.

    Attributes:
        maps: As in ``Views``.
        scales, offsets: Depth is ``scale * (code + offset)``.
        focal_px, principal_px: (x, y).
    """

    maps: Float[Tensor, "7 h w"]
    scales: Float[Tensor, " b"]
    offsets: Float[Tensor, " b"]
    focal_px: Float[Tensor, " 2"]
    principal_px: Float[Tensor, " 2"]


@dataclass(frozen=True)
class Comparison:
    """Samples against one target view; lengths in world units.

    Attributes:
        residual: Point-to-plane distance where ``on_surface``, else distance to the silhouette.
        by_point: Derivative of the residual by the point in the target's camera frame.
        by_target: Derivative by the target's log scale, log focal length, principal point and depth offset.
        points: The samples in the target's camera frame.
        outside_px: Distance to the silhouette in pixels; negative inside.
        facing: Cosine between the normals that source and target measure there.
        on_surface, outside, in_front: What became of each sample; none of them means hidden or unknown.
    """

    residual: Float[Tensor, "b n"]
    by_point: Float[Tensor, "b n 3"]
    by_target: Float[Tensor, "b n 5"]
    points: Float[Tensor, "b n 3"]
    outside_px: Float[Tensor, "b n"]
    facing: Float[Tensor, "b n"]
    on_surface: Bool[Tensor, "b n"]
    outside: Bool[Tensor, "b n"]
    in_front: Bool[Tensor, "b n"]


def camera_normals(state: RigState, samples: Samples) -> Float[Tensor, "k n 3"]:
    """Unit normals of the samples, pointing away from their camera, under the state's intrinsics."""
    # Gradient of z - D(u(x, y, z)): the depth scale cancels.
    relative_slopes = samples.slopes / (samples.depth + state.offsets[:, None])[..., None]
    lateral = -relative_slopes * state.focal_px[:, None]
    axial = 1 + (relative_slopes * (samples.pixels_px - state.principal_px[:, None])).sum(-1, keepdim=True)
    return functional.normalize(torch.cat([lateral, axial], -1), dim=-1)


def sources_for(state: RigState, samples: Samples, target: int) -> Sources:
    """Every view's samples, as the target sees them."""
    target_from_cameras = frames.invert_rigid(state.world_from_camera[target]) @ state.world_from_camera
    points = state.points_camera(samples.pixels_px, samples.depth)
    return Sources(points, camera_normals(state, samples), target_from_cameras)


def target_of(state: RigState, views: Views, target: int) -> Target:
    """One view of a rig as a target for all."""
    count = state.count
    return Target(
        views.maps[target],
        state.scales[target].expand(count),
        state.offsets[target].expand(count),
        state.focal_px[target],
        state.principal_px[target],
    )


def compare(state: RigState, views: Views, target: int, reach: float) -> Comparison:
    """Compare every view's samples with one target view; the target's own samples match trivially.

    Args:
        state: The cameras.
        views: What they show.
        target: Index of the view compared with.
        reach: A point further than this from the surface does not belong to it.
    """
    return compare_points(sources_for(state, views.samples, target), target_of(state, views, target), reach)


def compare_points(sources: Sources, target: Target, reach: float) -> Comparison:
    """Compare points with a target view: on its surface, outside its silhouette, in front of it, or hidden."""
    points = frames.transform_points(sources.target_from_source, sources.points)
    normals = frames.transform_directions(sources.target_from_source, sources.normals)
    is_ahead = points[..., 2] > 1e-6
    z = torch.where(is_ahead, points[..., 2], 1.0)
    from_principal_px = points[..., :2] / z[..., None] * target.focal_px
    found, outside_px, rise = _look_up(target.maps, from_principal_px + target.principal_px)
    distance, normal, surface_terms = _surface_residual(target, found, from_principal_px, z)
    width, towards, silhouette_terms = _silhouette_residual(target, outside_px, rise, from_principal_px, z)

    known = (found[..., 3] > 0.999) & (outside_px <= 0.5) & is_ahead
    facing = (normal * normals).sum(-1)
    on_surface = known & (facing > _FACING_COSINE) & (distance.abs() < reach)
    pick = on_surface[..., None]
    return Comparison(
        residual=torch.where(on_surface, distance, width),
        by_point=torch.where(pick, normal, towards),
        by_target=torch.where(pick, surface_terms, silhouette_terms),
        points=points,
        outside_px=outside_px,
        facing=facing,
        on_surface=on_surface,
        outside=(outside_px > 0) & is_ahead & ~on_surface,
        in_front=known & (distance <= -reach),
    )


def _surface_residual(
    target: Target,
    found: Float[Tensor, "b n 5"],
    from_principal_px: Float[Tensor, "b n 2"],
    z: Float[Tensor, "b n"],
) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n 3"], Float[Tensor, "b n 5"]]:
    """Signed distance to the target's tangent plane, its normal, and derivatives by the target's own unknowns."""
    scale = target.scales[:, None]
    depth_z = scale * (found[..., 0] + target.offsets[:, None])
    slopes = scale[..., None] * found[..., 1:3]
    lateral = -slopes * target.focal_px / z[..., None]
    rise_by_focal = (slopes * from_principal_px).sum(-1)
    gradient = torch.cat([lateral, (1 + rise_by_focal / z)[..., None]], -1)
    length = gradient.norm(dim=-1).clamp_min(1e-9)
    by_principal = -slopes * target.focal_px
    terms = torch.cat(
        [-depth_z[..., None], -rise_by_focal[..., None], by_principal, -scale.expand_as(z)[..., None]], -1
    )
    return (z - depth_z) / length, gradient / length[..., None], terms / length[..., None]


def _silhouette_residual(
    target: Target,
    outside_px: Float[Tensor, "b n"],
    rise: Float[Tensor, "b n 2"],
    from_principal_px: Float[Tensor, "b n 2"],
    z: Float[Tensor, "b n"],
) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n 3"], Float[Tensor, "b n 5"]]:
    """Distance to the silhouette at the point's depth, and its derivatives."""
    units_per_px = z / target.focal_px.mean()
    by_focal = (rise * from_principal_px).sum(-1, keepdim=True)
    towards = torch.cat([rise, -by_focal / target.focal_px.mean()], -1)
    zero = torch.zeros_like(by_focal)
    terms = torch.cat([zero, by_focal * units_per_px[..., None], rise * z[..., None], zero], -1)
    return outside_px * units_per_px, towards, terms


def _look_up(
    maps: Float[Tensor, "7 h w"], pixels_px: Float[Tensor, "b n 2"]
) -> tuple[Float[Tensor, "b n 5"], Float[Tensor, "b n"], Float[Tensor, "b n 2"]]:
    """Bilinear values at pixel coordinates; the silhouette distance is continued beyond the image border."""
    size_px = torch.tensor([maps.shape[2], maps.shape[1]], dtype=maps.dtype, device=maps.device)
    clamped_px = torch.minimum(pixels_px.clamp_min(0.5), size_px - 0.5)
    grid = clamped_px / size_px * 2 - 1
    found = functional.grid_sample(maps[None], grid[None], align_corners=False)[0].movedim(0, -1)
    beyond_px = pixels_px - clamped_px
    border_px = beyond_px.norm(dim=-1)
    outward = beyond_px / border_px.clamp_min(1e-9)[..., None]
    rise = torch.where((border_px > 0)[..., None], outward, found[..., 5:7])
    return found[..., :5], found[..., 4] + border_px, rise
