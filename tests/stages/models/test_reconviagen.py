"""The adapter against a stand-in of upstream's classes: results, faults, and what is left behind."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import geometry_scenes
import texture_scenes
import trellis_stand_in
from recon.errors import (
    Cancelled,
    Diverged,
    GpuTooSmall,
    GpuUnavailable,
    InvalidDepth,
    InvalidWeights,
    ModelUnavailable,
    OutOfGpuMemory,
    ReconError,
)
from recon.generative import gpu_memory, installation, keeper, upstream
from recon.generative.installation import PIPELINE_DIR, VGGT_DIR
from recon.models import Model, ModelContext, ModelResult, reconviagen
from recon.models.reconviagen import ReconViaGenModel
from recon.models.refinement import refine_mesh
from recon.scene import TEXEL_FILLED, TEXEL_GENERATED, TEXEL_OBSERVED, Capture
from recon.settings import Settings

GIB = 1 << 30
CKPTS = Path(PIPELINE_DIR) / "ckpts"
MESH_DECODER = "slat_decoder_mesh.safetensors"


@pytest.fixture
def weights_dir(tmp_path: Path) -> Path:
    trellis_stand_in.write_weights(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture(autouse=True)
def card(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The processor plays a card of this size; PyTorch's own numbers need a real one."""
    memory = {"total": 24 * GIB, "free": 23 * GIB}
    for module in (installation, upstream):  # the stand-in needs no more
        monkeypatch.setattr(module, "PACKAGES", ("safetensors",))
    monkeypatch.setattr(gpu_memory, "require_cuda", lambda device: None)
    monkeypatch.setattr(gpu_memory, "total_bytes", lambda device: memory["total"])
    monkeypatch.setattr(gpu_memory, "free_bytes", lambda device: memory["free"])
    return memory


def capture() -> Capture:
    """Six views of a ball from the sides: its poles are seen at a grazing angle."""
    return geometry_scenes.photographed("sphere", "orbit6")


def reconstruct(
    model: ReconViaGenModel, settings: Settings, enter: Callable[[str, float], None] = lambda stage, fraction: None
) -> ModelResult:
    context = ModelContext(geometry_scenes.CPU, texture_scenes.rasterizer(), enter, lambda mesh: None)
    return model.reconstruct(capture(), settings, context)


def generate(model: ReconViaGenModel, settings: Settings, cancel_at: float | None = None) -> None:
    """The first part only: until the mesh is generated."""

    def enter(stage: str, fraction: float) -> None:
        if cancel_at is not None and fraction >= cancel_at:
            raise Cancelled
        if fraction >= 0.7:
            raise StopIteration

    with pytest.raises(StopIteration):
        reconstruct(model, settings, enter)


def test_a_generated_ball_becomes_a_measured_one(weights_dir: Path) -> None:
    """The stand-in's ball, of another size and place, is registered, joined and textured; its invention is marked."""
    entered: list[tuple[str, float]] = []
    result = reconstruct(
        ReconViaGenModel(),
        trellis_stand_in.settings_for(weights_dir),
        lambda stage, fraction: entered.append((stage, fraction)),
    )
    mesh = result.textured.mesh
    geometry_scenes.assert_closed_manifold(mesh)
    error_px = geometry_scenes.error_m("sphere", mesh) / geometry_scenes.observed("sphere", "orbit6").pixel_m
    assert error_px.mean() < 0.3
    kinds = set(torch.unique(result.textured.coverage).tolist())
    assert {TEXEL_OBSERVED, TEXEL_GENERATED} <= kinds
    assert TEXEL_FILLED not in kinds
    assert result.facts["registration_scale"] == pytest.approx(0.1 / 0.4, rel=0.01)
    assert result.facts["registration_inlier_fraction"] > 0.95
    assert result.facts["attention"] == result.facts["sparse_convolution"] == "torch"
    assert result.warnings == ()
    stages = list(dict.fromkeys(stage for stage, _ in entered))
    assert stages == ["geometry", "optimise", "texture"]
    fractions = [fraction for stage, fraction in entered if stage == "geometry"]
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions)


