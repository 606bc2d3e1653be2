"""How well the views agree: every view's points against every other view's surface and silhouette.

A point of one view that falls on another view's surface gives a point-to-plane distance (projective data association,
Blais and Levine 1995); one that falls outside another view's silhouette gives its distance to that silhouette.  Both
come with derivatives by all unknowns of both views, summed into normal equations without keeping the rows.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

from recon import frames
from recon.arrays import Bool, Float, Tensor
from recon.cameras.rig_state import LOCAL_COUNT, RigState
from recon.cameras.surfaces import Samples, Surface

_FACING_COSINE = 0.5
"""Normals of matched points agree within 60 degrees."""


@dataclass(frozen=True)
class Weighting:
    """How residuals count.

    Attributes:
        width: Residuals beyond this length lose their influence (Geman and McClure 1987).
        silhouette: Weight of a silhouette residual against a depth residual of the same length.
        hidden: Cost, in units of the largest cost, of a point that lies behind the other view's surface.
    """

    width: float
    silhouette: float = 0.2
    hidden: float = 0.3


@dataclass(frozen=True)
class Comparison:
    """All samples against one target view; lengths in world units.

    Attributes:
        residual: Point-to-plane distance where ``on_surface``, distance to the silhouette where ``outside``.
        gradient_target: Derivative of the residual by the point in the target's camera frame.
        target_terms: Derivative by the target's log scale, log focal length and principal point.
        points_target: The samples in the target's camera frame.
        outside_px: Distance to the silhouette in pixels; negative inside.
        on_surface, outside, in_front: What became of each sample; none of them means hidden or unknown.
    """

    residual: Float[Tensor, "k n"]
    gradient_target: Float[Tensor, "k n 3"]
    target_terms: Float[Tensor, "k n 4"]
    points_target: Float[Tensor, "k n 3"]
    outside_px: Float[Tensor, "k n"]
    on_surface: Bool[Tensor, "k n"]
    outside: Bool[Tensor, "k n"]
    in_front: Bool[Tensor, "k n"]


@dataclass(frozen=True)
class Views:
    """Surfaces as maps ready for interpolation, and points drawn from them."""

    surfaces: list[Surface]
    samples: Samples

    def maps(self, target: int) -> Float[Tensor, "5 h w"]:
        """Depth, slopes, usability and silhouette distance of one view."""
        surface = self.surfaces[target]
        usable = surface.usable.to(surface.depth.dtype)
        return torch.stack([surface.depth, surface.slope_x, surface.slope_y, usable, surface.outside_px])


def camera_normals(
    state: RigState, pixels_px: Float[Tensor, "k n 2"], depth: Float[Tensor, "k n"], slopes: Float[Tensor, "k n 2"]
) -> Float[Tensor, "k n 3"]:
    """Unit normals, pointing away from the camera, of surfaces given as depth over pixels."""
    # Gradient of z - D(u(x, y, z)); the depth scale cancels except in the term of z itself.
    relative_slopes = slopes / depth[..., None]
    lateral = -relative_slopes * state.focal_px[:, None]
    axial = 1 + (relative_slopes * (pixels_px - state.principal_px[:, None])).sum(-1, keepdim=True)
    return functional.normalize(torch.cat([lateral, axial], -1), dim=-1)


def compare(state: RigState, views: Views, target: int, reach: float) -> Comparison:
    """Compare every view's samples with one target view.

    Args:
        state: The cameras.
        views: What they show.
        target: Index of the view compared with; its own samples match nothing.
        reach: A point further than this from the surface does not belong to it.
    """
    samples = views.samples
    points = state.points_camera(samples.pixels_px, samples.depth)
    normals = camera_normals(state, samples.pixels_px, samples.depth, samples.slopes)
    target_from_cameras = frames.invert_rigid(state.world_from_camera[target]) @ state.world_from_camera
    points_target = frames.transform_points(target_from_cameras, points)
    normals_target = frames.transform_directions(target_from_cameras, normals)
    z = points_target[..., 2]
    is_ahead = z > 1e-6
    safe_z = torch.where(is_ahead, z, torch.ones_like(z))
    focal_px, principal_px = state.focal_px[target], state.principal_px[target]
    from_principal_px = points_target[..., :2] / safe_z[..., None] * focal_px
    pixels_px = from_principal_px + principal_px
    found = _interpolate(views.maps(target), pixels_px)
    depth, slope_x, slope_y, usable, outside_px = found.unbind(0)
    scale = state.scales[target]
    slopes = torch.stack([slope_x, slope_y], -1)

    lateral = -scale * slopes * focal_px / safe_z[..., None]
    axial = 1 + scale * (slopes * from_principal_px).sum(-1) / safe_z
    gradient = torch.cat([lateral, axial[..., None]], -1)
    length = gradient.norm(dim=-1).clamp_min(1e-9)
    distance = (z - scale * depth) / length
    normal = gradient / length[..., None]
    depth_terms = torch.stack(
        [
            -scale * depth / length,
            -scale * (slopes * from_principal_px).sum(-1) / length,
            -scale * slope_x * focal_px[0] / length,
            -scale * slope_y * focal_px[1] / length,
        ],
        -1,
    )
    away_px, steepness = _distance_slopes(views.surfaces[target], pixels_px, outside_px)
    silhouette_gradient = torch.cat(
        [steepness, -(steepness * points_target[..., :2]).sum(-1, keepdim=True) / safe_z[..., None]], -1
    )
    metres_per_px = safe_z / focal_px.mean()
    silhouette_terms = torch.stack(
        [
            torch.zeros_like(z),
            metres_per_px * (steepness * from_principal_px).sum(-1),
            safe_z * steepness[..., 0],
            safe_z * steepness[..., 1],
        ],
        -1,
    )

    other = torch.ones_like(is_ahead)
    other[target] = False
    known = (usable > 0.999) & (away_px <= 0.5) & is_ahead & other
    facing = (normal * normals_target).sum(-1) > _FACING_COSINE
    on_surface = known & facing & (distance.abs() < reach)
    outside = (away_px > 0) & is_ahead & other & ~on_surface
    in_front = known & (distance <= -reach)
    pick = on_surface[..., None]
    return Comparison(
        residual=torch.where(on_surface, distance, away_px * metres_per_px),
        gradient_target=torch.where(pick, normal, silhouette_gradient),
        target_terms=torch.where(pick, depth_terms, silhouette_terms),
        points_target=points_target,
        outside_px=away_px,
        on_surface=on_surface,
        outside=outside,
        in_front=in_front,
    )


def _interpolate(maps: Float[Tensor, "c h w"], pixels_px: Float[Tensor, "k n 2"]) -> Float[Tensor, "c k n"]:
    """Bilinear values at pixel coordinates; beyond the border, the border's."""
    size_px = torch.tensor([maps.shape[2], maps.shape[1]], dtype=maps.dtype, device=maps.device)
    grid = pixels_px / size_px * 2 - 1
    return functional.grid_sample(maps[None], grid[None], padding_mode="border", align_corners=False)[0]


