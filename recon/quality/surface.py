"""How much of the surface was photographed, and how much was filled in."""

import torch

from recon.scene import TEXEL_EMPTY, TEXEL_FILLED, TEXEL_GENERATED, TEXEL_OBSERVED, TexturedMesh
from recon.scores import SurfaceShares

PROBES = ((1 / 3, 1 / 3, 1 / 3), (0.6, 0.2, 0.2), (0.2, 0.6, 0.2), (0.2, 0.2, 0.6))
"""Barycentric points looked up in each face; well inside, so that charts' rims do not matter."""


def surface_shares(textured: TexturedMesh) -> SurfaceShares:
    """Area-weighted shares of observed, filled and generated surface; texels outside every chart do not count."""
    probes = torch.tensor(PROBES)
    corner_uv = textured.uv.detach().cpu().float()[textured.face_uv.cpu()]
    probe_uv = torch.einsum("pc,fcx->fpx", probes, corner_uv)
    coverage = textured.coverage.cpu()
    height, width = coverage.shape
    column = (probe_uv[..., 0] * width).floor().clamp(0, width - 1).long()
    row = ((1 - probe_uv[..., 1]) * height).floor().clamp(0, height - 1).long()
    kind = coverage[row, column]
    area = textured.mesh.scaled_face_normals().detach().cpu().double().norm(dim=1)[:, None].expand(kind.shape)
    total = float(area[kind != TEXEL_EMPTY].sum()) or 1.0
    observed, filled, generated = (
        float(area[kind == value].sum()) / total for value in (TEXEL_OBSERVED, TEXEL_FILLED, TEXEL_GENERATED)
    )
    return SurfaceShares(observed_fraction=observed, filled_fraction=filled, generated_fraction=generated)
