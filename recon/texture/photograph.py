"""What one photograph says about a surface: colour in linear light, and how much each pixel may be trusted.

Occlusion is decided here and nowhere else, against the depth of the mesh itself.
"""

from dataclasses import dataclass, fields, replace

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
DEPTH_TOLERANCE_PX = 1.5
"""How far behind the drawn depth a visible point may lie, in pixel widths; a slope needs no more, 1/z being affine."""
MIN_COSINE = 0.05
"""Surfaces seen flatter than this (87 degrees) are not seen."""
_CHUNK = 1 << 19
"""Points looked up at a time: bounds memory, and stays in the cache."""


@dataclass(frozen=True)
class Sighting:
    """The surface points that one photograph sees.

    Attributes:
        point: Which of the points asked for; every one at most once, ascending.
        linear: What the photograph shows there, in linear light.
        trust: 0..1, never 0.
        cosine: Between the surface normal and the direction to the camera.
        pixels_per_metre: Resolution of the photograph there, for a surface that faces it.
    """

    point: Int[Tensor, " m"]
    linear: Float[Tensor, "m 3"]
    trust: Float[Tensor, " m"]
    cosine: Float[Tensor, " m"]
    pixels_per_metre: Float[Tensor, " m"]

    def weights(self, angle_power: float) -> Float[Tensor, " m"]:
        """Trust times pixels per area, sharpened by the viewing angle."""
        return self.trust * self.cosine**angle_power * self.pixels_per_metre**2


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

    def sight(self, positions_world: Float[Tensor, "n 3"], normals_world: Float[Tensor, "n 3"]) -> Sighting:
        """Look surface points up; those hidden, outside the picture, turned away or without trust are left out."""
        picture = torch.cat([self.linear, self.trust[..., None], self.inverse_z[..., None]], -1)
        parts, first = [], 0
        for positions, normals in zip(positions_world.split(_CHUNK), normals_world.split(_CHUNK), strict=True):
            part = self._sight_some(picture, positions, normals)
            parts.append(replace(part, point=part.point + first))
            first += positions.shape[0]
        columns = [torch.cat([getattr(part, item.name) for part in parts]) for item in fields(Sighting)]
        return Sighting(*columns)

    def _sight_some(
        self,
        picture: Float[Tensor, "h w 5"],
        positions_world: Float[Tensor, "n 3"],
        normals_world: Float[Tensor, "n 3"],
    ) -> Sighting:
        to_camera = torch.nn.functional.normalize(self.camera.positions_world - positions_world, dim=1)
        cosine = (to_camera * normals_world).sum(1)
        point = torch.nonzero(cosine > MIN_COSINE).squeeze(1)
        cosine = cosine[point]
        pixels_px, depth_z_m = (item[0] for item in self.camera.project(positions_world[point]))
        looked_up = sample(picture, pixels_px)
        focal_px = self.camera.focal_px[0, 0]
        is_front = depth_z_m * looked_up[:, 4] < 1 + DEPTH_TOLERANCE_PX / focal_px
        size_px = pixels_px.new_tensor([self.camera.width_px, self.camera.height_px])
        is_inside = ((pixels_px >= 0) & (pixels_px <= size_px)).all(1) & (depth_z_m > 0)
        kept = torch.nonzero(is_front & is_inside & (looked_up[:, 3] > 0)).squeeze(1)
        looked_up = looked_up[kept]
        return Sighting(
            point[kept], looked_up[:, :3], looked_up[:, 3], cosine[kept], focal_px / depth_z_m[kept].clamp_min(1e-9)
        )


def observe(
    view: View,
    mesh: TriangleMesh,
    raster: Rasterizer,
    device: torch.device,
    border_trust: tuple[float, ...] = BORDER_TRUST,
) -> Photograph:
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
    return Photograph(camera, linear, _trust(is_clear, border_trust), inverse_z)


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


def _trust(is_clear: Bool[Tensor, "h w"], border_trust: tuple[float, ...]) -> Float[Tensor, "h w"]:
    """Rise from the border of the clear region inwards."""
    clear = is_clear.float()[None, None]
    trust = torch.zeros_like(clear)
    for gain in border_trust:
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
