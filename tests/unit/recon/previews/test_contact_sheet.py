"""The contact sheet shows the truth: no difference where there is none, and differences where they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

import meshes
from recon.previews import contact_sheet, sheet_layout
from recon.previews.contact_sheet import HEAT_SRGB, OUTLINE_SRGB, draw_contact_sheet
from recon.previews.drawing import BACKGROUND_SRGB, subject_on
from recon.previews.sheet_layout import CAPTION_PX, GAP_PX, HEADER_PX
from recon.raster.torch_raster import TorchRasterizer
from recon.scene import Capture

CPU = torch.device("cpu")
TILE_PX = 96


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same sheet, drawn faster."""
    monkeypatch.setattr(sheet_layout, "TILE_PX", TILE_PX)
    monkeypatch.setattr(sheet_layout, "SMALL_TILE_PX", TILE_PX // 2)


def sheet_of(capture: Capture, psnr_db: dict[str, float | None] | None = None) -> Image.Image:
    return draw_contact_sheet(subject_on(meshes.textured_box(), CPU), capture, TorchRasterizer(), psnr_db or {})


def tile(sheet: Image.Image, index: int, position: int) -> np.ndarray:
    """The photograph (0), mesh (1) or difference (2) of a view."""
    left = GAP_PX + index % 2 * (3 * TILE_PX + 5 * GAP_PX) + position * (TILE_PX + GAP_PX)
    top = HEADER_PX + index // 2 * (TILE_PX + CAPTION_PX + GAP_PX) + CAPTION_PX
    return np.asarray(sheet.crop((left, top, left + TILE_PX, top + TILE_PX)))


def bytes_of(colour_srgb: tuple[float, ...]) -> np.ndarray:
    return np.round(np.array(colour_srgb) * 255)


def test_perfect_mesh_shows_no_difference() -> None:
    """Photograph and mesh look the same, and the heat map is dark inside the outline."""
    sheet = sheet_of(meshes.box_capture())
    middle = slice(TILE_PX // 4, 3 * TILE_PX // 4)
    for index in range(6):
        photograph, drawn, heat = (tile(sheet, index, position)[middle, middle] for position in range(3))
        assert np.abs(photograph - meshes.SIDE_COLOURS[index].numpy()).max() <= 1
        assert np.abs(photograph.astype(int) - drawn).max() <= 1
        assert np.abs(heat - bytes_of(HEAT_SRGB[0])).max() <= 4


def test_wrong_colours_are_bright() -> None:
    """A view whose photograph is another colour is at the far end of the scale; the others are not."""
    capture = meshes.box_capture()
    views = list(capture.views)
    views[2] = replace(views[2], image_srgb=1 - views[2].image_srgb)
    sheet = sheet_of(replace(capture, views=tuple(views)))
    middle = TILE_PX // 2
    assert np.abs(tile(sheet, 2, 2)[middle, middle] - bytes_of(HEAT_SRGB[-1])).max() <= 1
    assert np.abs(tile(sheet, 3, 2)[middle, middle] - bytes_of(HEAT_SRGB[0])).max() <= 4


def test_outline_of_the_photograph_is_drawn() -> None:
    """The line on the difference follows the photograph's mask, not the mesh."""
    capture = meshes.box_capture()
    alpha = capture.views[0].foreground_alpha.clone()
    alpha[:, 32:] = 0
    views = (replace(capture.views[0], foreground_alpha=alpha), *capture.views[1:])
    heat = tile(sheet_of(replace(capture, views=views)), 0, 2)
    is_line = np.abs(heat - bytes_of(OUTLINE_SRGB)).max(-1) <= 1
    assert is_line[TILE_PX // 2, : TILE_PX // 2].any()
    assert not is_line[:, TILE_PX // 2 + 3 :].any()
    # The mesh covers what the mask leaves out: a difference, at full scale.
    assert np.abs(heat[TILE_PX // 2, 3 * TILE_PX // 4] - bytes_of(HEAT_SRGB[-1])).max() <= 1


def test_photographs_without_alpha_show_their_background() -> None:
    """Where the mask was inferred, the photograph is shown whole, so that a wrong mask can be seen."""
    capture = meshes.box_capture()
    for source, expected in (("alpha", bytes_of(BACKGROUND_SRGB)), ("plain", np.zeros(3))):
        views = (replace(capture.views[0], mask_source=source), *capture.views[1:])
        corner = tile(sheet_of(replace(capture, views=views)), 0, 0)[2, 2]
        assert np.abs(corner - expected).max() <= 1


def test_an_inferred_mask_is_drawn_on_its_photograph() -> None:
    """The line of the mask lies over the photograph, unless the photograph is transparent and says it itself."""
    capture = meshes.box_capture()
    for source, is_drawn in (("table", True), ("alpha", False)):
        views = (replace(capture.views[0], mask_source=source), *capture.views[1:])
        photograph = tile(sheet_of(replace(capture, views=views)), 0, 0)
        assert (np.abs(photograph - bytes_of(OUTLINE_SRGB)).max(-1) <= 1).any() == is_drawn


def test_scores_are_printed_where_known() -> None:
    """A score changes the caption of its view only."""
    capture = meshes.box_capture()
    bare = np.asarray(sheet_of(capture)).astype(int)
    scored = np.asarray(sheet_of(capture, {"side_1": 27.3, "side_2": None})).astype(int)
    rows, columns = np.nonzero(np.abs(bare - scored).max(-1))
    assert rows.min() >= HEADER_PX
    assert rows.max() < HEADER_PX + CAPTION_PX
    assert columns.min() > 3 * TILE_PX + 4 * GAP_PX


def test_object_outside_the_picture_still_gives_a_tile() -> None:
    """A view that sees nothing is shown whole and empty instead of failing."""
    capture = meshes.box_capture()
    view = capture.views[0]
    away = view.posed_camera.world_from_camera.clone()
    away[:3, :3] = away[:3, :3] @ torch.diag(torch.tensor([-1.0, 1, -1], dtype=torch.float64))
    empty = replace(
        view,
        foreground_alpha=torch.zeros_like(view.foreground_alpha),
        camera=replace(view.posed_camera, world_from_camera=away),
    )
    sheet = sheet_of(replace(capture, views=(empty,)))
    assert np.abs(tile(sheet, 0, 2) - bytes_of(BACKGROUND_SRGB)).max() <= 1


@pytest.mark.parametrize("name", ["view_00", "a" * 255, "\u202egpj.exe\x00", ""])
def test_names_fit_their_caption(name: str) -> None:
    """Long names are cut with an ellipsis; characters that would garble the text become question marks."""
    draw, font = ImageDraw.Draw(Image.new("RGB", (300, 30))), ImageFont.load_default(17)
    shown = contact_sheet._shortened(name, draw, font, 200)
    assert draw.textlength(shown, font=font) <= 200
    assert shown.isprintable()
    assert shown == name or "?" in shown or shown.endswith("...")


def test_many_views_get_small_tiles() -> None:
    """Twenty views make a sheet of ten rows that is still of a handy size."""
    capture = meshes.box_capture()
    views = tuple(replace(capture.views[i % 6], name=f"view_{i:02}") for i in range(20))
    sheet = sheet_of(replace(capture, views=views))
    assert sheet.height < 10 * TILE_PX
    assert sheet.width < 6 * TILE_PX
