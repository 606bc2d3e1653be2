"""What a reconstruction made, how good it is and what had to be inferred: pure data, the same in Python and in JSON.

Importing this module loads no numerical library, so that a daemon can read ``report.json``.  Values that
could not be measured are ``None``, never 0; docs/quality.md defines every number.
"""

import json
from importlib import metadata
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, JsonValue

from recon.scores import VERDICTS_BEST_FIRST, QualityReport, Record, Verdict
from recon.settings import Settings

if TYPE_CHECKING:
    import torch

    from recon.scene import Capture

Matrix4 = tuple[tuple[float, float, float, float], ...]

SOFTWARE = ("meshdrop", "torch", "nvdiffrast", "numpy", "scikit-image")
"""Distributions whose versions can change a result."""


class LossRecord(Record):
    """The loss terms at one optimisation step."""

    step: int
    stage: str
    terms: dict[str, float]


class MeshFiles(Record):
    """Files of one model's mesh, relative to its folder; ``world_from_glb`` takes mesh.glb back to the world frame."""

    files: tuple[str, ...]
    world_from_glb: Matrix4


class ModelReport(Record):
    """What one model made."""

    model: str
    quality: QualityReport
    mesh_files: MeshFiles
    seconds_per_stage: dict[str, float] = Field(default_factory=dict)
    loss_history: tuple[LossRecord, ...] = ()
    facts: dict[str, JsonValue] = Field(default_factory=dict)
    """What the model decided by itself: grid resolution, steps taken, texture size, corrections of cameras, ..."""

    @property
    def verdict(self) -> Verdict:
        return self.quality.verdict


class ViewSummary(Record):
    """What was read for one view."""

    name: str
    width_px: int
    height_px: int
    mask_source: str
    object_fraction: float
    depth_width_px: int | None = None
    depth_height_px: int | None = None
    depth_valid_fraction: float | None = None
    depth_step: float | None = None


class InferenceRecord(Record):
    """Something that the folder did not state, and why it was decided so."""

    what: str
    value: str
    evidence: str


class CaptureSummary(Record):
    """The input as it was understood; fields as in ``recon.scene.Capture``."""

    layout: str
    up_world: str
    is_metric: bool
    cameras_source: str
    views: tuple[ViewSummary, ...]
    inferences: tuple[InferenceRecord, ...] = ()
    warnings: tuple[str, ...] = ()


