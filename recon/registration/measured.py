"""The measured surface as points to register to, and the outlines as a check."""

import torch

from recon.arrays import Float, Tensor
from recon.observations import Observations
from recon.raster import Rasterizer
from recon.registration.register import SurfacePoints
from recon.registration.similarity import Similarity
from recon.scene import CameraBatch, Capture, TriangleMesh

MIN_INCIDENCE = 0.2
"""Surfaces seen flatter than this are measured badly."""
CELLS_ALONG_DIAGONAL = 120
"""One point is kept in each cell of a grid this fine, so that what several views see counts once."""
CHECK_SIDE_PX = 128
"""Outlines are compared on pictures of about this size."""


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
    pictures = []
    for view in capture.views:
        picture = view.image_srgb.float().cpu().permute(2, 0, 1)[None]
        mode = "area" if picture.shape[2] > height_px else "bilinear"
        pictures.append(torch.nn.functional.interpolate(picture, (height_px, width_px), mode=mode)[0].permute(1, 2, 0))
    return torch.stack(pictures)


class SilhouetteCheck:
    """How well a mesh, moved, fills the photographs' outlines: mean intersection over union of the views."""

    def __init__(self, mesh: TriangleMesh, observations: Observations, raster: Rasterizer) -> None:
        self._mesh, self._raster = mesh, raster
        factor = max(1, max(observations.alpha.shape[1:]) // CHECK_SIDE_PX)
        cameras = observations.cameras
        height, width = cameras.height_px // factor, cameras.width_px // factor
        scale = torch.tensor([width / cameras.width_px, height / cameras.height_px], device=cameras.device)
        self._cameras = CameraBatch(
            cameras.camera_from_world, cameras.focal_px * scale, cameras.principal_px * scale, height, width
        )
        self._masks = torch.nn.functional.interpolate(observations.alpha[:, None], (height, width), mode="area")[:, 0]

    def __call__(self, world_from_model: Similarity) -> float:
        positions = world_from_model.apply(self._mesh.positions_world.detach().cpu().double())
        positions = positions.to(self._mesh.positions_world)
        drawn = self._raster.rasterize(positions, self._mesh.faces, self._cameras).hit_mask
        photographed = self._masks > 0.5
        both, either = (drawn & photographed).flatten(1).sum(1), (drawn | photographed).flatten(1).sum(1)
        return float((both / either.clamp_min(1)).mean())
