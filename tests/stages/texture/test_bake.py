"""The whole stage: photographs in, texture out."""

from functools import cache

import numpy as np
import pytest
import torch

import scenes
import texture_scenes
from recon.colour import srgb_from_linear
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
from recon.texture import bake_texture
from recon.texture.atlas import build_atlas
from recon.texture.texels import locate_texels


def baked(mesh: TriangleMesh, capture: Capture, texture_px: int | None = 256) -> TexturedMesh:
    settings = Settings(texture_px=texture_px)
    return bake_texture(mesh, capture, settings, texture_scenes.rasterizer(), texture_scenes.CPU, lambda fraction: None)


@cache
def baked_ball(gains: tuple[float, ...] = (1.0,)) -> TexturedMesh:
    return baked(texture_scenes.ball(5), texture_scenes.ball_capture(gains))


def surface_error(textured: TexturedMesh) -> torch.Tensor:
    """Error in sRGB against the sphere's true colours at the texels that a camera saw."""
    mesh = textured.mesh
    texels = locate_texels(mesh, build_atlas(mesh, textured.texture_srgb.shape[0]))
    true_linear = scenes.sphere().colour_linear(texels.positions_world.double().numpy().astype(np.float64))
    seen = textured.coverage.view(-1)[texels.index] == TEXEL_OBSERVED
    shown = textured.texture_srgb.view(-1, 3)[texels.index]
    return (shown - srgb_from_linear(torch.from_numpy(true_linear).float()))[seen].abs()


def test_known_colours_are_recovered() -> None:
    """Twelve views of a sphere of 50 pixels: its procedural colours return to 1 % on average, nowhere far off."""
    error = surface_error(baked_ball())
    assert error.mean() < 0.012
    assert error.quantile(0.99) < 0.06


def test_exposure_differences_leave_no_patches() -> None:
    """Views from 0.8 to 1.1 times the light give nearly the same texture, up to one overall factor."""
    gains = (1.0, 0.8, 1.1, 0.9, 1.05, 0.85, 1.0, 0.95, 0.9, 1.1, 0.8, 1.0)
    assert surface_error(baked_ball(gains)).mean() < 0.05
    ratio = baked_ball(gains).texture_srgb / baked_ball().texture_srgb
    seen = baked_ball().coverage == TEXEL_OBSERVED
    spread = ratio[seen].log().std(0)
    assert spread.max() < 0.025


def test_coverage_says_what_the_camera_saw() -> None:
    """One frontal photograph of a cube: its front is observed up to the rim, the other five sides are filled."""
    mesh = texture_scenes.box()
    textured = baked(mesh, Capture((texture_scenes.box_front_view(),), "analytic"))
    texels = locate_texels(mesh, build_atlas(mesh, 256))
    mark = textured.coverage.view(-1)[texels.index]
    offset = texels.positions_world - mesh.positions_world.mean(0)
    is_front = offset[:, 1] < -0.0799
    is_inner = offset[:, [0, 2]].abs().amax(1) < 0.07
    assert (mark[is_front & is_inner & texels.is_inside] == TEXEL_OBSERVED).all()
    assert (mark[~is_front & texels.is_inside] == TEXEL_FILLED).all()
    assert (mark[~texels.is_inside] == TEXEL_EMPTY).all()
    assert int((textured.coverage != TEXEL_EMPTY).sum()) == int(texels.is_inside.sum())


def test_a_models_own_colours_stay_where_no_photograph_looks() -> None:
    """With ``unseen_linear`` the hidden sides have exactly the model's colours, marked generated; the front its own."""
    mesh = texture_scenes.box()
    low, high = mesh.bounds_world()
    capture = Capture((texture_scenes.box_front_view(),), "analytic")
    settings = Settings(texture_px=256)

    def position_colours(positions_world: torch.Tensor) -> torch.Tensor:
        return 0.1 + 0.8 * (positions_world - low) / (high - low)

    textured = bake_texture(
        mesh,
        capture,
        settings,
        texture_scenes.rasterizer(),
        texture_scenes.CPU,
        lambda fraction: None,
        position_colours,
    )
    texels = locate_texels(mesh, build_atlas(mesh, 256))
    mark = textured.coverage.view(-1)[texels.index]
    assert set(mark[texels.is_inside].tolist()) == {TEXEL_OBSERVED, TEXEL_GENERATED}
    shown = textured.texture_srgb.view(-1, 3)[texels.index]
    generated = mark == TEXEL_GENERATED
    expected = srgb_from_linear(position_colours(texels.positions_world))
    torch.testing.assert_close(shown[generated], expected[generated], atol=1e-3, rtol=0)
    plain = baked(mesh, capture)
    seen = plain.coverage == TEXEL_OBSERVED
    assert torch.equal(seen, textured.coverage == TEXEL_OBSERVED)
    assert (textured.texture_srgb - plain.texture_srgb)[seen].abs().mean() < 0.01


def test_filled_sides_continue_the_front() -> None:
    """What one photograph of a cube does not show has colours from within the range of what it shows."""
    textured = baked(texture_scenes.box(), Capture((texture_scenes.box_front_view(),), "analytic"))
    seen = textured.texture_srgb[textured.coverage == TEXEL_OBSERVED]
    filled = textured.texture_srgb[textured.coverage == TEXEL_FILLED]
    assert (filled >= seen.amin(0) - 1e-4).all()
    assert (filled <= seen.amax(0) + 1e-4).all()
    assert filled.std(0).max() > 0.01


def test_the_atlas_belongs_to_the_mesh() -> None:
    """Every face has texture coordinates inside the picture, and the geometry is passed on unchanged."""
    textured = baked_ball()
    mesh = texture_scenes.ball(5)
    assert torch.equal(textured.mesh.positions_world, mesh.positions_world)
    assert torch.equal(textured.mesh.faces, mesh.faces)
    assert textured.face_uv.shape == mesh.faces.shape
    assert textured.uv.min() > 0
    assert textured.uv.max() < 1
    assert textured.texture_srgb.isfinite().all()


def test_baking_twice_gives_the_same_bits() -> None:
    """Same input, same texture, bit for bit."""
    mesh, capture = texture_scenes.ball(3), texture_scenes.ball_capture()
    one, two = baked(mesh, capture, None), baked(mesh, capture, None)
    assert one.texture_srgb.shape == (512, 512, 3)
    assert torch.equal(one.texture_srgb, two.texture_srgb)
    assert torch.equal(one.coverage, two.coverage)


def test_progress_rises_to_one_and_can_stop_the_work() -> None:
    """Fractions only grow; what the callback raises ends the stage."""
    fractions: list[float] = []
    mesh, capture = texture_scenes.ball(2), texture_scenes.ball_capture()
    raster, cpu = texture_scenes.rasterizer(), texture_scenes.CPU
    bake_texture(mesh, capture, Settings(texture_px=256), raster, cpu, fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1

    class Stopped(Exception):
        pass

    def stop(fraction: float) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        bake_texture(mesh, capture, Settings(texture_px=256), raster, cpu, stop)
