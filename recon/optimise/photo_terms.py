"""What photographs alone ask of a mesh: one colour per place, and outlines that reach each other."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage, spatial
from torch.nn import functional

from recon import frames
from recon.arrays import Bool, Float, Tensor
from recon.optimise.terms import OutlineTerm
from recon.raster import Fragments, Rasterizer
from recon.remesh import Edges
from recon.scene import CameraBatch, TriangleMesh, View

_COLOUR_WIDTH = 0.15
"""Colours (sRGB, 0..1) that differ by more are different things rather than one thing displaced."""
_MIN_COSINE = 0.1
_HIDDEN_PX = 2.5
"""A point farther behind the drawn surface than this many pixel widths is hidden."""
_MAX_AREA_RATIO = 4.0
"""A face counts by its area, up to this many times the mean."""
_LAYERS = 10
"""Colour, its rise to the right, its rise downwards, and coverage."""


@dataclass(frozen=True)
class PhotometricTerm:
    """Sum over faces of the weighted colour variance between the views that see their middle, linearised.

    Attributes:
        blocks: Second derivatives by the middle's displacement, in colour per metre squared.
        pulls: First derivatives.
        difference: Root mean square of a colour against the mean of its views.
        gains: Factor per view and channel that brings its colours nearest to that mean.
    """

    blocks: Float[Tensor, "f 3 3"]
    pulls: Float[Tensor, "f 3"]
    difference: float
    gains: Float[Tensor, "k 3"]


def resampled(view: View, size_px: tuple[int, int]) -> View:
    """The photograph and its outline at another size (height, width), without depth; the camera stays as it is."""
    if (view.height_px, view.width_px) == size_px:
        return replace(view, depth=None)
    layers = torch.cat([view.image_srgb.movedim(-1, 0), view.foreground_alpha[None]])[None].float()
    mode = "area" if layers.shape[2] > size_px[0] else "bilinear"
    small = functional.interpolate(layers, size_px, mode=mode)[0]
    return replace(view, image_srgb=small[:3].movedim(0, -1), foreground_alpha=small[3], depth=None)


def blurred_layers(views: tuple[View, ...], blur_px: float, device: torch.device) -> Float[Tensor, "k 10 h w"]:
    """Photographs blurred inside their outlines, with their slopes and coverage."""
    return torch.stack([_blurred(view, blur_px).to(device) for view in views])


def _blurred(view: View, blur_px: float) -> Float[Tensor, "10 h w"]:
    alpha = view.foreground_alpha.cpu().numpy()
    cover = ndimage.gaussian_filter(alpha, blur_px)
    channels = [
        ndimage.gaussian_filter(view.image_srgb[..., index].cpu().numpy() * alpha, blur_px) / np.maximum(cover, 1e-3)
        for index in range(3)
    ]
    colour = torch.from_numpy(np.stack(channels))
    rise_y, rise_x = torch.gradient(colour, dim=(1, 2))
    return torch.cat([colour, rise_x, rise_y, view.foreground_alpha[None].cpu()])


def photometric_term(
    mesh: TriangleMesh,
    fragments: Fragments,
    cameras: CameraBatch,
    layers: Float[Tensor, "k 10 h w"],
    raster: Rasterizer,
) -> PhotometricTerm:
    """Compare the photographs with one another at the middle of every face.

    A face seen by several views pulls its middle to where they agree: Gauss-Newton on the difference of each view's
    colour from their mean, weighted by how squarely a view sees the face.
    """
    middles = mesh.positions_world[mesh.faces].mean(1)
    scaled_normals = mesh.scaled_face_normals()
    area = scaled_normals.norm(dim=1)
    pixels_px, depth_z = cameras.project(middles)
    size_px = torch.tensor([cameras.width_px, cameras.height_px], device=middles.device)
    grid = pixels_px / size_px * 2 - 1
    looked_up = functional.grid_sample(layers, grid[:, None], align_corners=False)[:, :, 0].transpose(1, 2)
    rays = functional.normalize(cameras.positions_world[:, None] - middles, dim=2)
    cosine = (rays * (scaled_normals / area.clamp_min(1e-20)[:, None])).sum(2)
    seen = _first_seen(mesh, fragments, cameras, raster, grid, depth_z) & (cosine > _MIN_COSINE)
    seen &= looked_up[..., _LAYERS - 1] > 0.5
    seen &= seen.sum(0) >= 2
    weight = seen * cosine.clamp_min(0) ** 2 * (area / area.mean()).clamp_max(_MAX_AREA_RATIO)
    slope = _colour_slopes(looked_up, cameras, middles)
    total = weight.sum(0).clamp_min(1e-9)
    colour = looked_up[..., :3]
    mean = (weight[..., None] * colour).sum(0) / total[:, None]
    residual = colour - mean
    relative = slope - (weight[..., None, None] * slope).sum(0) / total[:, None, None]
    squared = (residual**2).sum(-1)
    robust = weight / (1 + squared / _COLOUR_WIDTH**2) ** 2
    blocks = torch.einsum("kf,kfca,kfcb->fab", robust, relative, relative)
    pulls = torch.einsum("kf,kfc,kfca->fa", robust, residual, relative)
    difference = float(((weight * squared).sum() / (3 * weight.sum().clamp_min(1e-9))).sqrt())
    gains = ((robust[..., None] * colour * mean).sum(1) + 1e-9) / ((robust[..., None] * colour**2).sum(1) + 1e-9)
    return PhotometricTerm(blocks, pulls, difference, gains)


def _first_seen(
    mesh: TriangleMesh,
    fragments: Fragments,
    cameras: CameraBatch,
    raster: Rasterizer,
    grid: Float[Tensor, "k n 2"],
    depth_z: Float[Tensor, "k n"],
) -> Bool[Tensor, "k n"]:
    """Which points are inside the picture and not hidden behind the drawn mesh."""
    drawn = raster.interpolate(mesh.positions_world, mesh.faces, fragments)
    drawn_z = frames.transform_points(cameras.camera_from_world, drawn.flatten(1, 2))[..., 2].view(drawn.shape[:3])
    drawn_z = torch.where(fragments.hit_mask, drawn_z, drawn_z.new_full((), 1e9))
    first_z = functional.grid_sample(drawn_z[:, None], grid[:, None], mode="nearest", align_corners=False)[:, 0, 0]
    seen: Bool[Tensor, "k n"] = (depth_z < first_z + _HIDDEN_PX * depth_z / cameras.focal_px[:, :1]) & (depth_z > 0)
    return seen & (grid.abs() < 1).all(2)


def _colour_slopes(
    looked_up: Float[Tensor, "k n 10"], cameras: CameraBatch, points_world: Float[Tensor, "n 3"]
) -> Float[Tensor, "k n 3 3"]:
    """Change of each view's colour with the point's displacement in the world."""
    rotation, focal_px = cameras.camera_from_world[:, None, :3, :3], cameras.focal_px[:, None]
    points = frames.transform_points(cameras.camera_from_world, points_world[None])
    z = points[..., 2:].clamp_min(1e-9)
    right = focal_px[..., :1] * (rotation[:, :, 0] - points[..., :1] / z * rotation[:, :, 2]) / z
    down = focal_px[..., 1:] * (rotation[:, :, 1] - points[..., 1:2] / z * rotation[:, :, 2]) / z
    slopes: Tensor = looked_up[..., 3:6, None] * right[..., None, :] + looked_up[..., 6:9, None] * down[..., None, :]
    return slopes


def contour_px(view: View) -> Float[Tensor, "n 2"]:
    """Pixel centres on the photographed outline."""
    mask = (view.foreground_alpha > 0.5).cpu().numpy()
    rows, columns = np.nonzero(mask & ~ndimage.binary_erosion(mask))
    return torch.from_numpy(np.stack([columns, rows], 1) + 0.5).float()


def reaching_term(
    mesh: TriangleMesh,
    edges: Edges,
    fragments: Fragments,
    cameras: CameraBatch,
    contours_px: list[Float[Tensor, "_n 2"]],
    reach_px: float,
) -> OutlineTerm:
    """Draw the mesh's outline to every point of the photographed ones.

    The outline term proper pulls from the mesh, and so never fills what the mesh lacks; here every photographed
    contour point pulls the nearest silhouette edge.
    """
    pixels_px, depth_z = cameras.project(mesh.positions_world)
    corner, scaled_normals = mesh.positions_world[mesh.faces[:, 0]], mesh.scaled_face_normals()
    world_from_camera = frames.invert_rigid(cameras.camera_from_world)
    parts = []
    for view, contour in enumerate(contours_px):
        towards = ((cameras.positions_world[view] - corner) * scaled_normals).sum(1) > 0
        ends = edges.vertices[towards[edges.faces[:, 0]] != towards[edges.faces[:, 1]]]
        ends = ends[_borders_nothing(pixels_px[view][ends].mean(1), fragments.hit_mask[view])]
        if not len(ends) or not len(contour):
            continue
        middle_px = pixels_px[view][ends].mean(1)
        distance, nearest = spatial.cKDTree(middle_px.cpu().numpy()).query(
            contour.numpy(), distance_upper_bound=reach_px
        )
        near = torch.from_numpy(np.flatnonzero(np.isfinite(distance) & (distance > 0.3)))
        chosen = torch.from_numpy(nearest)[near].to(ends.device)
        apart_px = contour[near].to(middle_px) - middle_px[chosen]
        length_px = apart_px.norm(dim=1)
        direction = (apart_px / length_px[:, None]) @ world_from_camera[view, :3, :2].T
        metres_per_px = depth_z[view][ends[chosen]].mean(1) / cameras.focal_px[view].mean()
        weight = (1 - (length_px / reach_px) ** 2).clamp_min(0) ** 2
        parts.append((ends[chosen], direction, -length_px * metres_per_px, weight))
    if not parts:
        none = mesh.positions_world.new_zeros(0)
        return OutlineTerm(edges.vertices[:0], none.view(0, 2), none.view(0, 3), none, none, 0.0)
    ends, directions, residuals, weights = (torch.cat(column) for column in zip(*parts, strict=True))
    cost = float((weights * residuals.abs()).sum() / weights.sum().clamp_min(1e-9))
    return OutlineTerm(ends, torch.full_like(directions[:, :2], 0.5), directions, residuals, weights, cost)


def _borders_nothing(places_px: Float[Tensor, "n 2"], hit_mask: Bool[Tensor, "h w"]) -> Bool[Tensor, " n"]:
    """Which places have undrawn pixels within two pixels."""
    near_nothing = functional.max_pool2d((~hit_mask).float()[None, None], 5, 1, 2)[0, 0] > 0
    height, width = hit_mask.shape
    column, row = places_px.floor().long().unbind(1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return inside & near_nothing[row.clamp(0, height - 1), column.clamp(0, width - 1)]
