"""How well the views agree: every view's points against every other view's surface and silhouette.

A point of one view that falls on another view's surface gives a point-to-plane distance (projective data association,
Blais and Levine 1995); one that falls outside another view's silhouette gives its distance to that silhouette.  Both
come with derivatives by all unknowns of both views.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

from recon import frames
from recon.arrays import Bool, Float, Int, Tensor
from recon.cameras.pixel_maps import PixelMaps, clamp_px, read
from recon.cameras.rig_state import RigState
from recon.cameras.surfaces import Samples, Surface

_FACING_COSINE = 0.5
"""Normals of matched points agree within 60 degrees."""
_ROWS_AT_ONCE = {"cpu": 1 << 14, "cuda": 1 << 17}
"""Points compared in one go: what stays in a processor's cache, or what keeps a GPU busy within 200 MB."""


@dataclass(frozen=True)
class Views:
    """Surfaces, the maps that are interpolated on them, and points drawn from them.

    Attributes:
        maps: Per view: depth, its two slopes, usability, silhouette distance and its two slopes.
    """

    surfaces: tuple[Surface, ...]
    maps: PixelMaps
    samples: Samples


def make_views(surfaces: list[Surface], samples: Samples) -> Views:
    """Stack what is interpolated."""
    maps = []
    for surface in surfaces:
        rise_y, rise_x = torch.gradient(surface.outside_px)
        usable = surface.usable.to(surface.depth.dtype)
        layers = [surface.depth, surface.slope_x, surface.slope_y, usable, surface.outside_px, rise_x, rise_y]
        maps.append(torch.stack(layers))
    return Views(tuple(surfaces), PixelMaps.stacked(maps), samples)


@dataclass(frozen=True)
class Sources:
    """Points that are compared with target views: b sets, from b cameras or placements of a camera.

    Attributes:
        points, normals: In the camera frame of their own view.
        target_from_source: Where their target sees them from.
    """

    points: Float[Tensor, "b n 3"]
    normals: Float[Tensor, "b n 3"]
    target_from_source: Float[Tensor, "b 4 4"]


@dataclass(frozen=True)
class Targets:
    """Views as b sets of points see them, under b assumptions about their depths.

    Attributes:
        maps: As in ``Views``; each of the k views is the target of b / k sets in turn.
        scales, offsets: Depth is ``scale * (code + offset)``.
        focal_px, principal_px: (x, y).
    """

    maps: Float[Tensor, "k 7 h w"]
    scales: Float[Tensor, " b"]
    offsets: Float[Tensor, " b"]
    focal_px: Float[Tensor, "b 2"]
    principal_px: Float[Tensor, "b 2"]


@dataclass(frozen=True)
class Comparison:
    """Samples against target views; lengths in world units.

    Attributes:
        residual: Point-to-plane distance where ``on_surface``, else distance to the silhouette.
        by_point: Derivative of the residual by the point in the target's camera frame.
        by_target: Derivative by the target's log scale, log focal length, principal point and depth offset; None where
            only poses are asked for.
        points: The samples in the target's camera frame.
        pixels_px: Where the target sees them.
        outside_px: Distance to the silhouette in pixels; negative inside.
        facing: Cosine between the normals that source and target measure there.
        on_surface, outside, in_front: What became of each sample; none of them means hidden or unknown.
    """

    residual: Float[Tensor, "b n"]
    by_point: Float[Tensor, "b n 3"]
    by_target: Float[Tensor, "b n 5"] | None
    points: Float[Tensor, "b n 3"]
    pixels_px: Float[Tensor, "b n 2"]
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


