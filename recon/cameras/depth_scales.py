"""Depths without a unit under given cameras: the cameras' own distances say what the codes are worth."""

from dataclasses import replace

import torch

from recon.cameras.adjust import SCALE, free_unknowns, settle
from recon.cameras.agreement import Views, make_views
from recon.cameras.depth_reading import Solved
from recon.cameras.normal_equations import Weighting
from recon.cameras.preparation import make_surfaces, state_from_cameras
from recon.cameras.report import measure_disagreement
from recon.cameras.rig_search import geometric
from recon.cameras.rig_start import start_scales
from recon.cameras.surfaces import draw_samples
from recon.errors import UnsolvedCameras
from recon.scene import Capture, Inference

_SAMPLE_COUNT = 2000
_MAX_MEDIAN = 0.01
"""Of the camera distance: what 8-bit depth, and cameras a little wrong, leave at most."""


def solve_depth_scales(capture: Capture, seed: int, device: torch.device) -> Solved:
    """Turn relative depth codes into world units, from cross-view agreement under the given cameras.

    Raises:
        UnsolvedCameras: Fewer than two views show enough, or no scales bring the views together.
    """
    surfaces = make_surfaces(capture.views, device)
    if len(surfaces) < 2 or len(surfaces) < sum(view.depth is not None for view in capture.views):
        raise UnsolvedCameras("Depth without a unit needs enough of the object in every view that has depth.")
    rows = list(surfaces.values())
    views: Views = make_views(rows, draw_samples(rows, _SAMPLE_COUNT, seed))
    given = state_from_cameras([capture.views[index] for index in surfaces], rows, device)
    start = start_scales(given, views, has_common_scale=False)
    distance = float((views.samples.depth.median(1).values * start.scales).median())
    basis = free_unknowns(given.count, SCALE)
    widths = [distance * width for width in geometric(0.04, 0.002, 16)]
    state = settle(start, views, Weighting(distance, 0.5), basis, widths)
    found = measure_disagreement(state, views, 0.02 * distance)
    if not found.median < _MAX_MEDIAN * distance:
        raise UnsolvedCameras("No depth scales bring the views together under the given cameras.")
    solved = list(capture.views)
    for index, scale in zip(surfaces, state.scales.tolist(), strict=True):
        depth = solved[index].depth
        assert depth is not None
        scaled = replace(depth, depth_z=depth.depth_z * scale, is_relative=False, step_z=depth.step_z * scale)
        solved[index] = replace(solved[index], depth=scaled)
    text = ", ".join(
        f"{capture.views[index].name} {scale:.4f}" for index, scale in zip(surfaces, state.scales.tolist(), strict=True)
    )
    finding = Inference("depth scales", text, f"from the given cameras: {found.text()}")
    solved_capture = replace(capture, views=tuple(solved), is_metric=True).noting(finding)
    return Solved(solved_capture, found.median / distance)
