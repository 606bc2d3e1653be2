"""What the report page says: a report in plain words, without any markup."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from recon.report import CaptureSummary, LossRecord, ModelReport, Report
from recon.scores import VERDICTS_BEST_FIRST, QualityReport, ViewScores

HEADLINES = {"normal": "Good result", "warning": "Usable, with reservations", "failure": "Not good enough"}

MEANINGS = {
    "normal": "The mesh repeats its photographs well.",
    "warning": "The mesh resembles its photographs, but not closely; read the notes below before relying on it.",
    "failure": "The mesh does not resemble its photographs closely enough to be relied on.",
}

MODES = (
    ("texture", "Textured"),
    ("shape", "Shape"),
    ("wireframe", "Wireframe"),
    ("coverage", "Coverage"),
    ("error", "Error"),
)

FILES = (
    ("mesh.glb", "for viewers, browsers, Blender, game engines"),
    ("mesh.obj", "for most 3D programs, with mesh.mtl and texture.png"),
    ("mesh.ply", "for MeshLab, CloudCompare and measuring, with colours at the corners"),
    ("texture.png", "the colours"),
    ("coverage.png", "which of them a camera saw"),
    ("turntable.webp", "the object turning, for mails and pages"),
    ("turntable.mp4", "the same as a film"),
    ("previews", "six sides, as pictures and as wireframes"),
    ("cameras.json", "where the cameras stood"),
    ("quality.json", "all numbers of this page, for programs"),
)
"""What a model's folder may hold, in the order in which people look for it."""

LOSS_LABELS = {
    "depth_m": "Distance to the depth images",
    "outline_m": "Distance to the outlines",
    "step_m": "Movement of the surface in a step",
    "bend_outline_m": "Distance to the outlines while bending to the photographs",
}
"""Lengths among the models' terms, in plain words."""

OTHER_LOSS_LABELS = {
    "colour": "Difference between the photographs of one place (0 to 1)",
    "bend_colour": "Difference between the blurred photographs of one place while bending to them (0 to 1)",
    "descent_colour": "Difference between mesh and photographs at the end (0 to 1)",
}
"""Terms that are no lengths; those of other models are shown by their own names."""

LITTLE_SEEN = 0.7
POOR_OUTLINE = 0.95
"""Share of the surface, and overlap of outlines, below which the reader is advised about them."""

CURVE_SIZE = (400, 100)
"""Width and height of a loss curve in drawing units."""


@dataclass(frozen=True)
class Failure:
    """Why a job failed, as in error.json."""

    code: str
    message: str
    suggestion: str
    file: str = ""
    stage: str = ""
    details: str = ""


@dataclass(frozen=True)
class ScoreRow:
    """One score beside what is asked of it; ``state`` is a verdict or empty."""

    label: str
    value: str
    target: str
    meaning: str
    state: str = ""


@dataclass(frozen=True)
class ViewRow:
    name: str
    cells: tuple[str, ...]
    mask_source: str
    note: str


@dataclass(frozen=True)
class StageRow:
    name: str
    seconds: str
    percent: float


@dataclass(frozen=True)
class Curve:
    """One loss term over the steps, drawn logarithmically; ``points`` is an SVG point list."""

    name: str
    first: str
    last: str
    steps: int
    points: str


def score_rows(quality: QualityReport) -> list[ScoreRow]:
    """The numbers that matter, most important first."""
    mean, limits = quality.mean, quality.thresholds
    psnr_state = limits.verdict(mean.psnr_db, limits.normal_ssim)
    ssim_state = limits.verdict(limits.normal_psnr_db, mean.ssim)
    surface, mesh = quality.surface, quality.mesh
    rows = [
        ScoreRow(
            "Colours (PSNR)",
            _number(mean.psnr_db, "{:.1f} dB"),
            f"{limits.normal_psnr_db:g} dB or more; {limits.warning_psnr_db:g} with a warning",
            "How close the mesh's colours are to the photographs, on the object only"
            + ("." if mean.psnr_db is None else f": typically {_off_by(mean.psnr_db)} of 255 steps off.")
            + f" {limits.normal_psnr_db:g} dB is {_off_by(limits.normal_psnr_db)} steps.",
            psnr_state,
        ),
        ScoreRow(
            "Structure (SSIM)",
            _number(mean.ssim, "{:.3f}"),
            f"{limits.normal_ssim:g} or more; {limits.warning_ssim:g} with a warning",
            "Whether edges, print and texture are in the same place; 1 is a perfect match.",
            ssim_state,
        ),
        _depth_row(mean),
        ScoreRow(
            "Outline", _number(mean.mask_iou, "{:.1%}"), "", "Shared area of the mesh's and the object's outline."
        ),
        ScoreRow(
            "Seen by a camera",
            f"{surface.observed_fraction:.0%}",
            "",
            f"Share of the surface. {surface.filled_fraction:.0%} was filled in"
            + (f", {surface.generated_fraction:.0%} invented by the model." if surface.generated_fraction else "."),
        ),
        ScoreRow(
            "Closed surface",
            "yes" if mesh.is_watertight else "no",
            "yes",
            f"{mesh.face_count} faces, {mesh.component_count} piece{'s' if mesh.component_count != 1 else ''}, "
            f"{mesh.boundary_loops} holes.",
            "normal" if mesh.is_watertight else "warning",
        ),
    ]
    if quality.photos.agreement_db is not None:
        meaning = "How far the photographs agree where two show the same place; no texture can do better there."
        rows.append(ScoreRow("Photographs agree", f"{quality.photos.agreement_db:.1f} dB", "", meaning))
    return rows


