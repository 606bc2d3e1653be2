"""Gradients where another rasteriser says what is seen."""

import torch

from raster_scenes import cameras_around, uv_sphere
from recon.arrays import Float, Tensor
from recon.raster.barycentrics import find_hits
from recon.raster.differentiable import corner_weights, interpolated, scattered, with_gradient
from recon.raster.zbuffer import nearest_faces

SIZE_PX = 64
SPHERE = uv_sphere(60, 90)
CAMERAS = cameras_around(3, SIZE_PX, SIZE_PX, dtype=torch.float32)


def steepest(snap_px: float, is_bounded: bool) -> tuple[float, float]:
    """The most that a weight lies outside 0..1, and the longest gradient of a drawn height by a vertex."""
    positions = SPHERE.positions_world.float().requires_grad_()
    pixels_px, depth_z_m = CAMERAS.project(positions.detach())
    snapped_px = (pixels_px / snap_px).round() * snap_px if snap_px else pixels_px
    face_index = nearest_faces(snapped_px, depth_z_m, SPHERE.faces, (SIZE_PX, SIZE_PX))
    hits = find_hits(face_index)
    barycentrics: Float[Tensor, "k h w 3"] = scattered(
        corner_weights(hits, positions, SPHERE.faces, CAMERAS), hits.pixel, face_index.shape
    )
    if is_bounded:
        clamped = barycentrics.detach().clamp(0, 1)
        barycentrics = with_gradient(clamped, hits, positions, SPHERE.faces, CAMERAS)
    height = interpolated(positions.detach()[:, 2:], SPHERE.faces, hits, barycentrics)
    height.sum().backward()
    assert positions.grad is not None
    outside = (-barycentrics.detach()).max().clamp_min(0)
    return float(outside), float(positions.grad.norm(dim=1).max())


def test_what_is_seen_beside_a_sliver_pulls_no_harder_than_what_is_seen_on_it() -> None:
    """With corners snapped to a sixteenth of a pixel, as in nvdiffrast; faces are a pixel large, thinner at the rim."""
    _, exact = steepest(0.0, is_bounded=False)
    outside, unbounded = steepest(1 / 16, is_bounded=False)
    assert outside > 0.1
    assert unbounded > 2 * exact
    outside, bounded = steepest(1 / 16, is_bounded=True)
    assert outside <= 1e-3
    assert bounded < 1.5 * exact
