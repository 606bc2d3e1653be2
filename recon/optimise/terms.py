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
from recon.scene import TriangleMesh

OUTLINE_WEIGHT = 0.1
"""Weight of an outline sample (three an edge) against a pixel of clean depth, which is no worse than an outline."""

OUTLINE_NOISE_PX, MOST_WEIGHT = 0.2, 100.0
"""Deviation of a photographed outline: against noisy depth it counts by its precision."""

SAMPLED_SHARES = (1 / 6, 1 / 2, 5 / 6)
"""Where along an outline edge it is compared."""

BORDER_STEP_PX = 0.5
"""An edge is part of the outline when nothing is drawn this far outside it."""

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
    face = fragments.face_index[usable]
    barycentrics = fragments.barycentrics[usable]
    measured = observations.points_world()[usable]
    normal = normals_world[face]
    residual_m = ((rendered[usable] - measured) * normal).sum(1)
    view_index = torch.nonzero(usable)[:, 0]
    rays = torch.nn.functional.normalize(measured - observations.cameras.positions_world[view_index], dim=1)
    facing = -(normal * rays).sum(1)
    agreement = (normal * observations.normals_world[usable]).sum(1)
    weight = (
        _biweight(residual_m, reach_m) * _ramp(facing, 0.05, 0.4) * _ramp(observations.incidence[usable], 0.05, 0.4)
    )
    weight = weight * _ramp(agreement, 0.2, 0.7)
    blocks = torch.zeros(mesh.faces.shape[0], 9, device=face.device)
    blocks.index_add_(0, face, (weight[:, None, None] * barycentrics[:, :, None] * barycentrics[:, None]).flatten(1))
    pulls = torch.zeros(mesh.faces.shape[0], 3, device=face.device)
    pulls.index_add_(0, face, (weight * residual_m)[:, None] * barycentrics)
    squares_m2 = torch.zeros(mesh.faces.shape[0], device=face.device)
    squares_m2.index_add_(0, face, weight * residual_m**2)
    cost = float((weight * residual_m.abs()).sum() / weight.sum().clamp_min(1e-9))
    return DepthTerm(normals_world, blocks.view(-1, 3, 3), pulls, squares_m2, cost)


def outline_term(
    mesh: TriangleMesh, edges: Edges, fragments: Fragments, observations: Observations, reach_m: float
) -> OutlineTerm:
    """Compare the rendered outline with the photographed one.

    Silhouette edges have one face towards and one away from the camera.  Those that border the background (just
    outside them nothing is drawn) are sampled at three points; each is drawn along the gradient of the
    photographed outline's distance map.
    """
    cameras = observations.cameras
    a, b, c = mesh.positions_world[mesh.faces].unbind(1)
    scaled_normals = torch.linalg.cross(b - a, c - a)
    across = mesh.positions_world[edges.opposite[:, 1]] - mesh.positions_world[edges.vertices[:, 0]]
    is_convex = (across * scaled_normals[edges.faces[:, 0]]).sum(1) < 0  # a hollow crease is never an outline
    pixels_px, depth_z_m = cameras.project(mesh.positions_world)
    world_from_camera = torch.linalg.inv(cameras.camera_from_world)
    end_shares = torch.tensor([[1 - share, share] for share in SAMPLED_SHARES], device=a.device)
    parts = []
    for view_index in range(cameras.count):
        towards = ((cameras.positions_world[view_index] - a) * scaled_normals).sum(1) > 0
        is_outline = is_convex & (towards[edges.faces[:, 0]] != towards[edges.faces[:, 1]])
        ends = edges.vertices[is_outline].repeat(len(SAMPLED_SHARES), 1)
        shares = end_shares.repeat_interleave(ends.shape[0] // len(SAMPLED_SHARES), 0)
        position_px = (pixels_px[view_index][ends] * shares[..., None]).sum(1)
        z_m = (depth_z_m[view_index][ends] * shares).sum(1)
        sample = _sample_outline(observations, view_index, position_px, fragments)
        residual_m = sample.distance_px * z_m / cameras.focal_px[view_index].mean()
        keep = sample.is_border & (residual_m.abs() < reach_m)
        direction = sample.gradient @ world_from_camera[view_index, :3, :2].T
        parts.append((ends[keep], shares[keep], direction[keep], residual_m[keep]))
    ends, shares, directions, residuals = (torch.cat(column) for column in zip(*parts, strict=True))
    weights = _outline_weight(observations) * _biweight(residuals, reach_m)
    cost = float((weights * residuals.abs()).sum() / weights.sum().clamp_min(1e-9))
    return OutlineTerm(ends, shares, directions, residuals, weights, cost)


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
    observations: Observations, view_index: int, position_px: Float[Tensor, "n 2"], fragments: Fragments
) -> _OutlineSample:
    """Distance map and its gradient at sub-pixel places, and whether the background begins just outside them."""
    height, width = observations.cameras.height_px, observations.cameras.width_px
    distance_map = observations.silhouette_px[view_index]
    x, y = position_px[:, 0] - 0.5, position_px[:, 1] - 0.5
    inside = (x > 2) & (x < width - 3) & (y > 2) & (y < height - 3)
    left, top = x.clamp(0, width - 2).floor(), y.clamp(0, height - 2).floor()
    share_x, share_y = (x - left)[:, None], (y - top)[:, None]
    corner = (top * width + left).long()
    gradient_y, gradient_x = torch.gradient(distance_map)
    stacked = torch.stack([distance_map, gradient_x, gradient_y], -1).reshape(-1, 3)
    upper = stacked[corner] * (1 - share_x) + stacked[corner + 1] * share_x
    lower = stacked[corner + width] * (1 - share_x) + stacked[corner + width + 1] * share_x
    value = upper * (1 - share_y) + lower * share_y
    gradient = torch.nn.functional.normalize(value[:, 1:], dim=1)
    is_border = _nothing_just_outside(position_px, gradient, fragments.hit_mask[view_index])
    is_border = is_border & inside & (value[:, 1:].norm(dim=1) > 0.5)
    sample = _OutlineSample(value[:, 0], gradient, is_border)
    return replace(sample, is_border=is_border & _is_outermost(sample, position_px, (height, width)))


