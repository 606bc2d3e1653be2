"""What a photograph shows at points of the surface."""

from dataclasses import dataclass

import torch

from recon.arrays import Bool, Float, Tensor
from recon.quality.rendering import FirstHits
from recon.scene import View

MIN_FACING_COSINE = 0.35
"""Surface turned away further than 70 degrees is smeared in a photograph and is not compared."""

OCCLUSION_FRACTION = 0.005
"""A point this share of the diagonal behind the first hit is hidden."""


@dataclass(frozen=True)
class SurfacePoints:
    """Points of a surface with their unit normals."""

    positions_world: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"]


def photographed_colours(
    view: View, points: SurfacePoints, hits: FirstHits, diagonal: float
) -> tuple[Float[Tensor, "n 3"], Bool[Tensor, " n"]]:
    """A photograph's sRGB at surface points, and which points it shows well.

    Shown well: inside the object's mask with all neighbouring pixels, not hidden, and turned towards the camera.
    """
    projected_px, projected_z = hits.cameras.project(points.positions_world)
    pixels_px, depth_z = projected_px[0], projected_z[0]
    height_px, width_px = hits.face_index.shape
    grid = pixels_px / pixels_px.new_tensor([width_px, height_px]) * 2 - 1
    image = view.image_srgb.to(grid).permute(2, 0, 1)
    # 3 x 3 minimum: pixels on the outline mix object and background
    alpha = -torch.nn.functional.max_pool2d(-view.foreground_alpha.to(grid)[None, None], 3, stride=1, padding=1)
    layers = torch.cat([image[None], alpha], 1)
    looked_up = torch.nn.functional.grid_sample(layers, grid[None, None], align_corners=False)[0, :, 0].T
    column = pixels_px[:, 0].floor().clamp(0, width_px - 1).long()
    row = pixels_px[:, 1].floor().clamp(0, height_px - 1).long()
    is_inside = (grid.abs() < 1).all(1) & (depth_z > 0)
    is_first = depth_z < hits.depth_z[row, column] + OCCLUSION_FRACTION * diagonal
    towards_camera = torch.nn.functional.normalize(hits.cameras.positions_world - points.positions_world, dim=1)
    is_facing = (towards_camera * points.normals).sum(1) > MIN_FACING_COSINE
    is_shown = is_inside & is_first & is_facing & (looked_up[:, 3] > 0.99) & (hits.face_index[row, column] >= 0)
    return looked_up[:, :3], is_shown