def _distance_slopes(
    surface: Surface, pixels_px: Float[Tensor, "k n 2"], outside_px: Float[Tensor, "k n"]
) -> tuple[Float[Tensor, "k n"], Float[Tensor, "k n 2"]]:
    """Silhouette distance continued beyond the image border, and its gradient in the image."""
    distance = surface.outside_px
    size_px = torch.tensor([surface.width_px, surface.height_px], dtype=distance.dtype, device=distance.device)
    clamped_px = torch.minimum(pixels_px.clamp_min(0.5), size_px - 0.5)
    beyond_px = pixels_px - clamped_px
    difference_y, difference_x = torch.gradient(distance)
    steepness = _interpolate(torch.stack([difference_x, difference_y]), clamped_px).movedim(0, -1)
    border_px = beyond_px.norm(dim=-1)
    outward = beyond_px / border_px.clamp_min(1e-9)[..., None]
    is_beyond = (border_px > 0)[..., None]
    return outside_px + border_px, torch.where(is_beyond, outward, steepness)


@dataclass(frozen=True)
class Agreement:
    """The robust cost of a rig and, for its improvement, the normal equations in local steps.

    Attributes:
        cost: Mean over all samples and targets, 0 (perfect) to 1.
        hessian, gradient: Gauss-Newton normal equations over (view, local unknown).
    """

    cost: float
    hessian: Float[Tensor, "u u"]
    gradient: Float[Tensor, " u"]


