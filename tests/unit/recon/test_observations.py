"""What is prepared of the photographs and depths before any surface is compared with them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import geometry_scenes
from recon.observations import depth_noise_m, observe
from recon.scene import Camera, Capture, DepthMap, Intrinsics, View

SIZE_PX, FOCAL_PX = 96, 120.0
CAMERA = Camera(Intrinsics(SIZE_PX, SIZE_PX, FOCAL_PX, FOCAL_PX, 47.3, 48.8), torch.eye(4, dtype=torch.float64))


def tilted_plane(normal: tuple[float, float, float] = (0.4, -0.3, -1.0), offset_m: float = -0.8) -> torch.Tensor:
    """Exact depth of the plane normal . x = offset (normal unscaled) for the camera at the origin."""
    pixels = (torch.arange(SIZE_PX, dtype=torch.float64) + 0.5 - torch.tensor([[47.3], [48.8]])) / FOCAL_PX
    slope_y, slope_x = torch.meshgrid(pixels[1], pixels[0], indexing="ij")
    return (offset_m / (normal[0] * slope_x + normal[1] * slope_y + normal[2])).float()


def one_view(depth_z_m: torch.Tensor | None, alpha: torch.Tensor | None = None) -> Capture:
    depth = None if depth_z_m is None else DepthMap(depth_z_m, depth_z_m > 0)
    alpha = torch.ones(SIZE_PX, SIZE_PX) if alpha is None else alpha
    view = View("only", torch.zeros(SIZE_PX, SIZE_PX, 3), alpha, "alpha", depth, CAMERA)
    return Capture((view,), "analytic")


def drawn_disc(radius_px: float, centre_px: tuple[float, float]) -> torch.Tensor:
    """Coverage of a disc, box-filtered with 16 x 16 samples a pixel."""
    places = (np.arange(SIZE_PX * 16) + 0.5) / 16
    is_in = np.hypot(places[None] - centre_px[0], places[:, None] - centre_px[1]) < radius_px
    return torch.from_numpy(is_in.reshape(SIZE_PX, 16, SIZE_PX, 16).mean((1, 3))).float()


def test_holes_are_wider_than_rims() -> None:
    """Missing depth of more than four pixels on each side is a hole; rims, gaps and the background are none."""
    depth = tilted_plane()
    depth[20:40, 30:60] = 0
    depth[60:66, :] = 0
    depth[:, :3] = 0
    holes = observe(one_view(depth), geometry_scenes.CPU).hole_mask[0]
    expected = torch.zeros(SIZE_PX, SIZE_PX, dtype=torch.bool)
    expected[24:36, 34:56] = True
    assert torch.equal(holes, expected)
    assert observe(one_view(None, drawn_disc(30.0, (48, 48))), geometry_scenes.CPU).hole_mask.sum() > 2000


@pytest.mark.parametrize("radius_px", [30.0, 12.4])
def test_outline_distance_of_a_disc(radius_px: float) -> None:
    """Against an antialiased disc the distance is right to 0.06 pixels on average near it, to one far away."""
    centre_px = (47.7, 49.1)
    alpha = drawn_disc(radius_px, centre_px)
    distance_px = observe(one_view(None, alpha), geometry_scenes.CPU).silhouette_px[0]
    places = torch.arange(SIZE_PX) + 0.5
    true_px = torch.hypot(places[None] - centre_px[0], places[:, None] - centre_px[1]) - radius_px
    error_px = (distance_px - true_px).abs()
    assert error_px[true_px.abs() < 5].max() < 0.3
    assert error_px[true_px.abs() < 5].mean() < 0.06
    assert error_px.max() < 1
    assert torch.equal(distance_px < 0, alpha > 0.5)


def test_empty_and_full_pictures_are_far_outside_and_inside() -> None:
    """Without a contour everything is a thousand pixels outside (no object) or inside (nothing but object)."""
    empty = observe(one_view(None, torch.zeros(SIZE_PX, SIZE_PX)), geometry_scenes.CPU)
    full = observe(one_view(None), geometry_scenes.CPU)
    assert (empty.silhouette_px == 1e3).all()
    assert (full.silhouette_px == -1e3).all()


def test_views_without_depth_have_no_depth_and_no_noise() -> None:
    """A capture of photographs alone: nothing measured, noise of zero, no normals."""
    seen = observe(one_view(None), geometry_scenes.CPU)
    assert not seen.depth_mask.any()
    assert seen.noise_m == 0
    assert not seen.has_noise
    assert (seen.normals_world == 0).all()


@pytest.mark.parametrize("noise_m", [0.0005, 0.003])
def test_added_noise_is_found(noise_m: float) -> None:
    """White noise on a tilted plane is measured to 5 %; the plane alone has none."""
    clean = tilted_plane()[None]
    mask = torch.ones_like(clean, dtype=torch.bool)
    noisy = clean + noise_m * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    assert depth_noise_m(noisy, mask, 0.006) == pytest.approx(noise_m, rel=0.05)
    assert depth_noise_m(clean, mask, 0.006) < 1e-6
    assert depth_noise_m(clean, ~mask, 0.006) == 0


def test_normals_of_a_plane_are_exact() -> None:
    """Every pixel of a tilted plane, the border included, has the plane's normal and the cosine that goes with it."""
    seen = observe(one_view(tilted_plane()), geometry_scenes.CPU)
    normal = torch.nn.functional.normalize(torch.tensor([0.4, -0.3, -1.0]), dim=0)
    rays = torch.nn.functional.normalize(seen.points_world(), dim=-1)
    assert torch.allclose(seen.normals_world, normal.expand_as(seen.normals_world), atol=2e-4)
    assert torch.allclose(seen.incidence, -(rays * normal).sum(-1), atol=2e-4)