def _is_outermost(
    sample: _OutlineSample, position_px: Float[Tensor, "n 2"], size_px: tuple[int, int]
) -> Bool[Tensor, " n"]:
    """Whether no other sample at the same place of the photographed outline lies farther out.

    On a rough surface every bump near the outline has silhouette edges of its own.  Drawn to it all of them would
    bulge out to the visual cone.
    """
    height, width = size_px
    foot_px = position_px - sample.distance_px[:, None] * sample.gradient
    x, y = foot_px[:, 0].clamp(0, width - 1).long(), foot_px[:, 1].clamp(0, height - 1).long()
    cell, nowhere = y * width + x, torch.full((height * width,), -torch.inf, device=foot_px.device)
    border_px = torch.where(sample.is_border, sample.distance_px, -torch.inf)
    farthest_px = nowhere.scatter_reduce(0, cell, border_px, "amax")
    return sample.distance_px > farthest_px[cell] - HIDDEN_PX


def _nothing_just_outside(
    position_px: Float[Tensor, "n 2"], outwards: Float[Tensor, "n 2"], hit_mask: Bool[Tensor, "h w"]
) -> Bool[Tensor, " n"]:
    """Whether nothing is drawn half a pixel outside a sample.

    Creases on sides that recede from the camera are silhouette edges too, hidden a little inside the outline;
    drawn to it they would bulge out to the visual cone.
    """
    height, width = hit_mask.shape
    size = torch.tensor([width, height], device=position_px.device)
    places = ((position_px + BORDER_STEP_PX * outwards) / size * 2 - 1)[None, None]
    drawn = torch.nn.functional.grid_sample(hit_mask.float()[None, None], places, align_corners=False)
    return drawn[0, 0, 0] < 0.5


def _biweight(residual_m: Float[Tensor, " n"], reach_m: float) -> Float[Tensor, " n"]:
    """Tukey's biweight: 1 at zero, 0 beyond the reach."""
    return (1 - (residual_m / reach_m) ** 2).clamp_min(0) ** 2


def _ramp(value: Float[Tensor, " n"], low: float, high: float) -> Float[Tensor, " n"]:
    """0 below ``low``, 1 above ``high``, linear between."""
    return ((value - low) / (high - low)).clamp(0, 1)
