"""Our own model on analytic solids, from posed views to a refined mesh."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree

import geometry_scenes
import scenes
import texture_scenes
from recon.errors import Cancelled
from recon.models import ModelContext, ModelResult, nvdiffrec
from recon.models.nvdiffrec import (
    NO_DEPTH,
    OUTLINES_ALONE,
    PIXELS_PER_FACE,
    START_SHARE,
    NvdiffrecModel,
    start_face_count,
)
from recon.models.refinement import HOLES, SOURCES, SOURCES_WITHOUT_COLOURS
from recon.scene import Capture, TexturedMesh, TriangleMesh
from recon.settings import FusionSettings, NvdiffrecSettings, OptimiseSettings, Settings

SETTINGS = Settings(
    device="cpu", target_faces=2000, nvdiffrec=NvdiffrecSettings(fusion=FusionSettings(grid_resolution=48))
)


Shown = list[TriangleMesh | TexturedMesh]


@pytest.fixture(autouse=True)
def _plain_texture(monkeypatch: pytest.MonkeyPatch) -> None:
    """One grey texel everywhere: baking has its own tests."""

    def bake(mesh: TriangleMesh, *_: object) -> TexturedMesh:
        coverage = torch.ones(4, 4, dtype=torch.uint8)
        face_uv = torch.zeros_like(mesh.faces)
        return TexturedMesh(mesh, torch.full((1, 2), 0.5), face_uv, torch.full((4, 4, 3), 0.5), coverage)

    monkeypatch.setattr(nvdiffrec, "bake_texture", bake)


def context_with(enter: Callable[[str, float], None], shown: Shown) -> ModelContext:
    return ModelContext(geometry_scenes.CPU, texture_scenes.rasterizer(), enter, shown.append)


def reconstructed(
    capture: Capture, entered: list[tuple[str, float]] | None = None, shown: Shown | None = None
) -> ModelResult:
    record = [] if entered is None else entered
    context = context_with(lambda stage, fraction: record.append((stage, fraction)), [] if shown is None else shown)
    return NvdiffrecModel().reconstruct(capture, SETTINGS, context)


@pytest.mark.parametrize(
    ("name", "euler_number", "mean_px"),
    [("sphere", 2, 0.12), ("cube", 2, 0.15), ("torus", 0, 0.12), ("plate", 2, 0.15)],
)
def test_solids_are_recovered(name: str, euler_number: int, mean_px: float) -> None:
    """Six views of 96 pixels: a closed manifold of the right genus, an eighth of a pixel from the truth on average."""
    result = reconstructed(geometry_scenes.photographed(name))
    mesh = result.textured.mesh
    geometry_scenes.assert_closed_manifold(mesh)
    assert geometry_scenes.as_trimesh(mesh).euler_number == euler_number
    error_px = geometry_scenes.error_m(name, mesh) / geometry_scenes.observed(name).pixel_m
    assert error_px.mean() < mean_px
    assert error_px.quantile(0.95) < 0.4
    assert error_px.max() < 1.25


def test_photographs_without_depth_give_a_closed_mesh() -> None:
    """Silhouettes alone: a closed piece of the sphere's volume (to 3 %) or up to 40 % more."""
    capture = geometry_scenes.photographed("sphere")
    capture = replace(capture, views=tuple(replace(view, depth=None) for view in capture.views))
    context = context_with(lambda stage, fraction: None, [])
    result = NvdiffrecModel().reconstruct(capture, SETTINGS.model_copy(update={"fit": "depth"}), context)
    mesh = result.textured.mesh
    geometry_scenes.assert_closed_manifold(mesh)
    solid, true_volume_m3 = geometry_scenes.as_trimesh(mesh), 4 / 3 * 3.14159 * 0.1**3
    assert 0.97 * true_volume_m3 < solid.volume < 1.4 * true_volume_m3


