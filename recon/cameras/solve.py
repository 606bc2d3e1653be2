"""The stage's one verb: every view gets a camera, every depth a unit."""

import torch

from recon.cameras.depth_reading import solve_either_reading
from recon.cameras.depth_scales import solve_depth_scales
from recon.cameras.given import check_given_cameras
from recon.cameras.photographs import compare_photographs
from recon.cameras.unposed import solve_unposed
from recon.scene import Capture
from recon.settings import Settings


def solve_cameras(capture: Capture, settings: Settings, device: torch.device) -> Capture:
    """Find, check or refine the camera of every view.

    Args:
        capture: As read; views may lack cameras, depths may be relative.
        settings: Explicit rig, field of view, depth encoding and whether given cameras may be refined.
        device: Where the comparisons run.

    Returns:
        Every view with a camera and with depths in metres (or in camera distances: ``is_metric`` is False then).

    Raises:
        UnsolvedCameras: No hypothesis explains the views clearly better than the others.
    """
    if all(view.camera is not None for view in capture.views):
        if any(view.depth is not None and view.depth.is_relative for view in capture.views):
            capture = solve_either_reading(capture, lambda reading: solve_depth_scales(reading, settings.seed, device))
        refine = settings.nvdiffrec.optimise.refine_cameras
        return check_given_cameras(capture, refine, settings.seed, device)
    solved = solve_either_reading(capture, lambda reading: solve_unposed(reading, settings, device))
    return compare_photographs(solved)
