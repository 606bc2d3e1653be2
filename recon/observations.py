"""What the views measured, prepared once for every stage that compares a surface with them.

Depths become connected surface patches with normals and a noise level; alpha becomes a signed distance to
the silhouette in pixels.  Both stay on the depth's own pixel grid, all views stacked, on the device.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional

from recon import frames
from recon.arrays import Bool, Float, Tensor
from recon.contour import contour_distances_px
from recon.depth_rounding import unround_depth
from recon.depth_smoothing import shifted, smooth_depth
from recon.scene import CameraBatch, Capture, batch_cameras

VISIBLE_PX = 0.25
"""Errors of depth with a smaller deviation, in pixel widths, are not worth smoothing."""

COARSE_BITS = 8
"""Files with more are a sensor's, whose errors are not only rounding: on a photographed dog with 16 bits in steps of a
millimetre the smoothest surface was a worse one."""

ROUNDING_NOISE = 0.61
"""Noise, in steps of the file format, that rounding alone can be taken for: second differences of one step."""

STRAY_PX, STRAY_NOISE = 2.5, 4.0
"""A point farther outside another view's outline than calibration, sampling and noise, in standard deviations, explain
is none of the object's.  Dropping what noise alone moves outwards would leave what it moves inwards: objects shrink."""


HOLE_PX = 4
"""Gaps in depth images that are wider than twice this are holes."""


@dataclass(frozen=True)
class Observations:
    """All views on one pixel grid.

    Attributes:
        cameras: At the grid's resolution.
        depth_z_m: Cleaned depth along the optical axis.
        depth_mask: Where depth_z_m means something and belongs to the object.
        normals_world: Unit normals towards the camera; zero where no neighbours connect.
        incidence: Cosine between the normal and the ray to the camera; zero without a normal.
        silhouette_px: Signed distance to the object's outline, positive outside.
        alpha: Coverage by the object, 0..1.
        noise_m: Robust standard deviation of the raw depth about its local surface; 0 without depth.
        pixel_m: Width of a pixel at the median depth.
        was_denoised: Whether depth_z_m was smoothed.
    """

    cameras: CameraBatch
    depth_z_m: Float[Tensor, "k h w"]
    depth_mask: Bool[Tensor, "k h w"]
    normals_world: Float[Tensor, "k h w 3"]
    incidence: Float[Tensor, "k h w"]
    silhouette_px: Float[Tensor, "k h w"]
    alpha: Float[Tensor, "k h w"]
    noise_m: float
    pixel_m: float
    was_denoised: bool = False

    @property
    def has_noise(self) -> bool:
        """Whether the depth noise is visible at the scale of a pixel."""
        return self.noise_m > VISIBLE_PX * self.pixel_m

    @property
    def has_depth(self) -> bool:
        """Whether any view measured anything."""
        return bool(self.depth_mask.any())

    @cached_property
    def hole_mask(self) -> Bool[Tensor, "k h w"]:
        """Pixels of the object with nothing measured for ``HOLE_PX`` around; all of them in a view without depth.

        Narrower gaps, at rims and steps above all, are closed from their sides.
        """
        lacks_depth = (self.alpha > 0.5) & ~self.depth_mask
        if not bool(lacks_depth.any()):
            return lacks_depth
        near = self.depth_mask[:, None].float()
        for rows, columns in ((HOLE_PX, 0), (0, HOLE_PX)):
            near = functional.max_pool2d(near, (2 * rows + 1, 2 * columns + 1), 1, (rows, columns))
        return lacks_depth & (near[:, 0] == 0)

    @property
    def hole_share(self) -> float:
        """Of the object's pixels, those in holes."""
        return float(self.hole_mask.sum()) / max(int((self.alpha > 0.5).sum()), 1)

    def points_world(self) -> Float[Tensor, "k h w 3"]:
        """Every pixel's measured point (meaningless outside depth_mask)."""
        return self.cameras.unproject(self.depth_z_m)