def test_stages_are_entered_in_order_and_facts_are_told() -> None:
    """Geometry, refinement, texture, two pictures on the way; grid, faces and history are reported."""
    entered: list[tuple[str, float]] = []
    shown: Shown = []
    result = reconstructed(geometry_scenes.photographed("sphere"), entered, shown)
    face_counts = [len(mesh.faces) for mesh in shown if isinstance(mesh, TriangleMesh)]
    assert face_counts == [2000 // START_SHARE, result.facts["face_count"]]
    stages = list(dict.fromkeys(stage for stage, _ in entered))
    assert stages == ["geometry", "optimise", "texture"]
    for stage in stages:
        fractions = [fraction for name, fraction in entered if name == stage]
        assert fractions == sorted(fractions)
        assert 0 <= fractions[0] <= fractions[-1] <= 1
    assert result.facts["grid_resolution"] == 48
    assert result.facts["face_count"] == len(result.textured.mesh.faces)
    assert result.facts["texture_px"] == 4
    assert [entry.step for entry in result.history] == list(range(len(result.history)))
    assert set(result.history[0].terms) == {"depth_m", "outline_m", "step_m"}
    assert result.facts["unmeasured_percent"] == 0
    assert result.facts["was_denoised"] is False


def test_clean_depth_asks_for_faces_and_noise_does_not() -> None:
    """Half of the faces where depth is clean; all under noise, without depth, with few pixels, or on request."""
    clean = geometry_scenes.observed("sphere")
    noisy = replace(clean, noise_m=clean.pixel_m)
    blind = replace(clean, depth_mask=torch.zeros_like(clean.depth_mask))
    step_count = SETTINGS.nvdiffrec.model_copy(update={"optimise": OptimiseSettings(step_count=3)})
    counted = SETTINGS.model_copy(update={"nvdiffrec": step_count})
    given = [start_face_count(SETTINGS, observations) for observations in (clean, noisy, blind)]
    assert [*given, start_face_count(counted, clean)] == [1000, 2000, 2000, 2000]
    pixel_count = int(clean.depth_mask.sum())
    most = SETTINGS.model_copy(update={"target_faces": pixel_count // PIXELS_PER_FACE})
    more = SETTINGS.model_copy(update={"target_faces": pixel_count // PIXELS_PER_FACE + 1})
    assert start_face_count(most, clean) == most.target_faces // START_SHARE
    assert start_face_count(more, clean) == more.target_faces


def test_photographs_without_depth_bend_the_hull_and_the_user_is_told() -> None:
    """Six photographs of a bowl alone: less than three quarters of the hull's error, and a warning what to expect."""
    capture = geometry_scenes.photographed("bowl", "orbit6", 64)
    capture = replace(capture, views=tuple(replace(view, depth=None) for view in capture.views))
    errors = {}
    for fit in ("balanced", "depth"):
        context = context_with(lambda stage, fraction: None, [])
        result = NvdiffrecModel().reconstruct(capture, SETTINGS.model_copy(update={"fit": fit}), context)
        errors[fit] = geometry_scenes.error_m("bowl", result.textured.mesh).mean()
        assert result.warnings == (NO_DEPTH if fit == "balanced" else OUTLINES_ALONE,)
        assert not {"depth_noise_m", "was_denoised"} & set(result.facts)
        assert not any("depth_m" in entry.terms for entry in result.history)
    assert errors["balanced"] < 0.75 * errors["depth"]


def test_what_no_depth_image_shows_is_shaped_by_the_photographs_and_the_user_is_told() -> None:
    """Without depth around head and sides the worst hundredth of a toy is half as far away; the rest stays."""
    toy = geometry_scenes.SOLIDS["toy"]
    holes = scenes.Faults(unmeasured_radius=0.15)
    capture = scenes.make_capture(toy, scenes.orbit6_cameras(toy, 96), holes, supersample=3)
    truth, apart_m = toy.sample_surface(4000), {}
    for fit, sources in (("balanced", SOURCES), ("depth", SOURCES_WITHOUT_COLOURS)):
        context = context_with(lambda stage, fraction: None, [])
        result = NvdiffrecModel().reconstruct(capture, SETTINGS.model_copy(update={"fit": fit}), context)
        share = float(result.facts["unmeasured_percent"]) / 100
        assert 0.05 < share < 0.25
        assert result.warnings == (HOLES.format(share=share, sources=sources),)
        stages = list(dict.fromkeys(entry.stage for entry in result.history))
        assert stages == ["optimise", *(["bend", "descent"] if fit == "balanced" else [])]
        assert [entry.step for entry in result.history] == list(range(len(result.history)))
        mesh = result.textured.mesh
        geometry_scenes.assert_closed_manifold(mesh)
        surface = trimesh.sample.sample_surface(geometry_scenes.as_trimesh(mesh), 60_000, seed=0)[0]
        apart_m[fit] = cKDTree(surface).query(truth)[0]
    assert np.quantile(apart_m["balanced"], 0.99) < 0.6 * np.quantile(apart_m["depth"], 0.99)
    assert np.median(apart_m["balanced"]) < 1.05 * np.median(apart_m["depth"])


@pytest.mark.parametrize(
    ("fit", "disagree", "bends"),
    [("balanced", True, True), ("balanced", False, False), ("depth", True, False), ("photos", False, True)],
)
def test_fit_says_when_the_mesh_is_bent_to_the_photographs(fit: str, disagree: bool, bends: bool) -> None:
    """balanced bends where photographs disagree, depth never, photos always; who disagrees is told in words."""
    entered: list[tuple[str, float]] = []
    capture = replace(geometry_scenes.photographed("sphere", size_px=48), photographs_disagree=disagree)
    context = context_with(lambda stage, fraction: entered.append((stage, fraction)), [])
    settings = SETTINGS.model_copy(update={"fit": fit, "target_faces": 600})
    result = NvdiffrecModel().reconstruct(capture, settings, context)
    assert ("photo_fit_moved_percent_mean" in result.facts) == bends
    assert bool(result.warnings) == (bends and disagree)
    fractions = [fraction for stage, fraction in entered if stage == "optimise"]
    assert fractions == sorted(fractions)
    assert fractions[-1] <= 1


def test_cancelling_stops_the_model() -> None:
    """``Cancelled`` from the context leaves the model as it is."""

    def cancel(stage: str, fraction: float) -> None:
        if stage == "optimise":
            raise Cancelled

    with pytest.raises(Cancelled):
        NvdiffrecModel().reconstruct(geometry_scenes.photographed("sphere"), SETTINGS, context_with(cancel, []))


def test_it_is_available_everywhere() -> None:
    """Nothing is asked of the machine: no GPU, no weights."""
    NvdiffrecModel().check_available(Settings(), geometry_scenes.CPU)
