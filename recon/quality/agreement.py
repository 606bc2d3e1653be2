"""Where the inputs disagree among themselves, so that nobody blames the mesh for it."""

from collections.abc import Sequence

import torch

from recon.arrays import Bool, Float, Tensor
from recon.quality.comparison import PSNR_LIMIT_DB, object_mask_on, overlap
from recon.quality.rendering import FirstHits, Surface
from recon.scene import TriangleMesh, View
from recon.scores import PhotoAgreement

SURROUNDINGS_FRACTION = 0.02
"""Depth farther outside the mesh's bounding box than this share of its diagonal shows something else."""

MIN_FACING_COSINE = 0.35
"""Surface turned away further than 70 degrees is smeared in a photograph and is not compared."""

OCCLUSION_FRACTION = 0.005
"""A point this share of the diagonal behind the first hit is hidden."""


def photo_depth_iou(view: View, surface: Surface, hits: FirstHits) -> float | None:
    """The photograph's mask against the outline in the depth image.

    None where the depth image also shows surroundings, or where the mask was taken from the depth.
    """
    if view.depth is None or view.depth.is_relative or view.mask_source == "depth":
        return None
    depth_z = view.depth.depth_z.to(hits.depth_z)
    valid_mask = view.depth.valid_mask.to(depth_z.device)
    positions_world = hits.cameras.unproject(depth_z[None])[0]
    margin = SURROUNDINGS_FRACTION * surface.diagonal
    low, high = surface.positions_world.amin(0) - margin, surface.positions_world.amax(0) + margin
    near_object = ((positions_world > low) & (positions_world < high)).all(-1)
    depth_mask = valid_mask & near_object
    shows_surroundings = int((valid_mask & ~near_object).sum()) > 0.05 * int(depth_mask.sum())
    if shows_surroundings or not bool(depth_mask.any()):
        return None
    return overlap(object_mask_on(view, *depth_z.shape), depth_mask.cpu())


def flipped_face_count(surface: Surface, all_hits: Sequence[FirstHits]) -> int:
    """Faces that cameras see mainly from behind.

    A single pixel proves nothing: on a silhouette, front and back meet at the same depth.
    """
    mesh = TriangleMesh(surface.positions_world, surface.faces)
    normals, corner = mesh.scaled_face_normals(), surface.positions_world[surface.faces[:, 0]]
    face_count = surface.faces.shape[0]
    front_px = torch.zeros(face_count, device=corner.device)
    behind_px = torch.zeros_like(front_px)
    for hits in all_hits:
        seen_px = torch.bincount(hits.face_index[hits.face_index >= 0], minlength=face_count)
        faces_camera = ((hits.cameras.positions_world - corner) * normals).sum(1) > 0
        front_px += seen_px * faces_camera
        behind_px += seen_px * ~faces_camera
    return int(((behind_px > front_px) & (behind_px >= 2)).sum())


@torch.no_grad()
def photo_agreement(views: Sequence[View], surface: Surface, all_hits: Sequence[FirstHits]) -> PhotoAgreement:
    """Compare photographs with one another at the mesh's vertices.

    Each vertex that several photographs show well is looked up in all of them; what differs from their mean is
    beyond any texture: another light or exposure, gloss, a wrong camera, or pictures of different things.
    """
    normals = TriangleMesh(surface.positions_world, surface.faces).vertex_normals()
    count = torch.zeros(surface.positions_world.shape[0], device=surface.faces.device)
    total = count.new_zeros(count.shape[0], 3)
    total_squared = torch.zeros_like(total)
    for view, hits in zip(views, all_hits, strict=True):
        colours, is_shown = _look_up(view, surface, normals, hits)
        count += is_shown
        total += colours * is_shown[:, None]
        total_squared += colours**2 * is_shown[:, None]
    is_shared = count >= 2
    overlap_fraction = float(is_shared.sum()) / max(1.0, float((count >= 1).sum()))
    if not bool(is_shared.any()):
        return PhotoAgreement(overlap_fraction=0.0, agreement_db=None)
    mean = total / count.clamp_min(1)[:, None]
    squared_error = (total_squared - count[:, None] * mean**2)[is_shared].clamp_min(0).sum()
    mean_square = (squared_error / (3 * count[is_shared].sum())).clamp_min(10 ** (-PSNR_LIMIT_DB / 10))
    return PhotoAgreement(overlap_fraction=overlap_fraction, agreement_db=float(-10 * mean_square.log10()))


def _look_up(
    view: View, surface: Surface, normals: Float[Tensor, "v 3"], hits: FirstHits
) -> tuple[Float[Tensor, "v 3"], Bool[Tensor, " v"]]:
    """A photograph's colours at the vertices, and which vertices it shows well inside the object."""
    pixels_px, depth_z = (item[0] for item in hits.cameras.project(surface.positions_world))
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
    is_first = depth_z < hits.depth_z[row, column] + OCCLUSION_FRACTION * surface.diagonal
    towards_camera = torch.nn.functional.normalize(hits.cameras.positions_world - surface.positions_world, dim=1)
    is_facing = (towards_camera * normals).sum(1) > MIN_FACING_COSINE
    is_shown = is_inside & is_first & is_facing & (looked_up[:, 3] > 0.99) & (hits.face_index[row, column] >= 0)
    return looked_up[:, :3], is_shown
