"""Points of the views with a description of their surroundings that every view of the same place shares.

Depth makes the support of a description a ball of the object itself instead of a disc of the picture, so that neither
distance nor obliqueness changes it: colours and bending of the surface in shells around the point.
"""

import itertools
from dataclasses import dataclass

import torch
from torch.nn import functional

from recon.arrays import Float, Int, Tensor
from recon.cameras.agreement import Views, camera_normals
from recon.cameras.pixel_maps import read
from recon.cameras.rig_state import RigState

_SHELLS = (0.0, 0.12, 0.25, 0.45)
"""Bounds of the shells in units of the object's radius."""
_HEIGHT_WEIGHT, _TURN_WEIGHT = 1.4, 0.2
"""Of heights over the tangent plane (in radii) and of cosines between normals, against colour (sRGB, 0..1)."""
_ALTERNATIVES = 2
"""Matches kept for each patch, in both directions: the right one is often the second."""


@dataclass(frozen=True)
class Colours:
    """What the photographs show, sRGB 0..1.

    Attributes:
        maps: Per view, on the grid of its surface.
        at_samples: At every view's samples.
    """

    maps: tuple[Float[Tensor, "3 _h _w"], ...]
    at_samples: Float[Tensor, "k m 3"]

    def look_up(self, view: int, pixels_px: Float[Tensor, "b n 2"]) -> Float[Tensor, "b n 3"]:
        """Bilinear colours of one view at pixel coordinates, clamped at the border."""
        return read(self.maps[view][None], pixels_px)


def gather_colours(images_srgb: list[Float[Tensor, "_h _w 3"]], views: Views) -> Colours:
    """The photographs on the grids of the views' surfaces, and their colours at the samples."""
    maps = []
    for image, surface in zip(images_srgb, views.surfaces, strict=True):
        size = (surface.height_px, surface.width_px)
        shrunk = functional.interpolate(image.movedim(-1, 0)[None], size, mode="area")[0]
        maps.append(shrunk.to(surface.depth))
    pixels_px = views.samples.pixels_px
    at_samples = [read(picture[None], places[None]) for picture, places in zip(maps, pixels_px, strict=True)]
    return Colours(tuple(maps), torch.cat(at_samples))


@dataclass(frozen=True)
class Patches:
    """Oriented points of all views.

    Attributes:
        points, normals: In the camera frame of their view.
        descriptors: Compared by Euclidean distance.
        radius: Root mean square distance of a view's points from their centre, median over the views.
    """

    points: Float[Tensor, "k n 3"]
    normals: Float[Tensor, "k n 3"]
    descriptors: Float[Tensor, "k n d"]
    radius: float


def describe_patches(state: RigState, views: Views, colours: Float[Tensor, "k m 3"], count: int) -> Patches:
    """Describe the first ``count`` samples of every view by all its samples.

    Args:
        state: Focal lengths and depth scales; where the cameras stand does not matter.
        views: With samples in random order.
        colours: What the photographs show at the samples.
        count: Patches a view.
    """
    points = state.points_camera(views.samples.pixels_px, views.samples.depth)
    normals = -camera_normals(state, views.samples)
    centred = points - points.mean(1, keepdim=True)
    radius = float((centred**2).sum(-1).mean(-1).sqrt().median())
    parts = [
        _describe(view_points, view_normals, view_colours, count, radius)
        for view_points, view_normals, view_colours in zip(points, normals, colours, strict=True)
    ]
    return Patches(points[:, :count], normals[:, :count], torch.stack(parts), radius)


def _describe(
    points: Float[Tensor, "m 3"],
    normals: Float[Tensor, "m 3"],
    colours: Float[Tensor, "m 3"],
    count: int,
    radius: float,
) -> Float[Tensor, "n d"]:
    apart = points[None] - points[:count, None]
    distance = apart.norm(dim=-1) / radius
    height = (apart * normals[:count, None]).sum(-1) / radius
    turn = normals[:count] @ normals.T
    columns = []
    for inner, outer in itertools.pairwise(_SHELLS):
        inside = ((distance >= inner) & (distance < outer)).to(points.dtype)
        total = inside.sum(1, keepdim=True).clamp_min(1)
        mean_colour = inside @ colours / total
        spread = (inside @ colours**2 / total - mean_colour**2).clamp_min(0).sqrt()
        bend = torch.stack([_HEIGHT_WEIGHT * (inside * height).sum(1), _TURN_WEIGHT * (inside * turn).sum(1)], 1)
        columns += [mean_colour, spread, bend / total]
    return torch.cat(columns, 1)


def match_patches(first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Int[Tensor, "c 2"]:
    """Candidate correspondences: the nearest few of every patch, in both directions, the most alike first."""
    apart = torch.cdist(first, second)
    forward = apart.topk(_ALTERNATIVES, 1, largest=False).indices
    backward = apart.topk(_ALTERNATIVES, 0, largest=False).indices
    rows = torch.arange(first.shape[0], device=first.device)
    columns = torch.arange(second.shape[0], device=first.device)
    pairs = [torch.stack([rows, forward[:, rank]], 1) for rank in range(_ALTERNATIVES)]
    pairs += [torch.stack([backward[rank], columns], 1) for rank in range(_ALTERNATIVES)]
    distinct: Tensor = torch.unique(torch.cat(pairs), dim=0)
    order = apart[distinct[:, 0], distinct[:, 1]].argsort()
    return distinct[order[: 2 * first.shape[0]]]


def rigid_from_pairs(
    source: tuple[Float[Tensor, "h 2 3"], Float[Tensor, "h 2 3"]],
    target: tuple[Float[Tensor, "h 2 3"], Float[Tensor, "h 2 3"]],
) -> Float[Tensor, "h 4 4"]:
    """The motions that carry two oriented points each onto two others (Drost et al. 2010 use one pair alike)."""
    source_frame, source_middle = _pair_frame(*source)
    target_frame, target_middle = _pair_frame(*target)
    motion = torch.eye(4, dtype=source_frame.dtype, device=source_frame.device).repeat(len(source_frame), 1, 1)
    motion[:, :3, :3] = target_frame @ source_frame.transpose(1, 2)
    motion[:, :3, 3] = target_middle - (motion[:, :3, :3] @ source_middle[..., None]).squeeze(-1)
    return motion


def _pair_frame(
    points: Float[Tensor, "h 2 3"], normals: Float[Tensor, "h 2 3"]
) -> tuple[Float[Tensor, "h 3 3"], Float[Tensor, "h 3"]]:
    """Axes as columns: along the pair, along the mean normal, across both."""
    along = functional.normalize(points[:, 1] - points[:, 0], dim=-1)
    mean_normal = normals.sum(1)
    upright = functional.normalize(mean_normal - (mean_normal * along).sum(-1, keepdim=True) * along, dim=-1)
    return torch.stack([along, upright, torch.linalg.cross(along, upright)], -1), points.mean(1)