@dataclass(frozen=True)
class Pairs:
    """Ordered pairs of different views: for each of some targets in turn, all other views as sources.

    Attributes:
        span: First target and the one after the last.
        sources, targets: Indices of the views.
        target_from_source: Where the target sees the source's points from.
    """

    span: tuple[int, int]
    sources: Int[Tensor, " b"]
    targets: Int[Tensor, " b"]
    target_from_source: Float[Tensor, "b 4 4"]

    @property
    def target_count(self) -> int:
        return self.span[1] - self.span[0]

    def spread(self, by_target: Float[Tensor, " t"]) -> Float[Tensor, " b"]:
        """What holds for a target, for each of its pairs."""
        return by_target.repeat_interleave(len(self.sources) // self.target_count)


def compare_all(
    state: RigState, views: Views, reach: float, *, with_lenses: bool = False
) -> Iterator[tuple[Pairs, Comparison]]:
    """Compare every view's samples with every other view, as many pairs at once as the device likes.

    Args:
        state: The cameras.
        views: What they show.
        reach: A point further than this from the surface does not belong to it.
        with_lenses: Derivatives by the target's own unknowns as well as by poses.
    """
    points = state.points_camera(views.samples.pixels_px, views.samples.depth)
    normals = camera_normals(state, views.samples)
    rows_per_target = max(1, state.count - 1) * points.shape[1]
    most = _ROWS_AT_ONCE[points.device.type] // rows_per_target
    for first, last in views.maps.spans(most):
        pairs = _pairs(state, first, last)
        sources = Sources(points[pairs.sources], normals[pairs.sources], pairs.target_from_source)
        targets = targets_of(state, views, pairs.span, pairs.targets)
        yield pairs, compare_points(sources, targets, reach, with_lenses=with_lenses)


def targets_of(state: RigState, views: Views, span: tuple[int, int], rows: Int[Tensor, " b"]) -> Targets:
    """Views of a rig as targets: those of a span (see ``PixelMaps.spans``), the same number of rows each in turn."""
    fields = (state.scales, state.offsets, state.focal_px, state.principal_px)
    return Targets(views.maps.of(*span), *(field[rows] for field in fields))


def _pairs(state: RigState, first: int, last: int) -> Pairs:
    """All pairs whose target is one of a span of views."""
    device = state.scales.device
    targets = torch.arange(first, last, device=device)[:, None]
    after = torch.arange(state.count - 1, device=device)
    sources = after + (after >= targets)
    sources, targets = sources.flatten(), targets.expand_as(sources).flatten()
    camera_from_world = frames.invert_rigid(state.world_from_camera)
    return Pairs((first, last), sources, targets, camera_from_world[targets] @ state.world_from_camera[sources])


def compare_points(sources: Sources, targets: Targets, reach: float, *, with_lenses: bool = False) -> Comparison:
    """Compare points with target views: on the surface, outside the silhouette, in front of it, or hidden."""
    points = frames.transform_points(sources.target_from_source, sources.points)
    normals = frames.transform_directions(sources.target_from_source, sources.normals)
    is_ahead = points[..., 2] > 1e-6
    z = torch.where(is_ahead, points[..., 2], 1.0)
    from_principal_px = points[..., :2] / z[..., None] * targets.focal_px[:, None]
    pixels_px = from_principal_px + targets.principal_px[:, None]
    found, outside_px, rise = _look_up(targets.maps, pixels_px)
    lines = _Lines(targets, from_principal_px, z)
    distance, normal, surface_terms = lines.to_surface(found, with_lenses)
    width, towards, silhouette_terms = lines.to_silhouette(outside_px, rise, with_lenses)

    known = (found[..., 3] > 0.999) & (outside_px <= 0.5) & is_ahead
    facing = (normal * normals).sum(-1)
    on_surface = known & (facing > _FACING_COSINE) & (distance.abs() < reach)
    pick = on_surface[..., None]
    by_target = None
    if surface_terms is not None and silhouette_terms is not None:
        by_target = torch.where(pick, surface_terms, silhouette_terms)
    return Comparison(
        residual=torch.where(on_surface, distance, width),
        by_point=torch.where(pick, normal, towards),
        by_target=by_target,
        points=points,
        pixels_px=pixels_px,
        outside_px=outside_px,
        facing=facing,
        on_surface=on_surface,
        outside=(outside_px > 0) & is_ahead & ~on_surface,
        in_front=known & (distance <= -reach),
    )


@dataclass(frozen=True)
class _Lines:
    """Points as pixels of their targets, and how far along the axis."""

    targets: Targets
    from_principal_px: Float[Tensor, "b n 2"]
    z: Float[Tensor, "b n"]

    def to_surface(
        self, found: Float[Tensor, "b n 5"], with_lenses: bool
    ) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n 3"], Float[Tensor, "b n 5"] | None]:
        """Signed distance to the target's tangent plane, its normal, and derivatives by the target's own unknowns."""
        scale, focal_px = self.targets.scales[:, None], self.targets.focal_px[:, None]
        depth_z = scale * (found[..., 0] + self.targets.offsets[:, None])
        by_principal = -scale[..., None] * found[..., 1:3] * focal_px
        fall_by_focal = (by_principal / focal_px * self.from_principal_px).sum(-1)
        gradient = torch.cat([by_principal, (self.z - fall_by_focal)[..., None]], -1) / self.z[..., None]
        length = gradient.norm(dim=-1).clamp_min(1e-9)
        distance, normal = (self.z - depth_z) / length, gradient / length[..., None]
        if not with_lenses:
            return distance, normal, None
        parts = [-depth_z[..., None], fall_by_focal[..., None], by_principal, -scale.expand_as(self.z)[..., None]]
        return distance, normal, torch.cat(parts, -1) / length[..., None]

    def to_silhouette(
        self, outside_px: Float[Tensor, "b n"], rise: Float[Tensor, "b n 2"], with_lenses: bool
    ) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n 3"], Float[Tensor, "b n 5"] | None]:
        """Distance to the silhouette at the point's depth, and its derivatives."""
        focal_px = self.targets.focal_px.mean(1)[:, None]
        units_per_px = self.z / focal_px
        by_focal = (rise * self.from_principal_px).sum(-1, keepdim=True)
        distance, towards = outside_px * units_per_px, torch.cat([rise, -by_focal / focal_px[..., None]], -1)
        if not with_lenses:
            return distance, towards, None
        zero = torch.zeros_like(by_focal)
        parts = [zero, by_focal * units_per_px[..., None], rise * self.z[..., None], zero]
        return distance, towards, torch.cat(parts, -1)


def _look_up(
    maps: Float[Tensor, "k 7 h w"], pixels_px: Float[Tensor, "b n 2"]
) -> tuple[Float[Tensor, "b n 5"], Float[Tensor, "b n"], Float[Tensor, "b n 2"]]:
    """Bilinear values at pixel coordinates; the silhouette distance is continued beyond the image border."""
    clamped_px = clamp_px(maps, pixels_px)
    found = read(maps, clamped_px)
    beyond_px = pixels_px - clamped_px
    border_px = beyond_px.norm(dim=-1)
    outward = beyond_px / border_px.clamp_min(1e-9)[..., None]
    rise = torch.where((border_px > 0)[..., None], outward, found[..., 5:7])
    return found[..., :5], found[..., 4] + border_px, rise