def observe(capture: Capture, device: torch.device, denoise: str = "auto") -> Observations:
    """Prepare a posed capture.

    Args:
        capture: Every view posed, depths metric; views without depth contribute silhouettes only.
        device: Where the tensors go.
        denoise: auto (when the noise is visible), on, off.
    """
    height_px, width_px = _common_grid(capture)
    cameras = batch_cameras([view.posed_camera for view in capture.views], height_px, width_px, device)
    alpha = torch.stack([_resized(view.foreground_alpha, height_px, width_px) for view in capture.views])
    alpha = alpha.to(device)
    silhouette_px = torch.stack(contour_distances_px(alpha))
    depth, mask = _stacked_depth(capture, height_px, width_px)
    depth, mask = depth.to(device), mask.to(device) & (alpha > 0.5)
    pixel_m = _pixel_width_m(depth, mask, cameras)
    noise_m = depth_noise_m(depth, mask, pixel_m)
    step_m = _visible_steps_m(capture, pixel_m).to(device)
    if denoise != "off" and _is_rounded(step_m, noise_m) and not capture.photographs_disagree:
        depth = unround_depth(depth, mask, step_m)
        noise_m = depth_noise_m(depth, mask, pixel_m)
    mask = _within_outlines(depth, mask, cameras, silhouette_px, STRAY_PX + STRAY_NOISE * noise_m / max(pixel_m, 1e-9))
    was_denoised = denoise == "on" or (denoise == "auto" and noise_m > VISIBLE_PX * pixel_m)
    if was_denoised:
        smooth = smooth_depth(depth, mask, alpha > 0.5, noise_m, pixel_m)
        depth, mask = smooth.depth_z_m, smooth.mask
        normals_world, incidence = _normals(depth, mask, smooth.slopes, cameras)
    else:
        slopes, has_slope = _slopes(depth, mask, noise_m, pixel_m)
        normals_world, incidence = _normals(depth, has_slope, slopes, cameras)
    return Observations(
        cameras,
        depth,
        mask,
        normals_world,
        incidence,
        silhouette_px,
        alpha,
        noise_m=noise_m,
        pixel_m=pixel_m,
        was_denoised=was_denoised,
    )


def _within_outlines(
    depth_z_m: Float[Tensor, "k h w"],
    mask: Bool[Tensor, "k h w"],
    cameras: CameraBatch,
    silhouette_px: Float[Tensor, "k h w"],
    stray_px: float,
) -> Bool[Tensor, "k h w"]:
    """The measured points that lie within every other view's outline, or nearly so.

    What does not is no part of the object: a sensor that blends the object's rim with the background far behind it
    puts points there, and in the fused field each would carve away what it passes through.
    """
    size_px = torch.tensor([cameras.width_px, cameras.height_px], device=depth_z_m.device)
    kept = mask.clone()
    for view_index, points_world in enumerate(cameras.unproject(depth_z_m)):
        pixels_px, other_z_m = cameras.project(points_world[mask[view_index]])
        outside_px = torch.nn.functional.grid_sample(
            silhouette_px[:, None], (pixels_px / size_px * 2 - 1)[:, None], align_corners=False
        )[:, 0, 0]
        is_within = ((pixels_px > 0.5) & (pixels_px < size_px - 0.5)).all(-1) & (other_z_m > 0)
        kept[view_index][mask[view_index]] = ~(is_within & (outside_px >= stray_px)).any(0)
    return kept


def _pixel_width_m(depth_z_m: Float[Tensor, "k h w"], mask: Bool[Tensor, "k h w"], cameras: CameraBatch) -> float:
    """Width of a pixel at the median depth; without any depth, at the middle of the cameras."""
    if bool(mask.any()):
        return float((depth_z_m[mask] / cameras.focal_px[:, 0].mean()).median())
    positions_world = cameras.positions_world
    reach_m = (positions_world - positions_world.mean(0)).norm(dim=1).median()
    return float(reach_m / cameras.focal_px[:, 0].mean())


