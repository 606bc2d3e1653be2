"""Every photograph beside the mesh drawn from its place and the difference between the two."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from recon.arrays import Bool, Float, Tensor
from recon.previews.drawing import BACKGROUND_SRGB, Subject, albedo_srgb, over_background, pixels
from recon.previews.sheet_layout import GAP_PX, SheetLayout
from recon.raster import Rasterizer
from recon.scene import Camera, CameraBatch, Capture, View, batch_cameras

SUPERSAMPLING = 2
MARGIN_SHARE = 0.06
"""Air around the object in its tile."""

FULL_SCALE = 32
"""Mean difference of the three channels, of 255, at the bright end of the scale."""

HEAT_SRGB = ((0.05, 0.03, 0.53), (0.49, 0.01, 0.66), (0.80, 0.28, 0.47), (0.97, 0.58, 0.25), (0.94, 0.98, 0.13))
"""No difference to full scale; equal steps look equal, in print and to the colour-blind (matplotlib's plasma)."""

INK = (28, 32, 40)
PAPER = (255, 255, 255)
OUTLINE_SRGB = (0.10, 0.75, 0.55)


_Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_contact_sheet(
    subject: Subject, capture: Capture, raster: Rasterizer, psnr_db: Mapping[str, float | None]
) -> Image.Image:
    """One row of three tiles per view, in two columns.

    Args:
        subject: The mesh on the raster's device.
        capture: Every view has a camera.
        raster: Draws the mesh.
        psnr_db: Printed beside the view's name where known.
    """
    layout = SheetLayout(len(capture.views))
    sheet = Image.new("RGB", layout.size_px, PAPER)
    _draw_header(sheet)
    for index, view in enumerate(capture.views):
        _draw_caption(sheet, layout.caption_corner_px(index), view.name, psnr_db.get(view.name), layout.block_width_px)
        left_px, top_px, *_ = layout.tiles_box_px(index)
        for position, tile in enumerate(_tiles(view, subject, raster, layout.tile_px)):
            sheet.paste(tile, (left_px + position * (layout.tile_px + GAP_PX), top_px))
    return sheet


def _draw_header(sheet: Image.Image) -> None:
    """What the tiles are, and the scale of the differences."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    draw.text((GAP_PX, 10), "photograph  |  mesh  |  difference (the line is the photograph's outline)", INK, font)
    bar = _heat(torch.linspace(0, 1, 160).expand(12, 160))
    left_px = sheet.width - GAP_PX - 160 - 70
    sheet.paste(Image.fromarray(pixels(bar).numpy()), (left_px, 13))
    draw.text((left_px - 6, 10), "0", INK, font, anchor="ra")
    draw.text((left_px + 166, 10), f"{FULL_SCALE} of 255", INK, font)


def _draw_caption(
    sheet: Image.Image, corner_px: tuple[int, int], name: str, psnr_db: float | None, width_px: int
) -> None:
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    left_px, top_px = corner_px
    score = "" if psnr_db is None else f"{psnr_db:.1f} dB"
    draw.text((left_px + width_px, top_px + 5), score, INK, font, anchor="ra")
    available_px = width_px - int(draw.textlength(score, font)) - 2 * GAP_PX
    draw.text((left_px, top_px + 5), _shortened(name, draw, font, available_px), INK, font)


def _shortened(name: str, draw: ImageDraw.ImageDraw, font: _Font, available_px: int) -> str:
    """As much of a name as fits; what cannot be printed becomes a question mark."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    if draw.textlength(shown, font=font) <= available_px:
        return shown
    cuts = (shown[:length] + "..." for length in range(len(shown), 0, -1))
    return next((cut for cut in cuts if draw.textlength(cut, font=font) <= available_px), "")


def _tiles(view: View, subject: Subject, raster: Rasterizer, tile_px: int) -> list[Image.Image]:
    """Photograph, mesh and difference, cut to the object."""
    box_px = _box_around_object(view, subject)
    cut_out = _cut(view.image_srgb, view.foreground_alpha, box_px, tile_px)
    photograph, mask = _over_background(cut_out), cut_out[..., 3]
    is_cut_out = view.mask_source == "alpha"  # what lies behind the object is then not a photograph
    opaque = torch.ones_like(view.foreground_alpha)
    whole = cut_out if is_cut_out else _cut(view.image_srgb, opaque, box_px, tile_px)
    drawn, coverage = _draw_view(view.posed_camera, subject, raster, box_px, tile_px)
    difference = (drawn - photograph).abs().mean(-1) * 255 / FULL_SCALE
    is_object = (mask > 0.5) | (coverage > 0.5)
    heat = torch.where(is_object[..., None], _heat(difference), torch.tensor(BACKGROUND_SRGB))
    outline, shown = _outline(mask > 0.5), _over_background(whole)
    heat[outline] = torch.tensor(OUTLINE_SRGB)
    if not is_cut_out:
        shown[outline] = torch.tensor(OUTLINE_SRGB)  # what was taken for the object, over what lies behind it
    return [Image.fromarray(pixels(tile).numpy()) for tile in (shown, drawn, heat)]


def _box_around_object(view: View, subject: Subject) -> tuple[int, int, int, int]:
    """A square (left, top, right, bottom) around photograph's and mesh's outlines; may reach beyond the picture."""
    mask = view.foreground_alpha.cpu() > 0.5
    columns, rows = (torch.nonzero(mask.any(axis))[:, 0] for axis in (0, 1))
    ends = [torch.stack([columns[end], rows[end]])[None] for end in (0, -1)] if len(rows) else []
    cameras = batch_cameras([view.posed_camera], view.height_px, view.width_px, subject.positions_world.device)
    pixels_px, depth_z_m = cameras.project(subject.positions_world)
    places = pixels_px[0, depth_z_m[0] > 0].cpu()
    places = places[places.isfinite().all(1)].clamp_min(0)
    places = torch.minimum(places, torch.tensor([view.width_px, view.height_px]))
    places = torch.cat([places, *ends]).float()
    if not len(places):
        places = torch.tensor([[0.0, 0.0], [view.width_px, view.height_px]])
    low, high = places.amin(0), places.amax(0)
    side_px = int((high - low).max() * (1 + 2 * MARGIN_SHARE)) + 2
    left_px, top_px = ((low + high - side_px) / 2).round().int().tolist()
    return left_px, top_px, left_px + side_px, top_px + side_px


def _cut(
    image_srgb: Float[Tensor, "h w 3"], alpha: Float[Tensor, "h w"], box_px: tuple[int, int, int, int], tile_px: int
) -> Float[Tensor, "t t 4"]:
    """Cut a square out of a picture with coverage and scale it; transparent beyond the picture."""
    left_px, top_px, right_px, bottom_px = box_px
    from_x, from_y = max(0, left_px), max(0, top_px)
    inside = slice(from_y, bottom_px), slice(from_x, right_px)
    picture = torch.cat([image_srgb[inside], alpha[inside][..., None]], -1)
    there = Image.fromarray((picture.clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu().numpy(), "RGBA")
    square = there.crop((left_px - from_x, top_px - from_y, right_px - from_x, bottom_px - from_y))
    tile = square.resize((tile_px, tile_px), Image.Resampling.BOX)
    return torch.from_numpy(np.array(tile)).float() / 255


def _over_background(tile: Float[Tensor, "t t 4"]) -> Float[Tensor, "t t 3"]:
    background = torch.tensor(BACKGROUND_SRGB)
    return background + tile[..., 3:] * (tile[..., :3] - background)


def _draw_view(
    camera: Camera, subject: Subject, raster: Rasterizer, box_px: tuple[int, int, int, int], tile_px: int
) -> tuple[Float[Tensor, "t t 3"], Float[Tensor, "t t"]]:
    """The mesh, unlit, in a cut-out of a camera's picture: over the background, and its coverage."""
    device = subject.positions_world.device
    whole = batch_cameras([camera], camera.intrinsics.height_px, camera.intrinsics.width_px, device)
    size_px = tile_px * SUPERSAMPLING
    scale = size_px / (box_px[2] - box_px[0])
    corner_px = torch.tensor(box_px[:2], device=device)
    cameras = CameraBatch(
        whole.camera_from_world, whole.focal_px * scale, (whole.principal_px - corner_px) * scale, size_px, size_px
    )
    fragments = raster.rasterize(subject.positions_world, subject.faces, cameras)
    picture = over_background(albedo_srgb(subject, raster, fragments), fragments)
    samples = torch.cat([picture, fragments.hit_mask[..., None]], -1).permute(0, 3, 1, 2)
    tile = torch.nn.functional.avg_pool2d(samples, SUPERSAMPLING)[0].permute(1, 2, 0).cpu()
    return tile[..., :3], tile[..., 3]


def _heat(share: Float[Tensor, "h w"]) -> Float[Tensor, "h w 3"]:
    """Colours of 0 to 1 on the scale of differences."""
    stops = torch.tensor(HEAT_SRGB)
    place = share.clamp(0, 1) * (len(HEAT_SRGB) - 1)
    low = place.floor().clamp_max(len(HEAT_SRGB) - 2).long()
    return torch.lerp(stops[low], stops[low + 1], (place - low)[..., None])


def _outline(mask: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """The mask's own pixels beside its border."""
    outside = (~mask).float()[None, None]
    return mask & (torch.nn.functional.max_pool2d(outside, 3, 1, 1)[0, 0] > 0)