class Report(Record):
    """The outcome of ``recon.reconstruct``.

    Attributes:
        software: Versions by distribution, plus ``device``: the GPU's name or "cpu".
        input_sha256: By file name relative to the job folder, where the caller hashed them.
    """

    models: Annotated[tuple[ModelReport, ...], Field(min_length=1)]
    capture: CaptureSummary
    settings: Settings
    software: dict[str, str] = Field(default_factory=dict)
    input_sha256: dict[str, str] = Field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The best of the models' verdicts."""
        return min((model.verdict for model in self.models), key=VERDICTS_BEST_FIRST.index)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Everything the user should read first, each sentence once."""
        own = (warning for model in self.models for warning in model.quality.warnings)
        return tuple(dict.fromkeys((*self.capture.warnings, *own)))

    @property
    def summary(self) -> dict[str, JsonValue]:
        """The part that belongs into result.json: no loss curves, no per-view scores."""
        capture = self.capture.model_dump(mode="json")
        return {
            "verdict": self.verdict,
            "warnings": list(self.warnings),
            "models": {model.model: _model_summary(model) for model in self.models},
            "is_metric": self.capture.is_metric,
            "up_world": self.capture.up_world,
            "layout": self.capture.layout,
            "cameras_source": self.capture.cameras_source,
            "views": capture["views"],
            "inferences": capture["inferences"],
            "settings": self.settings.model_dump(mode="json", exclude_defaults=True),
            "software": dict(self.software),
            "input_sha256": dict(self.input_sha256),
        }

    def quality_document(self, model: ModelReport) -> dict[str, JsonValue]:
        """The contents of one model's quality.json: its scores and all that is needed to judge them."""
        comparison = {item.model: _compared(item) for item in self.models} if len(self.models) > 1 else None
        return {
            "model": model.model,
            **model.quality.model_dump(mode="json"),
            "seconds_per_stage": dict(model.seconds_per_stage),
            "world_from_glb": [list(row) for row in model.mesh_files.world_from_glb],
            "facts": dict(model.facts),
            **({"comparison": comparison} if comparison else {}),
            "capture": self.capture.model_dump(mode="json"),
            "software": dict(self.software),
            "input_sha256": dict(self.input_sha256),
        }

    def to_json(self) -> str:
        """Everything, led by the verdict; ``from_json`` reads it back."""
        return json.dumps({"verdict": self.verdict, **self.model_dump(mode="json")}, indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: The text is not a report.
        """
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("a report is a JSON object")
        document.pop("verdict", None)
        return cls.model_validate_json(json.dumps(document))


def summarise_capture(capture: "Capture") -> CaptureSummary:
    """Record what was read, without the pictures."""
    views = []
    for view in capture.views:
        depth = view.depth
        views.append(
            ViewSummary(
                name=view.name,
                width_px=view.width_px,
                height_px=view.height_px,
                mask_source=view.mask_source,
                object_fraction=float((view.foreground_alpha > 0.5).float().mean()),
                depth_width_px=None if depth is None else int(depth.depth_z.shape[1]),
                depth_height_px=None if depth is None else int(depth.depth_z.shape[0]),
                depth_valid_fraction=None if depth is None else float(depth.valid_mask.float().mean()),
                depth_step=None if depth is None else depth.step_z,
            )
        )
    return CaptureSummary(
        layout=capture.layout,
        up_world=capture.up_world,
        is_metric=capture.is_metric,
        cameras_source=capture.cameras_source,
        views=tuple(views),
        inferences=tuple(InferenceRecord(what=i.what, value=i.value, evidence=i.evidence) for i in capture.inferences),
        warnings=capture.warnings,
    )


def describe_software(device: "torch.device") -> dict[str, str]:
    """Versions of what is installed, and the device's name."""
    versions = {name: _version(name) for name in SOFTWARE}
    return {**{name: version for name, version in versions.items() if version}, "device": _device_name(device)}


def _device_name(device: "torch.device") -> str:
    if device.type != "cuda":
        return "cpu"
    import torch

    return torch.cuda.get_device_name(device)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _compared(model: ModelReport) -> dict[str, JsonValue]:
    """What one looks at when several models worked on the same capture."""
    quality, mean = model.quality, model.quality.mean
    return {
        "verdict": model.verdict,
        "psnr_db": mean.psnr_db,
        "ssim": mean.ssim,
        "depth_mae_percent": mean.depth_mae_percent,
        "mask_iou": mean.mask_iou,
        "observed_fraction": quality.surface.observed_fraction,
        "filled_fraction": quality.surface.filled_fraction,
        "generated_fraction": quality.surface.generated_fraction,
        "is_watertight": quality.mesh.is_watertight,
        "face_count": quality.mesh.face_count,
        "seconds": round(sum(model.seconds_per_stage.values()), 3),
    }


def _model_summary(model: ModelReport) -> dict[str, JsonValue]:
    quality = model.quality
    return {
        "verdict": model.verdict,
        "mean": quality.mean.model_dump(mode="json"),
        "surface": quality.surface.model_dump(mode="json"),
        "mesh": quality.mesh.model_dump(mode="json"),
        "files": list(model.mesh_files.files),
        "world_from_glb": [list(row) for row in model.mesh_files.world_from_glb],
        "seconds": round(sum(model.seconds_per_stage.values()), 3),
        "seconds_per_stage": dict(model.seconds_per_stage),
    }
