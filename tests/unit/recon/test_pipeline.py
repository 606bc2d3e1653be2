"""The stages in order: what is written, what a failure says, what one model's failure costs the other."""

import json
from pathlib import Path

import pytest
import torch

import meshes
from recon import pipeline
from recon.errors import Cancelled, GpuUnavailable, IncompleteInput, ModelUnavailable, ObjectNotFound, OutOfGpuMemory
from recon.models import ModelContext, ModelResult, create_model
from recon.progress import ProgressUpdate, silent
from recon.scene import Capture
from recon.settings import Settings

PLAIN = Settings(device="cpu", turntable=False, formats=("ply",))
BOTH = PLAIN.model_copy(update={"model": "both"})


class FakeModel:
    """Knows the box; fails in the stage it is told to."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = name
        self._error = error

    def check_available(self, settings: Settings, device: torch.device) -> None:
        """Works everywhere."""

    def release(self) -> None:
        """Keeps nothing."""

    def reconstruct(self, capture: Capture, settings: Settings, context: ModelContext) -> ModelResult:
        context.enter("geometry", 0.5)
        if self._error is not None:
            raise self._error
        return ModelResult(meshes.textured_box(), facts={"face_count": 12}, warnings=(f"{self.name} says so",))


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeModel]:
    """The models that exist, by name; previews and camera search have their own tests."""
    known = {name: FakeModel(name) for name in pipeline.BOTH}
    monkeypatch.setattr(pipeline, "create_model", lambda name: known.get(name) or create_model(name))
    monkeypatch.setattr(pipeline, "solve_cameras", lambda capture, settings, device: capture)
    monkeypatch.setattr(pipeline, "write_previews", lambda *_, **__: [])
    return known


@pytest.mark.usefixtures("models")
def test_everything_is_written_and_reported(tmp_path: Path) -> None:
    """A run leaves the mesh, cameras, error map and both reports, and the report in hand equals the one on disk."""
    updates: list[ProgressUpdate] = []
    report = pipeline.run(meshes.box_capture(), tmp_path, PLAIN, updates.append)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    expected = {"mesh.ply", "cameras.json", "error.png", "quality.json"}
    assert {f"nvdiffrec/{name}" for name in expected} | {"report.json"} <= names
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(report.to_json())
    (model,) = report.models
    assert model.model == "nvdiffrec"
    assert model.quality.warnings[0] == "nvdiffrec says so"
    assert model.facts == {"face_count": 12}
    assert set(model.seconds_per_stage) == {"capture", "cameras", "geometry", "export", "quality", "previews"}
    fractions = [update.fraction for update in updates]
    assert fractions == sorted(fractions)


def test_an_error_carries_the_stage_it_came_from(models: dict[str, FakeModel], tmp_path: Path) -> None:
    """A model that fails in its geometry says geometry; one that knows better keeps its own word."""
    models["nvdiffrec"] = FakeModel("nvdiffrec", ObjectNotFound())
    with pytest.raises(ObjectNotFound) as caught:
        pipeline.run(meshes.box_capture(), tmp_path, PLAIN, silent)
    assert caught.value.stage == "geometry"
    models["nvdiffrec"] = FakeModel("nvdiffrec", OutOfGpuMemory(stage="texture"))
    with pytest.raises(OutOfGpuMemory) as told:
        pipeline.run(meshes.box_capture(), tmp_path, PLAIN, silent)
    assert told.value.stage == "texture"


@pytest.mark.usefixtures("models")
def test_a_folder_that_cannot_be_read_fails_in_the_capture_stage(tmp_path: Path) -> None:
    """An empty folder is incomplete, and the stage is capture."""
    (tmp_path / "job").mkdir()
    with pytest.raises(IncompleteInput) as caught:
        pipeline.run(tmp_path / "job", tmp_path / "out", PLAIN, silent)
    assert caught.value.stage == "capture"


@pytest.mark.parametrize("stage", ["capture", "cameras", "geometry", "export", "quality", "previews"])
@pytest.mark.parametrize("settings", [PLAIN, BOTH], ids=["one", "both"])
@pytest.mark.usefixtures("models")
def test_cancelling_at_any_stage_passes_through(tmp_path: Path, stage: str, settings: Settings) -> None:
    """``Cancelled`` from progress ends the run as it is, also with two models, and no report is left."""

    def cancel(update: ProgressUpdate) -> None:
        if update.stage == stage:
            raise Cancelled

    with pytest.raises(Cancelled):
        pipeline.run(meshes.box_capture(), tmp_path, settings, cancel)
    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize("failing", pipeline.BOTH)
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OutOfGpuMemory("too little memory"), "too little memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfGpuMemory().message),
    ],
)
def test_one_models_failure_does_not_lose_the_other(
    models: dict[str, FakeModel], tmp_path: Path, failing: str, error: Exception, reason: str
) -> None:
    """Of two models the one that works is reported; a warning says why the other failed."""
    models[failing] = FakeModel(failing, error)
    report = pipeline.run(meshes.box_capture(), tmp_path, BOTH, silent)
    (survivor,) = [name for name in pipeline.BOTH if name != failing]
    assert [model.model for model in report.models] == [survivor]
    assert f"The model {failing} failed: {reason}" in report.capture.warnings
    assert (tmp_path / survivor / "mesh.ply").exists()


def test_two_failures_are_an_error(models: dict[str, FakeModel], tmp_path: Path) -> None:
    """When no model works, the last one's error is raised."""
    models["nvdiffrec"] = FakeModel("nvdiffrec", ObjectNotFound())
    models["reconviagen"] = FakeModel("reconviagen", OutOfGpuMemory("too little memory"))
    with pytest.raises(OutOfGpuMemory, match="too little memory"):
        pipeline.run(meshes.box_capture(), tmp_path, BOTH, silent)