def view_rows(quality: QualityReport, capture: CaptureSummary) -> list[ViewRow]:
    """One row per view, in file order."""
    mask_sources = {view.name: view.mask_source for view in capture.views}
    return [
        ViewRow(
            view.name,
            (
                _number(view.psnr_db, "{:.1f}"),
                _number(view.ssim, "{:.3f}"),
                _number(view.depth_mae_percent, "{:.3f}"),
                _number(view.mask_iou, "{:.1%}"),
                _number(view.photo_depth_iou, "{:.1%}"),
            ),
            mask_sources.get(view.name, ""),
            view.note,
        )
        for view in quality.views
    ]


def stage_rows(model: ModelReport) -> list[StageRow]:
    """Seconds per stage with each one's share of the longest."""
    longest = max(model.seconds_per_stage.values(), default=0) or 1
    return [
        StageRow(name, f"{seconds:.1f}", round(100 * seconds / longest, 1))
        for name, seconds in model.seconds_per_stage.items()
    ]


def loss_curves(history: tuple[LossRecord, ...], *, is_metric: bool) -> Iterator[Curve]:
    """A curve per loss term; terms that were never positive cannot be drawn and are left out."""
    length = "mm" if is_metric else "thousandths of the camera distance"
    names = dict.fromkeys(name for record in history for name in record.terms)
    for name in names:
        drawn = [record for record in history if record.terms.get(name, 0) > 0]
        if len(drawn) < 2:
            continue
        values, step_count = [record.terms[name] for record in drawn], drawn[-1].step - drawn[0].step
        logarithms = [math.log10(value) for value in values]
        low, high = min(logarithms), max(logarithms)
        width, height = CURVE_SIZE
        points = " ".join(
            f"{place * width / (len(values) - 1):.1f},{5 + (height - 10) * (high - value) / (high - low or 1):.1f}"
            for place, value in enumerate(logarithms)
        )
        scale = 1000 if name in LOSS_LABELS else 1
        label = f"{LOSS_LABELS[name]}, {length}" if name in LOSS_LABELS else OTHER_LOSS_LABELS.get(name, name)
        yield Curve(label, f"{values[0] * scale:.3g}", f"{values[-1] * scale:.3g}", step_count, points)


def advice(report: Report) -> tuple[str, ...]:
    """What the reader can do about a result that is not good; empty for a good one."""
    if report.verdict == "normal":
        return ()
    quality = min(report.models, key=lambda model: VERDICTS_BEST_FIRST.index(model.verdict)).quality
    limits, agreement_db = quality.thresholds, quality.photos.agreement_db
    found = []
    if agreement_db is not None and agreement_db < limits.normal_psnr_db:
        found.append(
            f"The photographs contradict each other ({agreement_db:.1f} dB where two show the same place), so no mesh"
            " can match them all: keep the light and the object still, and shoot again."
        )
    if quality.surface.observed_fraction < LITTLE_SEEN:
        found.append(
            f"Cameras saw only {quality.surface.observed_fraction:.0%} of the surface: add views of the sides that"
            " the coverage colours show as filled in."
        )
    if quality.mean.mask_iou is not None and quality.mean.mask_iou < POOR_OUTLINE:
        found.append(
            "The outlines do not match: check cameras and masks, and state rig, fov_deg or background in job.toml."
        )
    found.append(
        "Look at the rows of pictures below: a view that is worse than the others has a wrong camera, mask or depth."
    )
    if report.verdict == "failure":
        found.append('If it is good enough for you, set on_low_quality = "keep" in job.toml and run it again.')
    return tuple(found)


def settings_text(report: Report, *, only_changed: bool = True) -> str:
    """What differs from the defaults, or everything, as a job.toml."""
    settings = report.settings.model_dump(mode="json", exclude_defaults=only_changed, exclude_none=True)
    return "\n".join(_toml(settings, ""))


def technical_rows(report: Report) -> list[tuple[str, str]]:
    """Names and values for whoever wants to know exactly."""
    capture = report.capture
    rows = [
        ("layout", capture.layout),
        ("cameras", capture.cameras_source),
        ("lengths", "metres" if capture.is_metric else "relative to the camera distance"),
        ("up", f"+{capture.up_world}"),
    ]
    for model in report.models:
        rows += [(f"{model.model}: {name}", _plain(value)) for name, value in model.facts.items()]
    rows += list(report.software.items())
    return rows + [(f"sha256 of {name}", digest) for name, digest in report.input_sha256.items()]


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None else form.format(value)


def _off_by(psnr_db: float) -> str:
    """A PSNR as the root mean square difference in steps of 8 bits."""
    return f"{255 * 10 ** (-psnr_db / 20):.0f}"


def _depth_row(mean: ViewScores) -> ScoreRow:
    """In millimetres where the scale is known, else in percent of the size."""
    meaning = "Mean distance between the mesh and the depth images"
    percent = _number(mean.depth_mae_percent, "{:.3f} %")
    if mean.depth_mae_m is None:
        return ScoreRow("Depth error", percent, "", f"{meaning}, in percent of the diagonal.")
    return ScoreRow("Depth error", f"{mean.depth_mae_m * 1000:.2f} mm", "", f"{meaning}: {percent} of the diagonal.")


def _plain(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _toml(table: dict[str, JsonValue], name: str) -> Iterator[str]:
    """TOML lines: plain values first, then tables; JSON's strings, numbers, booleans and lists are also TOML's."""
    if name:
        yield f"[{name}]"
    for key, value in table.items():
        if not isinstance(value, dict):
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _toml(value, f"{name}.{key}" if name else key)
