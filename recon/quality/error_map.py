"""Where on the surface the mesh and its photographs differ, as a picture with the texture's layout."""

from pathlib import Path

import torch
from PIL import Image

from recon.arrays import Float, Tensor, UInt8
from recon.colour import srgb_from_linear
from recon.errors import writing
from recon.quality.photographs import SurfacePoints, photographed_colours
from recon.quality.rendering import Surface, first_hits, surface_on
from recon.raster import Fragments, Rasterizer
from recon.scene import CameraBatch, Capture, TexturedMesh, TriangleMesh

MAX_SIDE_PX = 1024
"""Fine enough for a picture on a screen, whatever the texture's size."""

FULL_SCALE = 0.25
"""The colour difference (root mean square over channels and photographs, 0 to 1) that gets the last palette entry."""

UNSEEN_COLOUR = (128, 128, 128)

RAMP = ((13, 8, 135), (126, 3, 168), (204, 71, 120), (248, 149, 64), (240, 249, 33))
"""Dark blue to yellow with even steps in lightness (plasma, van der Walt and Smith 2015)."""

BLEED_PX = 4
"""Each chart's rim is repeated this far outwards, so that filtered look-ups stay inside."""


def write_error_map(
    textured: TexturedMesh, capture: Capture, raster: Rasterizer, device: torch.device, path: Path
) -> None:
    """Write a palette PNG: index 0 for surface that no photograph shows well, 1 to 255 for 0 to ``FULL_SCALE``.

    Raises:
        DiskFull, OutputNotWritable: The file could not be written.
    """
    indices = error_indices(textured, capture, raster, device).cpu().numpy()
    height_px, width_px = indices.shape
    picture = Image.frombytes("P", (width_px, height_px), indices.tobytes())
    picture.putpalette(_palette())
    with writing(path.name):
        picture.save(path, "PNG", compress_level=4)


@torch.no_grad()
def error_indices(
    textured: TexturedMesh, capture: Capture, raster: Rasterizer, device: torch.device
) -> UInt8[Tensor, "h w"]:
    """Palette index of every texel; see ``write_error_map``."""
    surface = surface_on(textured, device)
    fragments = _texels(surface, raster)
    is_texel = fragments.hit_mask[0]
    points = _texel_points(surface, fragments, raster)
    own_srgb = _own_colours(surface, fragments, raster)[is_texel]
    total = torch.zeros(own_srgb.shape[0], device=device)
    count = torch.zeros_like(total)
    for view in capture.views:
        hits = first_hits(surface, view.posed_camera, view.height_px, view.width_px, raster)
        colours, is_shown = photographed_colours(view, points, hits, surface.diagonal)
        total += ((colours - own_srgb) ** 2).mean(1) * is_shown
        count += is_shown
    difference = (total / count.clamp_min(1)).sqrt()
    picture = torch.zeros(is_texel.shape, device=device)
    picture[is_texel] = (1 + 254 * (difference / FULL_SCALE).clamp_max(1)).round() * (count > 0)
    return _bleed(picture, is_texel.float()).to(torch.uint8)


def _texels(surface: Surface, raster: Rasterizer) -> Fragments:
    """What lies under every texel: the atlas, laid out in the plane z = 1 before a camera of focal length 1 pixel."""
    device = surface.uv.device
    texture_size_px = torch.tensor(surface.texture_linear.shape[:2])
    height_px, width_px = (texture_size_px * min(1.0, MAX_SIDE_PX / int(texture_size_px.max()))).round().int().tolist()
    positions = torch.stack(
        [surface.uv[:, 0] * width_px, (1 - surface.uv[:, 1]) * height_px, torch.ones_like(surface.uv[:, 0])], 1
    )
    ones, zeros = torch.ones(1, 2, device=device), torch.zeros(1, 2, device=device)
    camera = CameraBatch(torch.eye(4, device=device)[None], ones, zeros, height_px, width_px)
    return raster.rasterize(positions, surface.face_uv, camera)


def _texel_points(surface: Surface, fragments: Fragments, raster: Rasterizer) -> SurfacePoints:
    normals = TriangleMesh(surface.positions_world, surface.faces).vertex_normals()
    attributes = raster.interpolate(torch.cat([surface.positions_world, normals], 1), surface.faces, fragments)
    at_texels = attributes[fragments.hit_mask]
    return SurfacePoints(at_texels[:, :3], torch.nn.functional.normalize(at_texels[:, 3:], dim=1))


def _own_colours(surface: Surface, fragments: Fragments, raster: Rasterizer) -> Float[Tensor, "h w 3"]:
    uv = raster.interpolate(surface.uv, surface.face_uv, fragments)
    return srgb_from_linear(raster.sample_texture(surface.texture_linear, uv, fragments.hit_mask)[0])


def _bleed(picture: Float[Tensor, "h w"], is_filled: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Repeat the largest neighbouring value into texels outside every chart, pixel by pixel."""
    layers = torch.stack([picture, is_filled])
    for _ in range(BLEED_PX):
        grown = torch.nn.functional.max_pool2d(layers[None], 3, stride=1, padding=1)[0]
        layers = torch.where(layers[1:] > 0, layers, grown)
    return layers[0]


def _palette() -> list[int]:
    """768 numbers: the unseen colour, then 255 steps along the ramp."""
    stops = torch.tensor(RAMP, dtype=torch.float32)
    place = torch.linspace(0, len(RAMP) - 1, 255)
    lower = place.floor().long().clamp_max(len(RAMP) - 2)
    share = (place - lower)[:, None]
    colours = (stops[lower] * (1 - share) + stops[lower + 1] * share).round().int()
    return [*UNSEEN_COLOUR, *colours.flatten().tolist()]
