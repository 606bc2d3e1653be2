"""The texture stage in order."""

from collections.abc import Callable

import torch

from recon import colour
from recon.raster import Rasterizer
from recon.scene import TEXEL_EMPTY, TEXEL_FILLED, TEXEL_OBSERVED, Capture, TexturedMesh, TriangleMesh
from recon.settings import Settings
from recon.texture.atlas import build_atlas
from recon.texture.blend import blend_views
from recon.texture.fill import fill_unseen, push_pull
from recon.texture.least_squares import build_rows, solve_texels
from recon.texture.photograph import observe
from recon.texture.texels import locate_texels


def bake_texture(
    mesh: TriangleMesh,
    capture: Capture,
    settings: Settings,
    raster: Rasterizer,
    device: torch.device,
    report_fraction: Callable[[float], None],
) -> TexturedMesh:
    """Colour a mesh from the photographs of a capture."""
    mesh = TriangleMesh(mesh.positions_world.to(device), mesh.faces.to(device))
    size_px = settings.texture_px or 1024
    atlas = build_atlas(mesh, size_px)
    report_fraction(0.2)
    texels = locate_texels(mesh, atlas)
    photographs = [observe(view, mesh, raster, device) for view in capture.views]
    report_fraction(0.3)
    gains = torch.ones(len(photographs), 3, device=device)
    blend = blend_views(texels, photographs, gains)
    linear = fill_unseen(mesh, texels, blend.linear, blend.is_seen)
    report_fraction(0.5)
    rows = build_rows(mesh, atlas, texels, photographs, gains, raster)
    report_fraction(0.8)
    linear = solve_texels(rows, linear)
    picture = texels.image(torch.cat([linear, torch.ones_like(linear[:, :1])], 1))
    picture = push_pull(picture[..., :3], picture[..., 3])
    texture_srgb = colour.srgb_from_linear(picture.clamp(0, 1))
    mark = torch.where(blend.is_seen, TEXEL_OBSERVED, TEXEL_FILLED)
    mark = torch.where(texels.is_inside, mark, TEXEL_EMPTY).to(torch.uint8)
    coverage = torch.zeros(size_px**2, dtype=torch.uint8, device=device).index_copy(0, texels.index, mark)
    report_fraction(1.0)
    return TexturedMesh(mesh, atlas.uv, atlas.face_corners, texture_srgb, coverage.view(size_px, size_px))
