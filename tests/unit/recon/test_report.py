"""A report survives JSON, and summarises itself for result.json."""

import json
import subprocess
import sys
from importlib import metadata

import pytest
import torch
from pydantic import ValidationError

import meshes
from recon.quality import measure
from recon.raster.torch_raster import TorchRasterizer
from recon.report import LossRecord, MeshFiles, ModelReport, Report, describe_software, summarise_capture
from recon.scene import Inference
from recon.scores import QualityReport
from recon.settings import Settings

IDENTITY = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


@pytest.fixture(scope="module")
def quality() -> QualityReport:
    return measure(meshes.textured_box(), meshes.box_capture(), TorchRasterizer(), torch.device("cpu"))


def model_report(quality: QualityReport, name: str = "nvdiffrec", verdict: str = "normal") -> ModelReport:
    return ModelReport(
        model=name,
        quality=quality.model_copy(update={"verdict": verdict, "warnings": (f"{name} says this.", "Shared.")}),
        mesh_files=MeshFiles(files=("mesh.glb",), world_from_glb=IDENTITY),
        seconds_per_stage={"geometry": 1.5, "texture": 2.25},
        loss_history=(LossRecord(step=10, stage="coarse", terms={"depth": 0.5, "silhouette": 1e-9}),),
        facts={"grid_resolution": 128},
    )


def report(quality: QualityReport, *verdicts: str) -> Report:
    capture = meshes.box_capture().noting(
        Inference("depth encoding", "unsigned, 1 mm", "16-bit images"), warnings=("Shared.", "From the capture.")
    )
    names = ("nvdiffrec", "reconviagen")
    return Report(
        models=tuple(model_report(quality, name, verdict) for name, verdict in zip(names, verdicts, strict=False)),
        capture=summarise_capture(capture),
        settings=Settings(seed=7),
        software={"torch": "2.6"},
        input_sha256={"front.png": "ab" * 32},
    )


def test_json_brings_the_same_report_back(quality: QualityReport) -> None:
    """Every field survives writing and reading."""
    original = report(quality, "normal", "failure")
    assert Report.from_json(original.to_json()) == original
    assert json.loads(original.to_json())["verdict"] == "normal"


@pytest.mark.parametrize("text", ["[]", '{"models": []}', "{", '{"surprise": 1}'])
def test_text_that_is_no_report_is_refused(text: str) -> None:
    """Reading anything else raises ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic and json word it differently
        Report.from_json(text)


@pytest.mark.parametrize(
    ("verdicts", "best"),
    [(("failure",), "failure"), (("failure", "warning"), "warning"), (("warning", "normal"), "normal")],
)
def test_overall_verdict_is_the_best_model(quality: QualityReport, verdicts: tuple[str, ...], best: str) -> None:
    """One good mesh makes the job good."""
    assert report(quality, *verdicts).verdict == best


def test_warnings_come_once_and_from_everywhere(quality: QualityReport) -> None:
    """The capture's warnings lead, each sentence appears once."""
    assert report(quality, "normal", "warning").warnings == (
        "Shared.",
        "From the capture.",
        "nvdiffrec says this.",
        "reconviagen says this.",
    )


def test_summary_has_what_result_json_promises(quality: QualityReport) -> None:
    """Verdict, models, cameras, masks, inferences, settings that differ, software and hashes; JSON throughout."""
    summary = json.loads(json.dumps(report(quality, "warning").summary))
    assert summary["verdict"] == "warning"
    assert summary["models"]["nvdiffrec"]["files"] == ["mesh.glb"]
    assert summary["models"]["nvdiffrec"]["world_from_glb"] == [list(row) for row in IDENTITY]
    assert summary["models"]["nvdiffrec"]["seconds"] == 3.75
    assert summary["cameras_source"] == "given"
    assert summary["is_metric"] is True
    assert [view["mask_source"] for view in summary["views"]] == ["alpha"] * 6
    assert summary["views"][0]["object_fraction"] == 0.25
    assert summary["views"][0]["depth_width_px"] == 64
    assert summary["inferences"] == [{"what": "depth encoding", "value": "unsigned, 1 mm", "evidence": "16-bit images"}]
    assert summary["settings"] == {"seed": 7}
    assert summary["software"] == {"torch": "2.6"}
    assert summary["input_sha256"] == {"front.png": "ab" * 32}


def test_quality_document_stands_alone(quality: QualityReport) -> None:
    """quality.json holds the scores and everything needed to judge them."""
    whole = report(quality, "normal")
    document = json.loads(json.dumps(whole.quality_document(whole.models[0])))
    assert document["verdict"] == "normal"
    assert document["thresholds"]["normal_psnr_db"] == 25
    assert len(document["views"]) == 6
    assert document["mesh"]["is_watertight"] is True
    assert document["seconds_per_stage"] == {"geometry": 1.5, "texture": 2.25}
    assert document["capture"]["cameras_source"] == "given"
    assert document["input_sha256"] == {"front.png": "ab" * 32}


def test_reports_cannot_be_changed(quality: QualityReport) -> None:
    """Assigning to a field is an error, and so is a field nobody knows."""
    whole = report(quality, "normal")
    with pytest.raises(ValidationError):
        whole.software = {}  # type: ignore[misc]
    with pytest.raises(ValidationError):
        MeshFiles.model_validate({"files": [], "world_from_glb": IDENTITY, "colour": "red"})


def test_software_names_what_is_installed() -> None:
    """Versions are those of the installed distributions, and a machine without a GPU says cpu."""
    software = describe_software(torch.device("cpu"))
    assert software["torch"] == metadata.version("torch")
    assert software["device"] == "cpu"
    assert all(software.values())


def test_reading_a_report_needs_no_numerical_library() -> None:
    """A daemon imports recon.report without torch or numpy."""
    code = "import recon.report, sys; print(sorted({'torch', 'numpy', 'scipy', 'skimage'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
