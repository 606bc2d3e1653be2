"""What pulls on the mesh: measured depths and outlines, as linearised least-squares terms.

Both follow from rendering the current mesh: the rasteriser says which face each pixel sees and which edges
form the outline; derivatives of the rendered depth and outline with respect to the vertices are exact for
fixed visibility.  Pixels of one face share its normal, so the depth term sums to one 3 x 3 matrix a face and a
solver iteration never touches a pixel.
"""

from dataclasses import dataclass, replace

import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.observations import Observations
from recon.raster import Fragments, Rasterizer
from recon.remesh import Edges
from recon.scene import CameraBatch, TriangleMesh
from recon.sums import SumsByPlace

OUTLINE_WEIGHT = 0.1
"""Weight of an outline sample (three an edge) against a pixel of clean depth, which is no worse than an outline."""

OUTLINE_NOISE_PX, MOST_WEIGHT = 0.2, 100.0
"""Deviation of a photographed outline: against noisy depth it counts by its precision."""

SAMPLED_SHARES = (1 / 6, 1 / 2, 5 / 6)
"""Where along an outline edge it is compared."""

BORDER_STEP_PX = 0.5
"""An edge is part of the outline when nothing is drawn this far outside it."""

INSIDE_PX = 2.5
"""Samples closer to the picture's rim are left out: what lies beyond it nobody knows."""

HIDDEN_PX = 0.1
"""What lies so far inside the outermost edge at its place is no part of the outline."""


@dataclass(frozen=True)
class DepthTerm:
    """Sum over pixels of weight * (normal . (b . displacement) + residual)^2, gathered per face.

    Attributes:
        normals_world: Unit face normals.
        blocks: Sum of weight * b b^T over the face's pixels.
        pulls: Sum of weight * residual_m * b.
        squares_m2: Sum of weight * residual^2 over the face's pixels: what a flat face cannot follow.
        cost: Robust mean of the residuals, metres.
    """

    normals_world: Float[Tensor, "f 3"]
    blocks: Float[Tensor, "f 3 3"]
    pulls: Float[Tensor, "f 3"]
    squares_m2: Float[Tensor, " f"]
    cost: float


@dataclass(frozen=True)
class OutlineTerm:
    """Sum over outline samples of weight * (direction . (b . displacement) + residual)^2.

    Attributes:
        ends: The two vertices of the silhouette edge.
        shares: Weight of either end at the sample.
        directions_world: Unit direction in which the signed distance to the photographed outline grows.
        residuals_m: Signed distance of the sample to the photographed outline, positive outside.
        weights: Robust weights.
        cost: Robust mean of the residuals, metres.
    """

    ends: Int[Tensor, "n 2"]
    shares: Float[Tensor, "n 2"]
    directions_world: Float[Tensor, "n 3"]
    residuals_m: Float[Tensor, " n"]
    weights: Float[Tensor, " n"]
    cost: float


def depth_term(
    mesh: TriangleMesh, fragments: Fragments, observations: Observations, raster: Rasterizer, reach_m: float
) -> DepthTerm:
    """Compare the rendered surface with the measured depths.

    Residuals are perpendicular to the rendered face.  A pixel counts less where the measured and the rendered
    surface are oblique to the ray (their depth is uncertain there) or disagree by more than ``reach_m`` (another
    surface, a flying pixel): Tukey's biweight cuts those off.
    """
    normals_world = mesh.face_normals()
    rendered = raster.interpolate(mesh.positions_world, mesh.faces, fragments)
    usable = fragments.hit_mask & observations.depth_mask & (observations.incidence > 0)
    pixel = torch.nonzero(usable.view(-1)).squeeze(1)

    def at_pixels(pictures: Tensor) -> Tensor:
        return pictures.flatten(0, 2)[pixel]

    face, barycentrics = at_pixels(fragments.face_index), at_pixels(fragments.barycentrics)
    measured, incidence = at_pixels(observations.points_world()), at_pixels(observations.incidence)
    normal = normals_world[face]
    residual_m = ((at_pixels(rendered) - measured) * normal).sum(1)
    view_index = pixel // usable[0].numel()
    rays = torch.nn.functional.normalize(measured - observations.cameras.positions_world[view_index], dim=1)
    facing = -(normal * rays).sum(1)
    agreement = (normal * at_pixels(observations.normals_world)).sum(1)
    weight = _biweight(residual_m, reach_m) * _ramp(facing, 0.05, 0.4) * _ramp(incidence, 0.05, 0.4)
    weight = weight * _ramp(agreement, 0.2, 0.7)
    by_face = SumsByPlace(face, mesh.faces.shape[0])
    blocks = by_face.of(weight[:, None, None] * barycentrics[:, :, None] * barycentrics[:, None])
    pulls = by_face.of((weight * residual_m)[:, None] * barycentrics)
    squares_m2 = by_face.of(weight * residual_m**2)
    cost = float((weight * residual_m.abs()).sum() / weight.sum().clamp_min(1e-9))
    return DepthTerm(normals_world, blocks, pulls, squares_m2, cost)


