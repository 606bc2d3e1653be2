"""The texture stage in order."""

from collections.abc import Callable
from dataclasses import replace

import torch

from recon import colour
from recon.arrays import Float, Int, Tensor
from recon.raster import Rasterizer
from recon.scene import (
    TEXEL_EMPTY,
    TEXEL_FILLED,
    TEXEL_GENERATED,
    TEXEL_OBSERVED,
    Capture,
    TexturedMesh,
    TriangleMesh,
)
from recon.settings import Settings
from recon.texture.atlas import Atlas, build_atlas, choose_size_px
from recon.texture.blend import blend_sightings, credit_diffuse
from recon.texture.exposure import solve_gains
from recon.texture.fill import fill_unseen, push_pull
from recon.texture.least_squares import WeighedPhotograph, build_rows, solve_texels
from recon.texture.photograph import BORDER_TRUST, Photograph, Sighting, observe
from recon.texture.texels import Texels, locate_texels

ANGLE_POWER = 4.0
"""Exponent of the cosine in a view's share of a texel during texel optimisation."""
UnseenColours = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 3"]]
"""Colours in linear light at world positions that no photograph shows."""
LEAST_CREDIT = 0.05
"""Every view keeps this share: where the geometry is right, oblique views add detail."""
DISAGREEING_BORDER_TRUST = (0.4, 0.3, 0.3)
"""In place of ``BORDER_TRUST`` where photographs disagree anyway: a blurred border beats a filled one, by 0.2 dB on the
capture of a sneaker."""


def bake_texture(  # noqa: PLR0913, PLR0917 - the six that every stage takes, and what a model knows of the unseen
    mesh: TriangleMesh,
    capture: Capture,
    settings: Settings,
    raster: Rasterizer,
    device: torch.device,
    report_fraction: Callable[[float], None],
    unseen_linear: UnseenColours | None = None,
) -> TexturedMesh:
    """Colour a mesh from the photographs of a capture.

    Args:
        mesh: Closed, decimated (tens of thousands of faces).
        capture: Every view posed.
        settings: ``texture_px`` overrides the size that follows from the photographs.
        raster: Draws the mesh to decide visibility and which texels a pixel mixes.
        device: Where everything happens.
        report_fraction: Called with 0..1 between steps; may raise to cancel.
        unseen_linear: A model's own colours for what no photograph shows, which is then marked TEXEL_GENERATED;
            None fills it from its seen neighbours.

    Returns:
        The mesh with texture and coverage on the device; texels of no chart carry colour but are TEXEL_EMPTY.
    """
    mesh = TriangleMesh(mesh.positions_world.to(device), mesh.faces.to(device))
    disagree = capture.photographs_disagree
    border_trust = DISAGREEING_BORDER_TRUST if disagree else BORDER_TRUST
    photographs = [observe(view.photographed(), mesh, raster, device, border_trust) for view in capture.views]
    report_fraction(0.1)
    atlas = build_atlas(mesh, settings.texture_px or choose_size_px(mesh, [item.camera for item in photographs]))
    texels = locate_texels(mesh, atlas)
    report_fraction(0.25)
    sightings = [item.sight(texels.positions_world, texels.normals_world) for item in photographs]
    gains = torch.ones(len(sightings), 3, device=device) if disagree else solve_gains(texels.count, sightings)
    sightings = [replace(item, linear=item.linear * gain) for item, gain in zip(sightings, gains, strict=True)]
    # What differs between pictures of different things is neither exposure nor gloss; their mean fits them best.
    alike = [torch.ones_like(item.trust) for item in sightings]
    view_credits = alike if disagree else credit_diffuse(texels, sightings)
    blend = blend_sightings(texels.count, sightings, view_credits)
    if unseen_linear is None:
        linear, unseen_mark = fill_unseen(mesh, texels, blend.linear, blend.is_seen), TEXEL_FILLED
    else:
        unseen = torch.nonzero(~blend.is_seen).squeeze(1)
        generated = unseen_linear(texels.positions_world[unseen]).to(blend.linear)
        linear, unseen_mark = blend.linear.index_copy(0, unseen, generated), TEXEL_GENERATED
    report_fraction(0.5)
    if disagree:
        ones = gains.new_ones(texels.count)
        weighed = [WeighedPhotograph(item, gain, ones) for item, gain in zip(photographs, gains, strict=True)]
    else:
        weighed = _weigh(photographs, gains, texels.count, sightings, view_credits)
    rows = build_rows(mesh, atlas, texels, weighed, raster)
    report_fraction(0.85)
    linear = solve_texels(rows, linear)
    report_fraction(1.0)
    return _textured(mesh, atlas, texels, torch.where(blend.is_seen, TEXEL_OBSERVED, unseen_mark), linear)


def _weigh(
    photographs: list[Photograph],
    gains: Float[Tensor, "k 3"],
    texel_count: int,
    sightings: list[Sighting],
    view_credits: list[Float[Tensor, " _"]],
) -> list[WeighedPhotograph]:
    """Spread every view's credit over all texels: its share of the views' weights, less what looks like gloss."""
    weights = [sighting.weights(ANGLE_POWER) for sighting in sightings]
    total = gains.new_zeros(texel_count)
    for sighting, weight in zip(sightings, weights, strict=True):
        total[sighting.point] += weight
    weighed = []
    views = zip(photographs, gains, sightings, weights, view_credits, strict=True)
    for photograph, gain, sighting, weight, credit in views:
        spread = gains.new_zeros(texel_count)
        spread[sighting.point] = credit * (LEAST_CREDIT + weight / total[sighting.point].clamp_min(1e-30))
        weighed.append(WeighedPhotograph(photograph, gain, spread))
    return weighed


def _textured(
    mesh: TriangleMesh, atlas: Atlas, texels: Texels, mark: Int[Tensor, " n"], linear: Float[Tensor, "n 3"]
) -> TexturedMesh:
    """Lay the texels out, flood the space between the charts, and mark where each texel's colour is from."""
    picture = texels.image(torch.cat([linear, torch.ones_like(linear[:, :1])], 1))
    picture = push_pull(picture[..., :3], picture[..., 3])
    mark = torch.where(texels.is_inside, mark, TEXEL_EMPTY).to(torch.uint8)
    coverage = torch.full((texels.size_px**2,), TEXEL_EMPTY, dtype=torch.uint8, device=mark.device)
    coverage = coverage.index_copy(0, texels.index, mark).view(texels.size_px, texels.size_px)
    return TexturedMesh(mesh, atlas.uv, atlas.face_corners, colour.srgb_from_linear(picture.clamp(0, 1)), coverage)
