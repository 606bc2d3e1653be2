"""Codes that are bright where the surface is near: depth counted down from white, or disparity?

The picture alone does not tell.  Both readings are solved, and the one under which the views agree better is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from recon.errors import UnsolvedCameras
from recon.scene import Capture, DepthMap, Inference, View

COUNTED_DOWN, DISPARITY = "near_is_bright", "disparity"
"""As ``depth.encoding`` calls them."""


@dataclass(frozen=True)
class Solved:
    """A capture with cameras and depths in world units, and how badly its views still disagree."""

    capture: Capture
    cost: float


def solve_either_reading(capture: Capture, solve: Callable[[Capture], Solved]) -> Capture:
    """Solve a capture whose depths may be disparities under both readings; the better one, on record.

    Args:
        capture: As read.
        solve: Called once, or once for each reading.

    Raises:
        UnsolvedCameras: No reading can be solved; the error is the first one's.
    """
    if not any(view.depth is not None and view.depth.may_be_disparity for view in capture.views):
        return solve(capture).capture
    solved: dict[str, Solved] = {}
    failures: list[UnsolvedCameras] = []
    for name, read in ((COUNTED_DOWN, _settled), (DISPARITY, _as_disparity)):
        try:
            solved[name] = solve(replace(capture, views=tuple(_read(view, read) for view in capture.views)))
        except UnsolvedCameras as failure:
            failures.append(failure)
    if not solved:
        raise failures[0]
    winner, *others = sorted(solved, key=lambda name: solved[name].cost)
    cost = solved[winner].cost
    if others:
        other = solved[others[0]].cost
        evidence = f"cost {cost:.4f}; as {others[0]} {other:.4f}, {other / max(cost, 1e-9):.2f} times as much"
    else:
        evidence = f"cost {cost:.4f}; the other reading of bright codes leaves the cameras unsolved"
    return solved[winner].capture.noting(Inference("depth reading", winner, evidence))


def _read(view: View, read: Callable[[DepthMap], DepthMap]) -> View:
    return view if view.depth is None or not view.depth.may_be_disparity else replace(view, depth=read(view.depth))


def _settled(depth: DepthMap) -> DepthMap:
    return replace(depth, may_be_disparity=False)


def _as_disparity(depth: DepthMap) -> DepthMap:
    """The same codes as the inverse of depth; the farthest point is at 1."""
    code = 1 + depth.step_z / 2 - depth.depth_z
    inverse = 1 / code.clamp_min(depth.step_z)
    farthest = inverse[depth.valid_mask].max()
    depth_z = torch.where(depth.valid_mask, inverse / farthest, 0.0)
    return replace(depth, depth_z=depth_z, may_be_disparity=False)
