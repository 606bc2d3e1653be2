"""What one photograph says about a surface: colour in linear light, and how much each pixel may be trusted.

Occlusion is decided here and nowhere else, against the depth of the mesh itself.
"""

from dataclasses import dataclass

import torch

from recon import colour, frames
from recon.arrays import Bool, Float, Int, Tensor
from recon.raster import Rasterizer
from recon.scene import CameraBatch, TriangleMesh, View, batch_cameras

OPAQUE_ALPHA = 0.97
"""A pixel below this coverage shows background as well."""
BORDER_TRUST = (0.03, 0.27, 0.7)
"""Trust gained by a pixel that is 0, 1 and 2 pixels away from the nearest occlusion border."""
LARGEST_BEND_PX = 3.0
"""Change of the depth step between neighbours, in pixel widths, above which they belong to different surfaces."""
MIN_COSINE = 0.05
"""Surfaces seen flatter than this (87 degrees) are not seen."""


@dataclass(frozen=True)
class Photograph:
    """A photograph beside the mesh seen by its camera.

    Attributes:
        camera: One camera, at the photograph's resolution.
        linear: Linear light, straight; meaningless where ``trust`` is zero.
        trust: 0 where nothing, a mixed pixel or an occlusion border is seen, rising to 1 three pixels inside.
        inverse_z: 1/depth of the mesh; 0 where there is none.  Affine over every plane.
    """

    camera: CameraBatch
    linear: Float[Tensor, "h w 3"]
    trust: Float[Tensor, "h w"]
    inverse_z: Float[Tensor, "h w"]

    def sees(
        self, positions_world: Float[Tensor, "n 3"], normals_world: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Pixel coordinates of surface points, how far to trust the picture there, and the cosine of the view.

        Trust is zero for points that are hidden, outside the picture or turned away.
        """
        pixels_px, depth_z_m = (item[0] for item in self.camera.project(positions_world))
        to_camera = torch.nn.functional.normalize(self.camera.positions_world - positions_world, dim=1)
        cosine = (to_camera * normals_world).sum(1)
        picture = torch.stack([self.trust, self.inverse_z], -1)
        trust, inverse_z = sample(picture, pixels_px).unbind(1)
        width_m = depth_z_m / self.camera.focal_px[0, 0]
        slope = (1 - cosine**2).clamp_min(0).sqrt() / cosine.clamp_min(MIN_COSINE)
        tolerance_m = width_m * (1.0 + slope)
        is_front = depth_z_m * inverse_z < 1 + tolerance_m / depth_z_m.clamp_min(1e-9)
        is_near = (depth_z_m > 0) & (pixels_px >= 0).all(1)
        is_near &= (pixels_px[:, 0] <= self.camera.width_px) & (pixels_px[:, 1] <= self.camera.height_px)
        is_seen = is_front & is_near & (cosine > MIN_COSINE)
        return pixels_px, torch.where(is_seen, trust, 0.0), cosine.clamp_min(0)

    def weights(
        self, trust: Float[Tensor, " n"], cosine: Float[Tensor, " n"], positions_world: Float[Tensor, "n 3"], power: float
    ) -> Float[Tensor, " n"]:
        """How much of the surface's detail the picture resolves: pixels per area, sharpened by the viewing angle."""
        distance_m = (positions_world - self.camera.positions_world).norm(dim=1)
        return trust * cosine**power * (self.camera.focal_px[0, 0] / distance_m) ** 2


def observe(view: View, mesh: TriangleMesh, raster: Rasterizer, device: torch.device) -> Photograph:
    """Draw the mesh into a view's camera and find where the photograph can be trusted."""
    camera = batch_cameras([view.posed_camera], view.height_px, view.width_px, device)
    fragments = raster.rasterize(mesh.positions_world, mesh.faces, camera)
    depth_m = frames.transform_points(camera.camera_from_world[0], mesh.positions_world)[:, 2:]
    depth_z_m = raster.interpolate(depth_m, mesh.faces, fragments)[0, ..., 0]
    hit_mask = fragments.hit_mask[0]
    inverse_z = torch.where(hit_mask, 1 / depth_z_m.clamp_min(1e-9), 0.0)
    alpha = view.foreground_alpha.to(device)
    is_clear = (alpha >= OPAQUE_ALPHA) & ~_borders(inverse_z, hit_mask, float(camera.focal_px[0, 0]))
    linear = colour.linear_from_srgb(view.image_srgb.to(device))
    return Photograph(camera, linear, _trust(is_clear), inverse_z)


def _borders(inverse_z: Float[Tensor, "h w"], hit_mask: Bool[Tensor, "h w"], focal_px: float) -> Bool[Tensor, "h w"]:
    """Pixels beside another surface.

    1/z is affine over a plane, however steep: neighbours belong together when their difference continues the
    one before or the one after.
    """
    borders = ~hit_mask
    for axis in (0, 1):
        length = inverse_z.shape[axis]
        here, ahead = inverse_z.narrow(axis, 0, length - 1), inverse_z.narrow(axis, 1, length - 1)
        both = hit_mask.narrow(axis, 0, length - 1) & hit_mask.narrow(axis, 1, length - 1)
        step = torch.where(both, ahead - here, torch.inf)
        bend = (step.narrow(axis, 1, length - 2) - step.narrow(axis, 0, length - 2)).abs()
        bend = torch.where(bend.isfinite(), bend, torch.inf)
        edge = bend.new_full(bend.narrow(axis, 0, 1).shape, torch.inf)
        bend = torch.minimum(torch.cat([edge, bend], axis), torch.cat([bend, edge], axis))
        is_jump = ~both | (bend > LARGEST_BEND_PX / focal_px * torch.minimum(here, ahead))
        none = torch.zeros_like(is_jump.narrow(axis, 0, 1))
        borders = borders | torch.cat([is_jump, none], axis) | torch.cat([none, is_jump], axis)
    return borders


def _trust(is_clear: Bool[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Rise from the border of the clear region inwards."""
    clear = is_clear.float()[None, None]
    trust = torch.zeros_like(clear)
    for gain in BORDER_TRUST:
        trust = trust + gain * clear
        clear = -torch.nn.functional.max_pool2d(-clear, 3, stride=1, padding=1)
    return trust[0, 0] * is_clear


def sample(picture: Float[Tensor, "h w c"], pixels_px: Float[Tensor, "n 2"]) -> Float[Tensor, "n c"]:
    """Bilinear look-up at pixel coordinates, clamped at the border."""
    height, width = picture.shape[:2]
    x = (pixels_px[:, 0] - 0.5).clamp(0, width - 1)
    y = (pixels_px[:, 1] - 0.5).clamp(0, height - 1)
    left, top = x.floor().clamp_max(width - 2).long(), y.floor().clamp_max(height - 2).long()
    share_x, share_y = (x - left)[:, None], (y - top)[:, None]
    flat = picture.reshape(height * width, -1)
    corner = top * width + left
    upper = torch.lerp(flat[corner], flat[corner + 1], share_x)
    lower = torch.lerp(flat[corner + width], flat[corner + width + 1], share_x)
    return torch.lerp(upper, lower, share_y)