def test_normals_of_a_sphere() -> None:
    """Where the sphere faces the camera (cosine above 0.3) normals are right to 1 degree on average, 7 at most."""
    seen = geometry_scenes.observed("sphere", size_px=128)
    usable = seen.incidence > 0.3
    points = seen.points_world()[usable].double().numpy()
    true = torch.from_numpy(geometry_scenes.SOLIDS["sphere"].normals_world(points)).float()
    angle_deg = (seen.normals_world[usable] * true).sum(1).clamp(-1, 1).arccos() * 180 / math.pi
    assert usable.sum() > 0.7 * seen.depth_mask.sum()
    assert angle_deg.mean() < 1
    assert angle_deg.max() < 7


def test_points_lie_on_the_solid() -> None:
    """Unprojected depths of exact pictures lie on the true surface to a micrometre's order."""
    for name in ("cube", "torus"):
        seen = geometry_scenes.observed(name)
        points = seen.points_world()[seen.depth_mask].double().numpy()
        assert np.abs(geometry_scenes.SOLIDS[name].signed_distance_m(points)).max() < 1e-6


@pytest.mark.parametrize(("denoise", "is_changed"), [("auto", True), ("on", True), ("off", False)])
def test_denoising_can_be_forced_and_forbidden(denoise: str, is_changed: bool) -> None:
    """Visible noise is smoothed unless that was switched off; the noise level reported is that of the raw depth."""
    noisy = tilted_plane() + 0.003 * torch.randn(SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(0))
    seen = observe(one_view(noisy), geometry_scenes.CPU, denoise)
    assert seen.has_noise
    assert seen.noise_m == pytest.approx(0.003, rel=0.05)
    assert torch.equal(seen.depth_z_m[0], noisy) != is_changed


def test_only_the_object_is_measured() -> None:
    """Depth outside the silhouette does not belong to the object."""
    alpha = drawn_disc(20, (48, 48))
    seen = observe(one_view(tilted_plane(), alpha), geometry_scenes.CPU)
    assert torch.equal(seen.depth_mask[0], alpha > 0.5)


def test_photographs_come_onto_the_grid_of_the_depth() -> None:
    """Photographs of twice the depth's resolution: everything lies on the depth's grid, cameras included."""
    capture = one_view(tilted_plane())
    alpha = drawn_disc(30, (48, 48)).repeat_interleave(2, 0).repeat_interleave(2, 1)
    view = replace(capture.views[0], foreground_alpha=alpha, image_srgb=torch.zeros(192, 192, 3))
    seen = observe(replace(capture, views=(view,)), geometry_scenes.CPU)
    assert seen.alpha.shape == seen.depth_z_m.shape == (1, SIZE_PX, SIZE_PX)
    assert torch.allclose(seen.alpha[0], drawn_disc(30, (48, 48)), atol=1e-6)
    assert seen.cameras.focal_px.tolist() == [[FOCAL_PX, FOCAL_PX]]