def outline_term(
    mesh: TriangleMesh, edges: Edges, fragments: Fragments, observations: Observations, reach_m: float
) -> OutlineTerm:
    """Compare the rendered outline with the photographed one.

    Silhouette edges have one face towards and one away from the camera.  Those that border the background (just
    outside them nothing is drawn) are sampled at three points; each is drawn along the gradient of the
    photographed outline's distance map.
    """
    cameras = observations.cameras
    view_index, edge = torch.nonzero(_turning_edges(mesh, edges, cameras)).unbind(1)
    sample_shares = torch.tensor([[1 - share, share] for share in SAMPLED_SHARES], device=edge.device)
    shares = sample_shares.repeat_interleave(edge.shape[0], 0)
    view_index, ends = view_index.repeat(len(SAMPLED_SHARES)), edges.vertices[edge].repeat(len(SAMPLED_SHARES), 1)
    pixels_px, depth_z_m = cameras.project(mesh.positions_world)
    position_px = (pixels_px[view_index[:, None], ends] * shares[..., None]).sum(1)
    z_m = (depth_z_m[view_index[:, None], ends] * shares).sum(1)
    sample = _sample_outline(observations, view_index, position_px, fragments)
    residual_m = sample.distance_px * z_m / cameras.focal_px.mean(1)[view_index]
    kept = torch.nonzero(sample.is_border & (residual_m.abs() < reach_m)).squeeze(1)
    right_and_down = torch.linalg.inv(cameras.camera_from_world)[:, :3, :2]
    directions = (right_and_down[view_index[kept]] @ sample.gradient[kept, :, None])[..., 0]
    residuals = residual_m[kept]
    weights = _outline_weight(observations) * _biweight(residuals, reach_m)
    cost = float((weights * residuals.abs()).sum() / weights.sum().clamp_min(1e-9))
    return OutlineTerm(ends[kept], shares[kept], directions, residuals, weights, cost)


def _turning_edges(mesh: TriangleMesh, edges: Edges, cameras: CameraBatch) -> Bool[Tensor, "k e"]:
    """Edges between a face towards each camera and one away from it; a hollow crease is never an outline."""
    first_corners, scaled_normals = mesh.positions_world[mesh.faces[:, 0]], mesh.scaled_face_normals()
    across = mesh.positions_world[edges.opposite[:, 1]] - mesh.positions_world[edges.vertices[:, 0]]
    is_convex = (across * scaled_normals[edges.faces[:, 0]]).sum(1) < 0
    faces_camera = ((cameras.positions_world[:, None] - first_corners) * scaled_normals).sum(2) > 0
    return is_convex & (faces_camera[:, edges.faces[:, 0]] != faces_camera[:, edges.faces[:, 1]])


def _outline_weight(observations: Observations) -> float:
    """Of a sample, against a pixel of depth."""
    if not observations.has_noise:
        return OUTLINE_WEIGHT
    return min((observations.noise_m / (OUTLINE_NOISE_PX * observations.pixel_m)) ** 2, MOST_WEIGHT)


@dataclass(frozen=True)
class _OutlineSample:
    distance_px: Float[Tensor, " n"]
    gradient: Float[Tensor, "n 2"]
    is_border: Bool[Tensor, " n"]


