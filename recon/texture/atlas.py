"""Texture coordinates for a mesh: charts, packed, sized to what the photographs show."""

from dataclasses import dataclass

import torch

from recon.arrays import Float, Int, Tensor
from recon.scene import CameraBatch, TriangleMesh
from recon.texture.charts import charts_from_labels, cut_charts, find_adjacency
from recon.texture.packing import find_hidden_faces, pack_charts, project_charts

GUTTER_PX = 2
"""Texels that a chart owns around its outline; two charts are twice that apart."""
PACKED_SHARE = 0.58
"""Share of the square that charts usually fill; only a first guess for the scale."""
TEXELS_PER_PIXEL = 1.25
"""Texels per pixel of the photographs, along a line; 1.1 to 3 score alike on held-out views."""
SIZE_STEP_PX, MIN_SIZE_PX, MAX_SIZE_PX = 256, 512, 8192
_MAX_SPLITS = 8


@dataclass(frozen=True)
class Atlas:
    """Where every face lies in the texture; no two faces overlap (by a texel or more).

    Attributes:
        corners_px: Texture positions in texels, x right, y down; the first texel's centre is (0.5, 0.5).
        face_corners: For every face corner its row in ``corners_px``.
        chart_of_face: 0, 1, ...
        size_px: Side of the square texture.
    """

    corners_px: Float[Tensor, "u 2"]
    face_corners: Int[Tensor, "f 3"]
    chart_of_face: Int[Tensor, " f"]
    size_px: int

    @property
    def uv(self) -> Float[Tensor, "u 2"]:
        """Texture coordinates: u right, v up, 0..1."""
        u, v = (self.corners_px / self.size_px).unbind(1)
        return torch.stack([u, 1 - v], 1)


def choose_size_px(mesh: TriangleMesh, cameras: list[CameraBatch]) -> int:
    """Side of the texture that holds a little more than the photographs' pixel density over the whole surface."""
    centre_world = sum(mesh.bounds_world()) / 2
    distances_m = torch.stack([(camera.positions_world[0] - centre_world).norm() for camera in cameras])
    focal_px = torch.stack([camera.focal_px[0].mean() for camera in cameras])
    pixels_per_metre = float((focal_px / distances_m).median())
    side_px = TEXELS_PER_PIXEL * pixels_per_metre * (_area_m2(mesh) / PACKED_SHARE) ** 0.5
    return int(min(max(-(-side_px // SIZE_STEP_PX) * SIZE_STEP_PX, MIN_SIZE_PX), MAX_SIZE_PX))


def _area_m2(mesh: TriangleMesh) -> float:
    return float(mesh.scaled_face_normals().norm(dim=1).sum()) / 2


def build_atlas(mesh: TriangleMesh, size_px: int) -> Atlas:
    """Cut, flatten and pack a mesh into a square texture of the given side."""
    adjacency = find_adjacency(mesh)
    charts = cut_charts(mesh, adjacency)
    texels_per_metre = size_px * (PACKED_SHARE / max(_area_m2(mesh), 1e-30)) ** 0.5
    layout = project_charts(mesh, charts, texels_per_metre)
    for split in range(_MAX_SPLITS + 1):
        hidden = find_hidden_faces(mesh, charts, layout)
        if not bool(hidden.any()):
            break
        storey = hidden.long()
        if split >= _MAX_SPLITS // 2:  # a tangle: every hidden face becomes a chart of its own
            storey = torch.where(hidden, hidden.cumsum(0), 0)
        label = charts.chart_of_face * (int(storey.max()) + 1) + storey
        charts = charts_from_labels(mesh, adjacency, label, charts.direction_world[charts.chart_of_face])
        layout = project_charts(mesh, charts, texels_per_metre)
    packed, side_px = pack_charts(layout, GUTTER_PX)
    return Atlas(packed.positions_px * (size_px / side_px), packed.face_corners, charts.chart_of_face, size_px)