def test_points_outside_another_outline_are_none_of_the_object() -> None:
    """A rim that the sensor blends with the wall behind it is dropped; of the ball itself nothing is lost."""
    capture = geometry_scenes.photographed("sphere", size_px=96)
    exact = observe(capture, geometry_scenes.CPU)
    first = capture.views[0]
    assert first.depth is not None
    is_rim = first.depth.valid_mask & (exact.silhouette_px[0] > -2)
    blended = torch.where(is_rim, first.depth.depth_z + 0.15, first.depth.depth_z)
    smeared = replace(first, depth=replace(first.depth, depth_z=blended))
    seen = observe(replace(capture, views=(smeared, *capture.views[1:])), geometry_scenes.CPU)
    assert int(is_rim.sum()) > 50
    assert not seen.depth_mask[0][is_rim].any()
    assert torch.equal(seen.depth_mask[0] | is_rim, exact.depth_mask[0])
    assert torch.equal(exact.depth_mask[0], first.depth.valid_mask)


def with_step(capture: Capture, step_m: float, integer_bits: int = 8) -> Capture:
    """The same, its depths rounded to a file format's steps."""
    view = capture.views[0]
    assert view.depth is not None
    depth_z = ((view.depth.depth_z / step_m).floor() + 0.5) * step_m
    rounded = replace(view.depth, depth_z=depth_z, step_z=step_m, integer_bits=integer_bits)
    return replace(capture, views=(replace(view, depth=rounded),))


def test_steps_of_the_file_format_are_smoothed_where_they_show() -> None:
    """Depth in steps of two pixel widths becomes the plane that it was; fine steps are left as they are."""
    exact = one_view(tilted_plane())
    coarse, fine = with_step(exact, 0.013), with_step(exact, 0.002)
    seen = observe(coarse, geometry_scenes.CPU)
    depths = [capture.views[0].depth.depth_z for capture in (exact, coarse, fine) if capture.views[0].depth]
    assert (seen.depth_z_m[0] - depths[0]).abs().mean() < (depths[1] - depths[0]).abs().mean() / 5
    assert not seen.has_noise
    assert torch.equal(observe(fine, geometry_scenes.CPU).depth_z_m[0], depths[2])


def test_steps_of_a_sensor_stay() -> None:
    """A sensor's whole millimetres may be wider than close pixels, but rounding is not all of its errors."""
    coarse = with_step(one_view(tilted_plane()), 0.013, integer_bits=16)
    assert coarse.views[0].depth is not None
    assert torch.equal(observe(coarse, geometry_scenes.CPU).depth_z_m[0], coarse.views[0].depth.depth_z)


def test_steps_stay_where_nobody_may_smooth_them() -> None:
    """denoise = "off" keeps depth as it is; so do photographs that disagree, which the mesh follows anyway."""
    coarse = with_step(one_view(tilted_plane()), 0.013)
    disagreeing = replace(coarse, photographs_disagree=True)
    assert coarse.views[0].depth is not None
    for seen in (observe(coarse, geometry_scenes.CPU, "off"), observe(disagreeing, geometry_scenes.CPU)):
        assert torch.equal(seen.depth_z_m[0], coarse.views[0].depth.depth_z)


def test_noise_that_is_larger_than_the_steps_is_noise() -> None:
    """A sensor in whole millimetres with noise of two: smoothed as noise, no bounds of half a millimetre."""
    generator = torch.Generator().manual_seed(0)
    noisy = tilted_plane() + 0.008 * torch.randn(SIZE_PX, SIZE_PX, generator=generator)
    coarse = with_step(one_view(noisy), 0.008)
    seen = observe(coarse, geometry_scenes.CPU)
    assert seen.has_noise
    assert seen.noise_m == pytest.approx(0.0083, rel=0.15)


def test_noise_at_the_outline_is_dropped_on_neither_side() -> None:
    """Noise of two pixel widths moves points out of other outlines and in alike: a ball is not shrunk."""
    capture = geometry_scenes.photographed("sphere", size_px=128)
    exact = observe(capture, geometry_scenes.CPU)
    noise_m = 2 * exact.pixel_m
    random = torch.Generator().manual_seed(0)
    views = []
    for view in capture.views:
        assert view.depth is not None
        noisy = view.depth.depth_z + noise_m * torch.randn(view.depth.depth_z.shape, generator=random)
        views.append(replace(view, depth=replace(view.depth, depth_z=noisy)))
    seen = observe(replace(capture, views=tuple(views)), geometry_scenes.CPU, "off")
    facing = exact.depth_mask & (exact.incidence > 0.8)
    kept = facing & seen.depth_mask
    assert kept.sum() > 0.99 * facing.sum()
    assert (seen.depth_z_m - exact.depth_z_m)[kept].mean().abs() < 0.05 * noise_m