def test_what_no_depth_image_shows_is_told(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by the other model: the share of the photographed surface, among warnings and facts."""
    monkeypatch.setattr(reconviagen, "refine_mesh", lambda *parts: replace(refine_mesh(*parts), unmeasured_share=0.1))
    result = reconstruct(ReconViaGenModel(), trellis_stand_in.settings_for(weights_dir))
    assert any(warning.startswith("10.0%") for warning in result.warnings)
    assert result.facts["unmeasured_percent"] == pytest.approx(10.0)


def test_it_obeys_the_interface(weights_dir: Path) -> None:
    """A ``Model`` that is available where everything is in place."""
    model = ReconViaGenModel()
    assert isinstance(model, Model)
    model.check_available(trellis_stand_in.settings_for(weights_dir), geometry_scenes.CPU)


def test_nothing_is_left_behind(weights_dir: Path) -> None:
    """After a run and after a failed one: modules, paths, environment, folder, random numbers as before."""
    surroundings = trellis_stand_in.Surroundings()
    model = ReconViaGenModel()
    generate(model, trellis_stand_in.settings_for(weights_dir))
    surroundings.assert_untouched()
    save_file({"weight": torch.full((4,), torch.nan)}, weights_dir / CKPTS / "sparse_structure_decoder.safetensors")
    model.release()
    with pytest.raises(Diverged):
        reconstruct(model, trellis_stand_in.settings_for(weights_dir))
    surroundings.assert_untouched()


def test_weights_are_loaded_once(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs, one load; released, they are loaded again."""
    loads: list[bool] = []
    real = keeper.load_pipeline
    monkeypatch.setattr(keeper, "load_pipeline", lambda *arguments: loads.append(arguments[3]) or real(*arguments))
    model, settings = ReconViaGenModel(), trellis_stand_in.settings_for(weights_dir)
    generate(model, settings)
    generate(model, settings)
    assert loads == [False]
    model.release()
    generate(model, settings)
    assert loads == [False, False]


def test_idle_weights_are_unloaded(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``idle_unload_s`` after the last job the memory is given back; 0 gives it back at once."""
    given_back: list[torch.device] = []
    monkeypatch.setattr(gpu_memory, "give_back", given_back.append)
    settings = trellis_stand_in.settings_for(weights_dir, idle_unload_s=0.2)
    model = ReconViaGenModel()
    generate(model, settings)
    patience_s = time.monotonic() + 10
    while not given_back and time.monotonic() < patience_s:
        time.sleep(0.02)
    assert given_back == [geometry_scenes.CPU]
    generate(model, trellis_stand_in.settings_for(weights_dir, idle_unload_s=0.0))
    assert len(given_back) == 2


def test_cancelling_keeps_the_weights(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``Cancelled`` inside the model's run passes through at once; the next job finds everything loaded."""
    loads: list[bool] = []
    real = keeper.load_pipeline
    monkeypatch.setattr(keeper, "load_pipeline", lambda *arguments: loads.append(True) or real(*arguments))
    surroundings = trellis_stand_in.Surroundings()
    model, settings = ReconViaGenModel(), trellis_stand_in.settings_for(weights_dir)
    with pytest.raises(Cancelled):
        reconstruct(model, settings, _cancel_at(0.2))
    surroundings.assert_untouched()
    generate(model, settings)
    assert loads == [True]


def _cancel_at(limit: float) -> Callable[[str, float], None]:
    def enter(stage: str, fraction: float) -> None:
        if fraction >= limit:
            raise Cancelled

    return enter


@pytest.mark.parametrize("missing", ["source_dir", "weights_dir"])
def test_an_unconfigured_model_is_unavailable(weights_dir: Path, missing: str) -> None:
    """MODEL_UNAVAILABLE names the key of the configuration that is not set."""
    settings = trellis_stand_in.settings_for(weights_dir, **{missing: None})
    with pytest.raises(ModelUnavailable, match=rf"reconviagen\.{missing} is not set"):
        ReconViaGenModel().check_available(settings, geometry_scenes.CPU)


def test_a_missing_checkout_is_unavailable(weights_dir: Path, tmp_path: Path) -> None:
    """MODEL_UNAVAILABLE names the file that a checkout would have."""
    settings = trellis_stand_in.settings_for(weights_dir, source_dir=tmp_path / "nowhere")
    with pytest.raises(ModelUnavailable, match=r"not a checkout of ReconViaGen v0\.2: trellis/pipelines"):
        ReconViaGenModel().check_available(settings, geometry_scenes.CPU)


def test_a_missing_package_is_named(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MODEL_UNAVAILABLE says which package is not installed and how to install it."""
    monkeypatch.setattr(installation, "PACKAGES", ("safetensors", "no_such_package"))
    with pytest.raises(ModelUnavailable, match="no_such_package") as caught:
        ReconViaGenModel().check_available(trellis_stand_in.settings_for(weights_dir), geometry_scenes.CPU)
    assert "meshdrop[reconviagen]" in caught.value.suggestion


def test_spconv_must_be_there_when_configured(weights_dir: Path) -> None:
    """The operator's choice is not replaced in silence."""
    settings = trellis_stand_in.settings_for(weights_dir, sparse_convolution="spconv")
    with pytest.raises(ModelUnavailable, match="spconv does not load"):
        reconstruct(ReconViaGenModel(), settings)


def remove_pipeline(weights_dir: Path) -> str:
    (weights_dir / PIPELINE_DIR / "pipeline.json").unlink()
    return "pipeline.json"


def remove_decoder(weights_dir: Path) -> str:
    (weights_dir / CKPTS / MESH_DECODER).unlink()
    return MESH_DECODER


def cut_decoder(weights_dir: Path) -> str:
    file = weights_dir / CKPTS / MESH_DECODER
    file.write_bytes(file.read_bytes()[:-4])
    return "is cut off or damaged"


def garble_vggt(weights_dir: Path) -> str:
    (weights_dir / VGGT_DIR / "model.safetensors").write_bytes(b"PK\x03\x04 nothing of the kind")
    return "is not a safetensors file"


def remove_dino(weights_dir: Path) -> str:
    (weights_dir / "dinov2_vitl14_reg4_pretrain.pth").unlink()
    return "dinov2"


@pytest.mark.parametrize("fault", [remove_pipeline, remove_decoder, cut_decoder, garble_vggt, remove_dino])
def test_faulty_weights_are_found_before_loading(weights_dir: Path, fault: Callable[[Path], str]) -> None:
    """MODEL_WEIGHTS_INVALID names the file and what is wrong with it; nothing was loaded."""
    expected = fault(weights_dir)
    with pytest.raises(InvalidWeights, match=expected) as caught:
        ReconViaGenModel().check_available(trellis_stand_in.settings_for(weights_dir), geometry_scenes.CPU)
    assert caught.value.code == "MODEL_WEIGHTS_INVALID"


def rename_tensor(weights_dir: Path) -> str:
    save_file({"weigth": torch.ones(4)}, weights_dir / CKPTS / MESH_DECODER)
    return r"1 tensors are not in it \(weight\)"


def reshape_tensor(weights_dir: Path) -> str:
    save_file({"weight": torch.ones(5)}, weights_dir / CKPTS / MESH_DECODER)
    return "do not fit the model"


def rename_in_vggt(weights_dir: Path) -> str:
    save_file({"aggregator.other": torch.ones(3)}, weights_dir / VGGT_DIR / "model.safetensors")
    return r"aggregator\.weight"


def garble_dino(weights_dir: Path) -> str:
    (weights_dir / "dinov2_vitl14_reg4_pretrain.pth").write_bytes(b"nothing")
    return "damaged"


@pytest.mark.parametrize("fault", [rename_tensor, reshape_tensor, rename_in_vggt, garble_dino])
def test_weights_of_another_model_are_refused(weights_dir: Path, fault: Callable[[Path], str]) -> None:
    """Upstream loads whatever fits and keeps random numbers elsewhere; we refuse, and the worker lives on."""
    expected = fault(weights_dir)
    surroundings = trellis_stand_in.Surroundings()
    model, settings = ReconViaGenModel(), trellis_stand_in.settings_for(weights_dir)
    with pytest.raises(InvalidWeights, match=expected):
        reconstruct(model, settings)
    surroundings.assert_untouched()


@pytest.mark.parametrize(
    ("file", "weight", "words"),
    [
        ("sparse_structure_decoder.safetensors", torch.nan, "not a number"),
        (MESH_DECODER, torch.nan, "not finite"),
        ("sparse_structure_decoder.safetensors", 0.0, "shape is empty"),
        (MESH_DECODER, 0.0, "mesh is empty"),
    ],
)
def test_what_is_no_shape_is_an_error(weights_dir: Path, file: str, weight: float, words: str) -> None:
    """MODEL_DIVERGED where upstream would go on or fail somewhere deep inside."""
    save_file({"weight": torch.full((4,), weight)}, weights_dir / CKPTS / file)
    with pytest.raises(Diverged, match=words):
        reconstruct(ReconViaGenModel(), trellis_stand_in.settings_for(weights_dir))


def test_a_checkout_that_stumbles_is_named(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake inside upstream's code is the installation's: MODEL_UNAVAILABLE, and the next job works."""
    model, settings = ReconViaGenModel(), trellis_stand_in.settings_for(weights_dir)

    def stumble(*_: object) -> None:
        raise KeyError("mesh")

    surroundings = trellis_stand_in.Surroundings()
    with monkeypatch.context() as patched:
        patched.setattr(keeper, "generate", stumble)
        with pytest.raises(ModelUnavailable, match=r"does not work with these weights: KeyError\('mesh'\)"):
            reconstruct(model, settings)
    surroundings.assert_untouched()
    generate(model, settings)


def test_a_capture_without_depth_is_refused(weights_dir: Path) -> None:
    """Nothing says where the shape belongs; the error says what to do."""
    blind = replace(capture(), views=tuple(replace(view, depth=None) for view in capture().views))
    context = ModelContext(geometry_scenes.CPU, texture_scenes.rasterizer(), lambda *_: None, lambda mesh: None)
    with pytest.raises(InvalidDepth, match="needs depth"):
        ReconViaGenModel().reconstruct(blind, trellis_stand_in.settings_for(weights_dir), context)


@pytest.mark.parametrize(
    ("choice", "total_gib", "free_gib", "expected"),
    [
        ("auto", 24, 23, False),
        ("auto", 24, 12, True),
        ("auto", 12, 11, True),
        ("on", 80, 79, True),
        ("off", 24, 23, False),
        ("auto", 8, 8, GpuTooSmall),
        ("off", 16, 16, GpuTooSmall),
        ("auto", 24, 6, GpuUnavailable),
        ("off", 24, 12, GpuUnavailable),
    ],
)
def test_memory_decides_how_it_runs(
    card: dict[str, int], choice: str, total_gib: int, free_gib: int, expected: bool | type[ReconError]
) -> None:
    """Whole, part by part, too small a card (with the number needed), or a card that others use."""
    card |= {"total": total_gib * GIB, "free": free_gib * GIB}
    if isinstance(expected, bool):
        assert gpu_memory.choose_low_vram(choice, geometry_scenes.CPU) is expected
        return
    needed = 17 if choice == "off" else 10
    with pytest.raises(expected, match=f"needs {needed} GiB"):
        gpu_memory.choose_low_vram(choice, geometry_scenes.CPU)


def out_of_memory_until(count: int, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The first runs fail for want of memory; the list tells in which mode each was tried."""
    tried: list[bool] = []
    real = keeper.generate

    def generate_or_fail(pipeline: keeper.Pipeline, *arguments: object) -> object:
        tried.append(pipeline.low_vram)
        if len(tried) <= count:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(pipeline, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(keeper, "generate", generate_or_fail)
    return tried


def test_out_of_memory_is_tried_again_part_by_part(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One retry in low-VRAM mode; the result says so."""
    tried = out_of_memory_until(1, monkeypatch)
    result = reconstruct(ReconViaGenModel(), trellis_stand_in.settings_for(weights_dir))
    assert tried == [False, True]
    assert result.facts["low_vram"] is result.facts["was_retried"] is True
    assert any("part by part" in warning for warning in result.warnings)


@pytest.mark.parametrize(("choice", "expected"), [("auto", [False, True]), ("off", [False]), ("on", [True])])
def test_out_of_memory_for_good_is_an_error(
    weights_dir: Path, monkeypatch: pytest.MonkeyPatch, choice: str, expected: list[bool]
) -> None:
    """MODEL_OUT_OF_GPU_MEMORY after the tries that the operator allows; the next job may work."""
    tried = out_of_memory_until(len(expected), monkeypatch)
    model, settings = ReconViaGenModel(), trellis_stand_in.settings_for(weights_dir, low_vram=choice)
    with pytest.raises(OutOfGpuMemory):
        reconstruct(model, settings)
    assert tried == expected
    generate(model, settings)


def test_a_processor_is_refused(weights_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No card: MODEL_UNAVAILABLE; a driver whose card PyTorch does not reach: GPU_UNAVAILABLE, which waits."""
    monkeypatch.undo()
    monkeypatch.setattr(gpu_memory, "NVIDIA_DRIVER", tmp_path / "absent")
    settings = trellis_stand_in.settings_for(weights_dir)
    with pytest.raises(ModelUnavailable, match="NVIDIA GPU only"):
        ReconViaGenModel().check_available(settings, geometry_scenes.CPU)
    monkeypatch.setattr(gpu_memory, "NVIDIA_DRIVER", tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(GpuUnavailable):
        ReconViaGenModel().check_available(settings, geometry_scenes.CPU)