def _sample_outline(
    observations: Observations, view_index: Int[Tensor, " n"], position_px: Float[Tensor, "n 2"], fragments: Fragments
) -> _OutlineSample:
    """Distance map and its gradient at sub-pixel places, and whether the background begins just outside them."""
    size_px = position_px.new_tensor([observations.cameras.width_px, observations.cameras.height_px])
    distance_px, gradient = _value_and_gradient(observations.silhouette_px, view_index, position_px)
    outwards = torch.nn.functional.normalize(gradient, dim=1)
    # Creases on sides that recede from the camera are silhouette edges too, hidden a little inside the outline;
    # drawn to it they would bulge out to the visual cone.
    drawn, _ = _value_and_gradient(fragments.hit_mask, view_index, position_px + BORDER_STEP_PX * outwards)
    is_inside = ((position_px > INSIDE_PX) & (position_px < size_px - INSIDE_PX)).all(1)
    sample = _OutlineSample(distance_px, outwards, (drawn < 0.5) & is_inside & (gradient.norm(dim=1) > 0.5))
    return replace(sample, is_border=sample.is_border & _is_outermost(sample, view_index, position_px, observations))


def _is_outermost(
    sample: _OutlineSample,
    view_index: Int[Tensor, " n"],
    position_px: Float[Tensor, "n 2"],
    observations: Observations,
) -> Bool[Tensor, " n"]:
    """Whether no other sample at the same place of the photographed outline lies farther out.

    On a rough surface every bump near the outline has silhouette edges of its own.  Drawn to it all of them would
    bulge out to the visual cone.
    """
    count, height, width = observations.silhouette_px.shape
    foot_px = position_px - sample.distance_px[:, None] * sample.gradient
    x, y = foot_px[:, 0].clamp(0, width - 1).long(), foot_px[:, 1].clamp(0, height - 1).long()
    cell = (view_index * height + y) * width + x
    nowhere = torch.full((count * height * width,), -torch.inf, device=cell.device)
    border_px = torch.where(sample.is_border, sample.distance_px, -torch.inf)
    farthest_px = nowhere.scatter_reduce(0, cell, border_px, "amax")
    return sample.distance_px > farthest_px[cell] - HIDDEN_PX


def _value_and_gradient(
    pictures: Float[Tensor, "k h w"] | Bool[Tensor, "k h w"],
    view_index: Int[Tensor, " n"],
    position_px: Float[Tensor, "n 2"],
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 2"]]:
    """Bilinear interpolation of each view's picture and of its central differences; meaningless at the rim."""
    height, width = pictures.shape[1:]
    last = position_px.new_tensor([width - 3, height - 3])
    corner_px = (position_px - 0.5).floor().clamp_min(1).minimum(last)
    x_share, y_share = (position_px - 0.5 - corner_px).unbind(1)
    left, top = corner_px.long().unbind(1)
    steps = torch.arange(-1, 3, device=left.device)
    row, column = top[:, None, None] + steps[:, None], left[:, None, None] + steps
    patch = pictures[view_index[:, None, None], row, column].float()
    slope_x, slope_y = (patch[:, 1:3, 2:] - patch[:, 1:3, :2]) / 2, (patch[:, 2:, 1:3] - patch[:, :2, 1:3]) / 2
    corners = torch.stack([patch[:, 1:3, 1:3], slope_x, slope_y], -1)
    upper, lower = torch.lerp(corners[:, :, 0], corners[:, :, 1], x_share[:, None, None]).unbind(1)
    value, gradient_x, gradient_y = torch.lerp(upper, lower, y_share[:, None]).unbind(1)
    return value, torch.stack([gradient_x, gradient_y], 1)


def _biweight(residual_m: Float[Tensor, " n"], reach_m: float) -> Float[Tensor, " n"]:
    """Tukey's biweight: 1 at zero, 0 beyond the reach."""
    return (1 - (residual_m / reach_m) ** 2).clamp_min(0) ** 2


def _ramp(value: Float[Tensor, " n"], low: float, high: float) -> Float[Tensor, " n"]:
    """0 below ``low``, 1 above ``high``, linear between."""
    return ((value - low) / (high - low)).clamp(0, 1)
