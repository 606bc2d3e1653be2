"""From a capture's views to surfaces, samples and camera unknowns, and back."""

from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from recon.arrays import Float, Tensor
from recon.cameras.agreement import Views
from recon.cameras.rig_state import RigState
from recon.cameras.surfaces import Surface, make_surface
from recon.contour import contour_distances_px
from recon.scene import Camera, Capture, DepthMap, Intrinsics, View

MIN_SURFACE_PIXELS = 200
"""A view that shows less of the object cannot be compared with the others."""


_WHOLE_SCENE = 0.9


@dataclass(frozen=True)
class ObjectSize:
    """Lengths that set the widths of residuals, in world units.

    Attributes:
        radius: Root mean square distance of a view's points from their own centre, median over the views.
        pixel: Size of a depth pixel on the object.
        noise: Standard deviation of one depth pixel.
        distance: From the cameras to the surface.
    """

    radius: float
    pixel: float
    noise: float
    distance: float


def silhouette(view: View, depth: DepthMap) -> Float[Tensor, "h w"]:
    """The outline that belongs to a depth map without cameras.

    Where the depth stops at the object, its own edge is the outline that agrees with it (a photograph may be shifted);
    depth that covers the whole scene is cut by the photograph's mask.
    """
    if depth.is_relative and float(depth.valid_mask.float().mean()) < _WHOLE_SCENE:
        return depth.valid_mask.float()
    return alpha_on_depth_grid(view, depth)


def alpha_on_depth_grid(view: View, depth: DepthMap) -> Float[Tensor, "h w"]:
    """The object's coverage resampled to the depth map's pixels."""
    height_px, width_px = depth.depth_z.shape
    if view.foreground_alpha.shape == (height_px, width_px):
        return view.foreground_alpha
    alpha = view.foreground_alpha[None, None]
    return functional.interpolate(alpha, (height_px, width_px), mode="bilinear", antialias=True)[0, 0]


def make_surfaces(views: tuple[View, ...], device: torch.device) -> dict[int, Surface]:
    """The surfaces of all views that show enough of one to be compared, by the view's index."""
    shown = []
    for index, view in enumerate(views):
        if view.depth is None:
            continue
        cover = alpha_on_depth_grid(view, view.depth).to(device)
        mask = view.depth.valid_mask.to(device) & (cover >= 0.5)
        if int(mask.sum()) >= MIN_SURFACE_PIXELS:
            shown.append((index, view.depth, cover, mask))
    outlines = contour_distances_px(cover for _, _, cover, _ in shown)
    surfaces = {}
    for (index, depth, _, mask), outside_px in zip(shown, outlines, strict=True):
        surface = make_surface(depth.depth_z.to(device), mask, outside_px, depth.step_z)
        if int(surface.usable.sum()) >= MIN_SURFACE_PIXELS // 2:
            surfaces[index] = surface
    return surfaces


def state_from_cameras(views: list[View], surfaces: list[Surface], device: torch.device) -> RigState:
    """Unknowns at the given cameras, with depths taken at face value."""
    intrinsics = [
        view.posed_camera.intrinsics.resized(surface.width_px, surface.height_px)
        for view, surface in zip(views, surfaces, strict=True)
    ]
    return RigState(
        torch.stack([view.posed_camera.world_from_camera for view in views]).to(device, torch.float64),
        torch.ones(len(views), dtype=torch.float64, device=device),
        torch.zeros(len(views), dtype=torch.float64, device=device),
        torch.tensor([[k.focal_x_px, k.focal_y_px] for k in intrinsics], dtype=torch.float64, device=device),
        torch.tensor([[k.principal_x_px, k.principal_y_px] for k in intrinsics], dtype=torch.float64, device=device),
    )


def measure_size(state: RigState, views: Views) -> ObjectSize:
    """The object's size and the depth's resolution under the current cameras and scales."""
    points = state.points_camera(views.samples.pixels_px, views.samples.depth)
    centred = points - points.mean(1, keepdim=True)
    radius = float((centred**2).sum(-1).mean(-1).sqrt().median())
    distance = points[..., 2].median(1).values
    pixel = float((distance / state.focal_px.mean(1)).median())
    noise = torch.tensor([surface.noise for surface in views.surfaces], dtype=torch.float64, device=distance.device)
    return ObjectSize(radius, pixel, float((noise * state.scales).median()), float(distance.median()))


def with_cameras(capture: Capture, indices: list[int], state: RigState) -> Capture:
    """The capture with the state's cameras in the views at ``indices``; depth scales are left alone."""
    views = list(capture.views)
    for row, index in enumerate(indices):
        views[index] = replace(views[index], camera=_camera(state, row, views[index]))
    return replace(capture, views=tuple(views))


def _camera(state: RigState, row: int, view: View) -> Camera:
    assert view.depth is not None
    height_px, width_px = view.depth.depth_z.shape
    focal_px, principal_px = state.focal_px[row].tolist(), state.principal_px[row].tolist()
    intrinsics = Intrinsics(width_px, height_px, *focal_px, *principal_px).resized(view.width_px, view.height_px)
    return Camera(intrinsics, orthonormal(state.world_from_camera[row].cpu()))


def orthonormal(world_from_camera: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
    """The nearest rigid transform: removes the rounding that many small steps leave."""
    left, _, right = torch.linalg.svd(world_from_camera[:3, :3])
    rigid = world_from_camera.clone()
    rigid[:3, :3] = left @ right
    return rigid
