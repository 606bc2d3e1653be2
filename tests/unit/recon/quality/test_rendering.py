"""Drawn pictures against what can be computed by hand."""

from dataclasses import replace

import pytest
import torch

import meshes
from recon.colour import linear_from_srgb, srgb_from_linear
from recon.quality.rendering import first_hits, over_white, photograph, surface_on
from recon.raster.torch_raster import TorchRasterizer
from recon.scene import Camera

CPU = torch.device("cpu")


@pytest.mark.parametrize("side", range(6))
def test_photograph_of_a_side_is_exact(side: int) -> None:
    """Looking straight at a side gives its colour in exactly the pixels it covers."""
    view = meshes.box_view(side)
    drawn = photograph(surface_on(meshes.textured_box(), CPU), view.posed_camera, TorchRasterizer())
    torch.testing.assert_close(drawn[..., 3], view.foreground_alpha)
    torch.testing.assert_close(drawn[..., :3], view.image_srgb, atol=1e-5, rtol=0)


def test_partly_covered_pixels_have_fractional_coverage_and_straight_colour() -> None:
    """Shifted by a third of a pixel, an edge pixel is two thirds covered and keeps the side's full colour."""
    camera = meshes.front_camera(meshes.SIDES[0])
    shifted = replace(camera.intrinsics, principal_x_px=camera.intrinsics.principal_x_px + 1 / 3 + 1e-4)
    drawn = photograph(
        surface_on(meshes.textured_box(), CPU), Camera(shifted, camera.world_from_camera), TorchRasterizer()
    )
    torch.testing.assert_close(drawn[32, [15, 16, 47, 48], 3], torch.tensor([0.0, 2 / 3, 1.0, 1 / 3]))
    torch.testing.assert_close(drawn[32, 16, :3], torch.tensor([1.0, 0.0, 0.0]), atol=1e-5, rtol=0)


def test_texture_is_averaged_in_linear_light() -> None:
    """A pixel over a fine black and white pattern is the sRGB of half the light, not half the sRGB."""
    box = meshes.enlarged(meshes.textured_box(), 32)
    texture = torch.zeros_like(box.texture_srgb)
    texture[:, ::2] = 1
    drawn = photograph(
        surface_on(replace(box, texture_srgb=texture), CPU),
        meshes.front_camera(meshes.SIDES[4]),
        TorchRasterizer(),
    )
    half_light = float(srgb_from_linear(torch.tensor(0.5)))
    assert float(drawn[20:44, 20:44, :3].mean()) == pytest.approx(half_light, abs=0.03)
    assert float(linear_from_srgb(drawn[20:44, 20:44, :3]).mean()) == pytest.approx(0.5, abs=0.01)


def test_large_pictures_are_drawn_in_tiles_without_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 7 pixels give the same picture as a single one."""
    camera = meshes.front_camera((1, 0, 0))
    surface = surface_on(meshes.textured_box(), CPU)
    whole = photograph(surface, camera, TorchRasterizer())
    monkeypatch.setattr("recon.quality.rendering.TILE_PX", 7)
    torch.testing.assert_close(photograph(surface, camera, TorchRasterizer()), whole, atol=1e-5, rtol=0)


def test_mesh_out_of_sight_gives_an_empty_picture() -> None:
    """A camera that looks the other way photographs nothing."""
    camera = meshes.front_camera(meshes.SIDES[0])
    turned = camera.world_from_camera.clone()
    turned[:3, :3] = turned[:3, :3] @ torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))
    drawn = photograph(surface_on(meshes.textured_box(), CPU), Camera(camera.intrinsics, turned), TorchRasterizer())
    assert float(drawn.abs().max()) == 0
    assert float(over_white(drawn).min()) == 1


def test_first_hits_have_the_box_depth_on_any_grid() -> None:
    """On a grid of a third of the photograph's size, the side lies exactly 1 m away and shows its two faces."""
    camera = meshes.front_camera(meshes.SIDES[3], size_px=96)
    hits = first_hits(surface_on(meshes.textured_box(), CPU), camera, 32, 32, TorchRasterizer())
    inside = hits.face_index >= 0
    assert inside.nonzero().aminmax(dim=0).min.tolist() == [8, 8]
    assert inside.nonzero().aminmax(dim=0).max.tolist() == [23, 23]
    torch.testing.assert_close(hits.depth_z[inside], torch.ones(256))
    assert set(hits.face_index[inside].tolist()) == {6, 7}
