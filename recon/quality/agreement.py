"""Where the inputs disagree among themselves, so that nobody blames the mesh for it."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from recon.quality.comparison import PSNR_LIMIT_DB, object_mask_on, overlap
from recon.quality.photographs import SurfacePoints, photographed_colours
from recon.quality.rendering import FirstHits, Surface
from recon.scene import TriangleMesh, View
from recon.scores import PhotoAgreement

SURROUNDINGS_FRACTION = 0.02
"""Depth farther outside the mesh's bounding box than this share of its diagonal shows something else."""


def outline_scores(view: View, surface: Surface, hits: FirstHits) -> dict[str, float]:
    """The photograph's mask against the outline in the depth image.

    Nothing where the depth image also shows surroundings, or where there is no mask but the depth's own.
    """
    if view.photo_alpha is not None:
        view = replace(view, foreground_alpha=view.photo_alpha, mask_source="plain")
    if view.depth is None or view.depth.is_relative or view.mask_source == "depth":
        return {}
    depth_z = view.depth.depth_z.to(hits.depth_z)
    valid_mask = view.depth.valid_mask.to(depth_z.device)
    positions_world = hits.cameras.unproject(depth_z[None])[0]
    margin = SURROUNDINGS_FRACTION * surface.diagonal
    low, high = surface.positions_world.amin(0) - margin, surface.positions_world.amax(0) + margin
    near_object = ((positions_world > low) & (positions_world < high)).all(-1)
    depth_mask = valid_mask & near_object
    depth_px = int(depth_mask.sum())
    shows_surroundings = int((valid_mask & ~near_object).sum()) > 0.05 * depth_px
    if shows_surroundings or not depth_px:
        return {}
    photo_mask = object_mask_on(view, depth_z)
    outside_fraction = int((depth_mask & ~photo_mask).sum()) / depth_px
    return {"photo_depth_iou": overlap(photo_mask, depth_mask), "depth_outside_fraction": outside_fraction}


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
    points = SurfacePoints(
        surface.positions_world, TriangleMesh(surface.positions_world, surface.faces).vertex_normals()
    )
    count = torch.zeros(surface.positions_world.shape[0], device=surface.faces.device)
    total = count.new_zeros(count.shape[0], 3)
    total_squared = torch.zeros_like(total)
    for view, hits in zip(views, all_hits, strict=True):
        colours, is_shown = photographed_colours(view, points, hits, surface.diagonal)
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