def _common_grid(capture: Capture) -> tuple[int, int]:
    """The depth's resolution, or the photographs' where no view has depth."""
    shapes = [view.depth.depth_z.shape for view in capture.views if view.depth is not None]
    if not shapes:
        shapes = [view.foreground_alpha.shape for view in capture.views]
    return max(int(shape[0]) for shape in shapes), max(int(shape[1]) for shape in shapes)


def _resized(picture: Float[Tensor, "h w"], height_px: int, width_px: int) -> Float[Tensor, "h2 w2"]:
    if picture.shape == (height_px, width_px):
        return picture.float()
    shrinks = picture.shape[0] > height_px
    mode = "area" if shrinks else "bilinear"
    return torch.nn.functional.interpolate(picture[None, None].float(), (height_px, width_px), mode=mode)[0, 0]


def _stacked_depth(
    capture: Capture, height_px: int, width_px: int
) -> tuple[Float[Tensor, "k h w"], Bool[Tensor, "k h w"]]:
    depths, masks = [], []
    for view in capture.views:
        depth = torch.zeros(height_px, width_px)
        mask = torch.zeros(height_px, width_px, dtype=torch.bool)
        if view.depth is not None:
            size = (height_px, width_px)
            nearest = torch.nn.functional.interpolate(
                view.depth.depth_z[None, None].float(), size, mode="nearest-exact"
            )
            valid = torch.nn.functional.interpolate(
                view.depth.valid_mask[None, None].float(), size, mode="nearest-exact"
            )
            depth, mask = nearest[0, 0], valid[0, 0] > 0.5
        depths.append(torch.where(mask, depth, torch.zeros_like(depth)))
        masks.append(mask)
    return torch.stack(depths), torch.stack(masks)


def _visible_steps_m(capture: Capture, pixel_m: float) -> Float[Tensor, " k"]:
    """Between the depths that each view's file can express; 0 where rounding to them hardly shows."""
    step_m = torch.zeros(len(capture.views))
    for index, view in enumerate(capture.views):
        if view.depth is not None and 0 < view.depth.integer_bits <= COARSE_BITS:
            step_m[index] = view.depth.step_z
    return torch.where(step_m / 12**0.5 > VISIBLE_PX * pixel_m, step_m, torch.zeros_like(step_m))


def _is_rounded(step_m: Float[Tensor, " k"], noise_m: float) -> bool:
    """Whether rounding shows, and is what seems to be noise."""
    return bool((step_m > 0).any()) and noise_m <= ROUNDING_NOISE * float(step_m.max())


def depth_noise_m(depth_z_m: Float[Tensor, "k h w"], mask: Bool[Tensor, "k h w"], pixel_m: float) -> float:
    """Robust noise level from second differences of inverse depth, which vanish on planes.

    White noise of deviation s gives second differences of deviation s * sqrt(6); steps between surfaces are
    left out by the median.
    """
    if not bool(mask.any()):
        return 0.0
    inverse = torch.where(mask, 1 / depth_z_m.clamp_min(1e-9), torch.zeros_like(depth_z_m))
    triple = mask[..., :-2] & mask[..., 1:-1] & mask[..., 2:]
    bend = inverse[..., :-2] - 2 * inverse[..., 1:-1] + inverse[..., 2:]
    bend_m = (bend * depth_z_m[..., 1:-1] ** 2)[triple].abs()
    if bend_m.numel() == 0:
        return 0.0
    return float(bend_m.median()) * 1.4826 / 6**0.5


