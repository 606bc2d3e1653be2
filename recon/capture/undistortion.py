"""Undo lens distortion: Brown-Conrady to a perfect pinhole with the same focal length and size.

For every pixel of the perfect picture the distorted position is computed in closed form and sampled there, so that
no inverse of the lens model is needed (the model of OpenCV's ``initUndistortRectifyMap``).
"""

from dataclasses import replace

import torch

from recon import frames
from recon.arrays import Bool, Float, Tensor
from recon.capture.manifest import Lens
from recon.colour import linear_from_srgb, srgb_from_linear
from recon.errors import InvalidCameras
from recon.scene import DepthMap, Intrinsics


def distort_slopes(slopes: Float[Tensor, "*s 2"], lens: Lens) -> Float[Tensor, "*s 2"]:
    """Where a ray (x/z, y/z) appears through the lens, as slopes again (Brown 1971; OpenCV calib3d)."""
    x, y = slopes.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (lens.k1 + r2 * (lens.k2 + r2 * lens.k3))
    tangential_x = 2 * lens.p1 * x * y + lens.p2 * (r2 + 2 * x * x)
    tangential_y = lens.p1 * (r2 + 2 * y * y) + 2 * lens.p2 * x * y
    return torch.stack([x * radial + tangential_x, y * radial + tangential_y], -1)


def distorted_positions_px(intrinsics: Intrinsics, lens: Lens) -> Float[Tensor, "h w 2"]:
    """Where every pixel centre of the perfect picture lies in the distorted one.

    Raises:
        InvalidCameras: The lens folds the picture over itself inside its frame.
    """
    focal_px = torch.tensor([intrinsics.focal_x_px, intrinsics.focal_y_px], dtype=torch.float64)
    principal_px = torch.tensor([intrinsics.principal_x_px, intrinsics.principal_y_px], dtype=torch.float64)
    centres_px = frames.pixel_centres_px(intrinsics.height_px, intrinsics.width_px, dtype=torch.float64)
    positions_px = distort_slopes((centres_px - principal_px) / focal_px, lens) * focal_px + principal_px
    grows_right = (positions_px[:, 1:, 0] > positions_px[:, :-1, 0]).all()
    grows_down = (positions_px[1:, :, 1] > positions_px[:-1, :, 1]).all()
    if not (grows_right and grows_down):
        raise InvalidCameras("The lens coefficients fold the picture over itself; check k1, k2, k3, p1, p2.")
    return positions_px


def undistort_picture(
    image_srgb: Float[Tensor, "h w 3"], alpha: Float[Tensor, "h w"] | None, positions_px: Float[Tensor, "h w 2"]
) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"] | None]:
    """Resample a photograph bilinearly in linear light, weighted by its alpha so that no hidden colour bleeds in."""
    weight = torch.ones_like(image_srgb[..., 0]) if alpha is None else alpha
    # Colours under zero alpha still matter where no neighbour has any.
    colour_weight = weight.clamp_min(1e-4)
    planes = torch.cat(
        [linear_from_srgb(image_srgb) * colour_weight[..., None], torch.stack([colour_weight, weight], -1)], -1
    )
    sampled = _sample_bilinear(planes, positions_px)
    linear = sampled[..., :3] / sampled[..., 3:4].clamp_min(1e-6)
    inside = _is_inside(positions_px, image_srgb.shape[0], image_srgb.shape[1])
    undistorted_alpha = None if alpha is None else torch.where(inside, sampled[..., 4], 0.0).clamp(0, 1)
    return srgb_from_linear(linear.clamp(0, 1)), undistorted_alpha


def undistort_coverage(coverage: Float[Tensor, "h w"], positions_px: Float[Tensor, "h w 2"]) -> Float[Tensor, "h w"]:
    """Resample a mask bilinearly; nothing is known outside the picture."""
    inside = _is_inside(positions_px, *coverage.shape)
    return torch.where(inside, _sample_bilinear(coverage[..., None], positions_px)[..., 0], 0.0)


def undistort_depth(depth: DepthMap, positions_px: Float[Tensor, "h w 2"]) -> DepthMap:
    """Take the nearest measurement: blending across an edge would invent surfaces in between."""
    height_px, width_px = depth.depth_z.shape
    columns = positions_px[..., 0].floor().long().clamp(0, width_px - 1)
    rows = positions_px[..., 1].floor().long().clamp(0, height_px - 1)
    valid_mask = depth.valid_mask[rows, columns] & _is_inside(positions_px, height_px, width_px)
    return replace(depth, depth_z=depth.depth_z[rows, columns], valid_mask=valid_mask)


def _sample_bilinear(planes: Float[Tensor, "h w c"], positions_px: Float[Tensor, "h w 2"]) -> Float[Tensor, "h w c"]:
    size_px = torch.tensor([planes.shape[1], planes.shape[0]], dtype=positions_px.dtype)
    # grid_sample without corner alignment spans -1..1 over the picture's outer edges: pixel centres are at +0.5.
    grid = (positions_px / size_px * 2 - 1).to(planes.dtype)
    sampled: Tensor = torch.nn.functional.grid_sample(
        planes.permute(2, 0, 1)[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0].permute(1, 2, 0)


def _is_inside(positions_px: Float[Tensor, "h w 2"], height_px: int, width_px: int) -> Bool[Tensor, "h w"]:
    x, y = positions_px.unbind(-1)
    return (x >= 0) & (x <= width_px) & (y >= 0) & (y <= height_px)
