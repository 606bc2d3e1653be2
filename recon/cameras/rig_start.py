"""First guesses of depth scales, from nothing but where the cameras stand."""

from dataclasses import replace

import torch

from recon import frames
from recon.arrays import Float, Tensor
from recon.cameras.agreement import Views
from recon.cameras.rig_state import RigState

_PASSES = 15
_NEAREST, _OUTERMOST = 0.01, 0.98
"""Quantiles that stand for the nearest and outermost points; robust to stray pixels."""


def start_scales(state: RigState, views: Views, has_common_scale: bool) -> RigState:
    """Depth scales such that every view's nearest point is where the other views see the object end.

    Fixed point of ``scale_i nearest_i = distance_i - extent_i``, where the extent towards camera i is read from the
    points of all other views.

    Args:
        state: Cameras that look at a common point; its scales are ignored.
        views: What they show.
        has_common_scale: All depths are in one unknown unit.
    """
    forward = state.world_from_camera[:, :3, 2]
    centre = axes_crossing(state.world_from_camera)
    distance = ((centre - state.world_from_camera[:, :3, 3]) * forward).sum(1)
    nearest = views.samples.depth.quantile(_NEAREST, dim=1)
    own = torch.eye(state.count, dtype=torch.bool, device=nearest.device)
    scales = 0.8 * distance / nearest
    for _ in range(_PASSES):
        points = replace(state, scales=scales).points_camera(views.samples.pixels_px, views.samples.depth)
        points = frames.transform_points(state.world_from_camera, points) - centre
        towards = -(points @ forward.T)
        towards = torch.where(own[:, None, :], -torch.inf, towards).flatten(0, 1)
        extent = torch.stack([column[column.isfinite()].quantile(_OUTERMOST) for column in towards.T])
        extent = torch.minimum(extent.clamp_min(0), 0.8 * distance)
        wanted = (distance - extent) / nearest
        scales = (scales + wanted) / 2
        if has_common_scale:
            scales = scales.median().expand_as(scales)
    return replace(state, scales=scales)


def axes_crossing(world_from_camera: Float[Tensor, "k 4 4"]) -> Float[Tensor, " 3"]:
    """The point closest to all optical axes (least squares)."""
    forward = world_from_camera[:, :3, 2]
    across = torch.eye(3, dtype=forward.dtype, device=forward.device) - forward[:, :, None] * forward[:, None, :]
    along = (across @ world_from_camera[:, :3, 3:]).sum(0)
    crossing: Float[Tensor, "3 1"] = torch.linalg.solve(across.sum(0), along)
    return crossing.squeeze(1)