def _slope(
    inverse: Float[Tensor, "k h w"],
    mask: Bool[Tensor, "k h w"],
    tolerance: Float[Tensor, "k h w"],
    step: tuple[int, int],
) -> tuple[Float[Tensor, "k h w"], Bool[Tensor, "k h w"]]:
    """Derivative of inverse depth along one image axis, from neighbours on the same surface.

    A step to a neighbour is trusted when the next step beyond it, or the one on the other side, continues it:
    a second-difference test, which keeps surfaces seen at grazing angles that a first-difference test cuts.
    """
    ahead, ahead2, behind, behind2 = (
        (shifted(inverse, n * step[0], n * step[1]), shifted(mask, n * step[0], n * step[1])) for n in (1, 2, -1, -2)
    )
    forward, forward_next = ahead[0] - inverse, ahead2[0] - ahead[0]
    backward, backward_next = inverse - behind[0], behind[0] - behind2[0]
    straight = (forward - backward).abs() < tolerance
    both = ahead[1] & behind[1]
    forward_good = ahead[1] & ((both & straight) | (ahead2[1] & ((forward_next - forward).abs() < tolerance)))
    backward_good = behind[1] & ((both & straight) | (behind2[1] & ((backward - backward_next).abs() < tolerance)))
    total = forward_good.float() + backward_good.float()
    summed = torch.where(forward_good, forward, torch.zeros_like(forward)) + torch.where(
        backward_good, backward, torch.zeros_like(backward)
    )
    return summed / total.clamp_min(1), mask & (total > 0)


def _slopes(
    depth_z_m: Float[Tensor, "k h w"], mask: Bool[Tensor, "k h w"], noise_m: float, pixel_m: float
) -> tuple[Float[Tensor, "2 k h w"], Bool[Tensor, "k h w"]]:
    """Rise of inverse depth per pixel to the right and down, and where neighbours on the same surface tell it."""
    inverse = torch.where(mask, 1 / depth_z_m.clamp_min(1e-9), torch.zeros_like(depth_z_m))
    tolerance = (pixel_m + 6 * noise_m) * inverse**2
    right, has_right = _slope(inverse, mask, tolerance, (0, 1))
    down, has_down = _slope(inverse, mask, tolerance, (1, 0))
    return torch.stack([right, down]), has_right & has_down


def _normals(
    depth_z_m: Float[Tensor, "k h w"],
    mask: Bool[Tensor, "k h w"],
    slopes: Float[Tensor, "2 k h w"],
    cameras: CameraBatch,
) -> tuple[Float[Tensor, "k h w 3"], Float[Tensor, "k h w"]]:
    """Normals from the slopes of inverse depth, and the cosines of incidence.

    On a plane 1/z = (a x + b y + c) in image coordinates; with slopes (x, y, 1) of the pixel's ray the normal is
    proportional to (f_x da, f_y db, 1/z - x f_x da - y f_y db), exactly.
    """
    inverse = torch.where(mask, 1 / depth_z_m.clamp_min(1e-9), torch.zeros_like(depth_z_m))
    centres_px = frames.pixel_centres_px(cameras.height_px, cameras.width_px, device=cameras.device)
    ray = (centres_px - cameras.principal_px[:, None, None]) / cameras.focal_px[:, None, None]
    gradient_x = slopes[0] * cameras.focal_px[:, 0, None, None]
    gradient_y = slopes[1] * cameras.focal_px[:, 1, None, None]
    facing = inverse - ray[..., 0] * gradient_x - ray[..., 1] * gradient_y
    normals_camera = -torch.nn.functional.normalize(torch.stack([gradient_x, gradient_y, facing], -1), dim=-1)
    direction = torch.nn.functional.normalize(torch.cat([ray, torch.ones_like(ray[..., :1])], -1), dim=-1)
    incidence = -(normals_camera * direction).sum(-1)
    good = mask & (incidence > 1e-3)
    world_from_camera = frames.invert_rigid(cameras.camera_from_world)
    normals_world = frames.transform_directions(world_from_camera, normals_camera.flatten(1, 2)).view_as(normals_camera)
    zero = torch.zeros_like(incidence)
    return torch.where(good[..., None], normals_world, zero[..., None]), torch.where(good, incidence, zero)