def test_a_single_model_that_is_not_installed_is_an_error(
    models: dict[str, FakeModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Asked for by name and not there: MODEL_UNAVAILABLE before anything is read."""

    def create(name: str) -> FakeModel:
        if name not in models:
            raise ModelUnavailable(details={"model": name})
        return models[name]

    monkeypatch.setattr(pipeline, "create_model", create)
    settings = PLAIN.model_copy(update={"model": "unheard_of"})
    with pytest.raises(ModelUnavailable) as caught:
        pipeline.run(tmp_path / "no_such_folder", tmp_path, settings, silent)
    assert caught.value.details == {"model": "unheard_of"}


def test_the_device_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU is always CPU; auto takes CUDA where it works; CUDA by name is refused where it does not."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pipeline.select_device(Settings(device="cpu")).type == "cpu"
    assert pipeline.select_device(Settings(device="auto")).type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pipeline.select_device(Settings(device="auto")).type == "cpu"
    with pytest.raises(GpuUnavailable):
        pipeline.select_device(Settings(device="cuda"))


def test_a_model_that_is_not_installed_does_not_lose_the_other(models: dict[str, FakeModel], tmp_path: Path) -> None:
    """Both models asked for, one not installed: the other's results come, with a warning that names the missing one."""
    del models["reconviagen"]
    report = pipeline.run(meshes.box_capture(), tmp_path, BOTH, silent)
    assert [model.model for model in report.models] == ["nvdiffrec"]
    assert any("reconviagen" in warning for warning in report.capture.warnings)


@pytest.mark.usefixtures("models")
def test_two_results_are_compared(tmp_path: Path) -> None:
    """Each quality.json has the same comparison of both, and one picture shows them; alone, a model has neither."""
    pipeline.run(meshes.box_capture(), tmp_path / "both", BOTH, silent)
    documents = [json.loads((tmp_path / "both" / name / "quality.json").read_text()) for name in pipeline.BOTH]
    assert documents[0]["comparison"] == documents[1]["comparison"]
    assert set(documents[0]["comparison"]) == set(pipeline.BOTH)
    for document in documents:
        compared = document["comparison"][document["model"]]
        assert compared["psnr_db"] == document["mean"]["psnr_db"]
        assert compared["generated_fraction"] == document["surface"]["generated_fraction"]
    assert (tmp_path / "both" / "comparison.png").exists()
    pipeline.run(meshes.box_capture(), tmp_path / "one", PLAIN, silent)
    assert "comparison" not in json.loads((tmp_path / "one" / "nvdiffrec" / "quality.json").read_text())
    assert not (tmp_path / "one" / "comparison.png").exists()


class ForgetfulModel(FakeModel):
    """Runs out of GPU memory the first time."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.runs = 0

    def reconstruct(self, capture: Capture, settings: Settings, context: ModelContext) -> ModelResult:
        self.runs += 1
        if self.runs == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().reconstruct(capture, settings, context)


@pytest.mark.parametrize("has_kept_memory", [True, False])
def test_memory_that_models_keep_yields_to_the_job(
    models: dict[str, FakeModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_kept_memory: bool
) -> None:
    """Out of GPU memory: what was kept for later is given back and the model runs again; else the error stands."""
    model = models["nvdiffrec"] = ForgetfulModel("nvdiffrec")
    monkeypatch.setattr(pipeline, "release_models", lambda: has_kept_memory)
    if has_kept_memory:
        report = pipeline.run(meshes.box_capture(), tmp_path, PLAIN, silent)
        assert report.models[0].model == "nvdiffrec"
        assert model.runs == 2
    else:
        with pytest.raises(torch.OutOfMemoryError):
            pipeline.run(meshes.box_capture(), tmp_path, PLAIN, silent)
        assert model.runs == 1