def assemble(state: RigState, views: Views, weighting: Weighting) -> Agreement:
    """Sum the robust normal equations over all ordered pairs of views."""
    count, width = state.count, weighting.width
    size = count * LOCAL_COUNT
    hessian = state.scales.new_zeros(size, size)
    gradient = state.scales.new_zeros(size)
    cost = 0.0
    points = state.points_camera(views.samples.pixels_px, views.samples.depth)
    for target in range(count):
        comparison = compare(state, views, target, 3 * width)
        used = comparison.on_surface | comparison.outside
        strength = torch.where(comparison.on_surface, 1.0, weighting.silhouette)
        ratio = (comparison.residual / width) ** 2
        weights = strength * used / (1 + ratio) ** 2
        cost += _total_cost(comparison, ratio, weighting, target)
        jacobian = _jacobian(state, comparison, points, target)
        weighted = jacobian * weights[..., None]
        blocks = (weighted.transpose(1, 2) @ jacobian).view(count, 2, LOCAL_COUNT, 2, LOCAL_COUNT)
        sums = (weighted.transpose(1, 2) @ comparison.residual[..., None]).view(count, 2, LOCAL_COUNT)
        _scatter(hessian.view(count, LOCAL_COUNT, count, LOCAL_COUNT), blocks, target)
        gradient.view(count, LOCAL_COUNT).add_(sums[:, 0])
        gradient.view(count, LOCAL_COUNT)[target] += sums[:, 1].sum(0)
    pair_count = count * (count - 1) * views.samples.depth.shape[1]
    return Agreement(cost / pair_count, hessian / pair_count, gradient / pair_count)


def measure_cost(state: RigState, views: Views, weighting: Weighting) -> float:
    """The robust cost alone."""
    cost = 0.0
    for target in range(state.count):
        comparison = compare(state, views, target, 3 * weighting.width)
        cost += _total_cost(comparison, (comparison.residual / weighting.width) ** 2, weighting, target)
    return cost / (state.count * (state.count - 1) * views.samples.depth.shape[1])


def _total_cost(comparison: Comparison, ratio: Float[Tensor, "k n"], weighting: Weighting, target: int) -> float:
    robust = ratio / (1 + ratio)
    unmatched = ~(comparison.on_surface | comparison.outside | comparison.in_front)
    costs = robust * comparison.on_surface + weighting.silhouette * robust * comparison.outside
    costs = costs + 1.0 * comparison.in_front + weighting.hidden * unmatched
    return float(costs.sum() - costs[target].sum())


def _jacobian(
    state: RigState, comparison: Comparison, points: Float[Tensor, "k n 3"], target: int
) -> Float[Tensor, "k n 20"]:
    """Derivatives by the source's and the target's ten local unknowns."""
    by_target = comparison.gradient_target
    cameras_from_target = frames.invert_rigid(state.world_from_camera) @ state.world_from_camera[target]
    by_source = frames.transform_directions(cameras_from_target, by_target)
    source = [
        torch.linalg.cross(points, by_source),
        by_source,
        (by_source * points).sum(-1, keepdim=True),
        -(by_source[..., :2] * points[..., :2]).sum(-1, keepdim=True),
        -by_source[..., :2] * points[..., 2:],
    ]
    turned = torch.linalg.cross(comparison.points_target, by_target)
    return torch.cat([*source, -turned, -by_target, comparison.target_terms], -1)


def _scatter(hessian: Float[Tensor, "k a k b"], blocks: Float[Tensor, "k 2 a 2 b"], target: int) -> None:
    sources = torch.arange(blocks.shape[0], device=blocks.device)
    hessian[sources, :, sources, :] += blocks[:, 0, :, 0, :]
    hessian[:, :, target, :] += blocks[:, 0, :, 1, :]
    hessian[target] += blocks[:, 1, :, 0, :].transpose(0, 1)
    hessian[target, :, target, :] += blocks[:, 1, :, 1, :].sum(0)
