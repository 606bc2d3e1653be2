"""The measured surface as points to register to, and the outlines as a check."""

import torch

from recon.arrays import Float, Tensor
from recon.observations import Observations
from recon.registration.similarity import Similarity
from recon.registration.surface_points import SurfacePoints
from recon.scene import CameraBatch, Capture

MIN_INCIDENCE = 0.2
"""Surfaces seen flatter than this are measured badly."""
CELLS_ALONG_DIAGONAL = 120
"""One point is kept in each cell of a grid this fine, so that what several views see counts once."""
CHECK_SIDE_PX = 128
"""Outlines are compared on pictures of at most this size: coarse enough for 12,000 points to leave few gaps."""


def measured_points(observations: Observations, capture: Capture, seed: int = 0) -> SurfacePoints:
    """Fused depth points with normals and the photographs' colours, thinned to even density, in random order."""
    chosen = observations.depth_mask & (observations.incidence > MIN_INCIDENCE)
    positions = observations.points_world()[chosen].cpu().double()
    normals = observations.normals_world[chosen].cpu().double()
    colours = _colours(capture, chosen.shape[1], chosen.shape[2])[chosen.cpu()].double()
    if positions.shape[0] == 0:
        return SurfacePoints(positions, normals, colours)
    extent = positions.amax(0) - positions.amin(0)
    cells = ((positions - positions.amin(0)) / (extent.norm() / CELLS_ALONG_DIAGONAL)).long()
    size = cells.amax(0) + 1
    key = (cells[:, 0] * size[1] + cells[:, 1]) * size[2] + cells[:, 2]
    order = torch.randperm(len(key), generator=torch.Generator().manual_seed(seed))
    unique, group = torch.unique(key[order], return_inverse=True)
    first = torch.full((len(unique),), len(order)).scatter_reduce(0, group, torch.arange(len(order)), "amin")
    kept = order[first[torch.randperm(len(first), generator=torch.Generator().manual_seed(seed))]]
    return SurfacePoints(positions[kept], normals[kept], colours[kept])


def _colours(capture: Capture, height_px: int, width_px: int) -> Float[Tensor, "k h w 3"]:
    """The photographs on the depths' pixels, where each shows what the depth measured there."""
    pictures = []
    for view in capture.views:
        picture = view.image_srgb.float().cpu().permute(2, 0, 1)[None]
        if view.image_from_camera is not None:
            picture = _as_the_camera_sees(picture, view.image_from_camera)
        mode = "area" if picture.shape[2] > height_px else "bilinear"
        pictures.append(torch.nn.functional.interpolate(picture, (height_px, width_px), mode=mode)[0].permute(1, 2, 0))
    return torch.stack(pictures)


def _as_the_camera_sees(
    picture: Float[Tensor, "1 3 h w"], image_from_camera: Float[Tensor, "2 3"]
) -> Float[Tensor, "1 3 h w"]:
    """Undo the similarity between a photograph and its depth image."""
    height, width = picture.shape[2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    place_px = torch.stack([x, y, torch.ones_like(x)], -1) @ image_from_camera.float().cpu().T
    place = 2 * place_px / torch.tensor([width, height]) - 1
    return torch.nn.functional.grid_sample(picture, place[None], padding_mode="border", align_corners=False)


class SilhouetteCheck:
    """How well a surface, moved, fills the photographs' outlines: mean intersection over union of the views.

    The surface is drawn as points on a coarse picture whose gaps are closed; the outlines are treated alike.
    """

    def __init__(self, points_model: Float[Tensor, "n 3"], observations: Observations) -> None:
        self._points = points_model.detach().cpu().double()
        cameras = observations.cameras
        factor = max(1, -(-max(cameras.height_px, cameras.width_px) // CHECK_SIDE_PX))
        height, width = cameras.height_px // factor, cameras.width_px // factor
        scale = torch.tensor([width / cameras.width_px, height / cameras.height_px], device=cameras.device)
        self._cameras = CameraBatch(
            cameras.camera_from_world.cpu().double(),
            (cameras.focal_px * scale).cpu().double(),
            (cameras.principal_px * scale).cpu().double(),
            height,
            width,
        )
        alpha = torch.nn.functional.interpolate(observations.alpha[:, None].cpu(), (height, width), mode="area")
        self._masks = _gaps_closed((alpha > 0.5).float()) > 0.5

    def __call__(self, world_from_model: Similarity) -> float:
        pixels_px, depth_z_m = self._cameras.project(world_from_model.apply(self._points))
        height, width = self._cameras.height_px, self._cameras.width_px
        column, row = pixels_px.floor().long().unbind(-1)
        is_inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (depth_z_m > 0)
        drawn = torch.zeros(self._cameras.count, height * width)
        drawn.scatter_reduce_(1, torch.where(is_inside, row * width + column, 0), is_inside.float(), "amax")
        silhouette = _gaps_closed(drawn.view(-1, 1, height, width)) > 0.5
        both = (silhouette & self._masks).flatten(1).sum(1)
        return float((both / (silhouette | self._masks).flatten(1).sum(1).clamp_min(1)).mean())


def _gaps_closed(mask: Float[Tensor, "k 1 h w"]) -> Float[Tensor, "k 1 h w"]:
    """Morphological closing by one pixel."""
    grown = torch.nn.functional.max_pool2d(mask, 3, stride=1, padding=1)
    return -torch.nn.functional.max_pool2d(-grown, 3, stride=1, padding=1)
