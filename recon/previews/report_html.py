"""The report page: one file with a 3D viewer, pictures and numbers, which opens from a share without a network.

The page carries its own content security policy: nothing may be fetched, and only the one script whose hash it
names may run, so that no text from a job can become code.
"""

import base64
import hashlib
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

from jinja2 import Environment, PackageLoader, StrictUndefined

from recon.errors import writing
from recon.previews import report_page
from recon.previews.embedding import view_strips, viewer_data
from recon.previews.report_page import Curve, Failure, ScoreRow, StageRow, ViewRow
from recon.report import InferenceRecord, ModelReport, Report

__all__ = ["Failure", "render_failure", "write_report_html"]

CANCELLED = "JOB_CANCELLED"
"""The one code that is no fault."""

COVERAGE_LEGEND = (
    ("#009e73", "seen by a camera"),
    ("#e69f00", "filled in"),
    ("#cc79a7", "invented by the model"),
)
ERROR_LEGEND = (
    ("#0d0887", "none"),
    ("#cc4778", "an eighth"),
    ("#f0f921", "a quarter of full scale or more"),
    ("#808080", "not seen"),
)


@dataclass(frozen=True)
class ModelSection:
    """All that the page shows of one model."""

    name: str
    verdict: str
    headline: str
    meaning: str
    viewer: dict[str, object] | None
    modes: list[tuple[str, str]]
    strips: list[str]
    scores: list[ScoreRow]
    views: list[ViewRow]
    stages: list[StageRow]
    total_s: str
    curves: list[Curve]
    files: list[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """All that the page shows; ``settings`` is None when none are known."""

    title: str
    verdict: str
    headline: str
    meaning: str
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    models: list[ModelSection] = field(default_factory=list)
    inferences: tuple[InferenceRecord, ...] = ()
    settings: str | None = None
    all_settings: str = ""
    technical: list[tuple[str, str]] = field(default_factory=list)
    how_to_rerun: str = ""


def write_report_html(
    path: Path,
    title: str,
    report: Report | None = None,
    results_dir: Path | None = None,
    failure: Failure | None = None,
    how_to_rerun: str = "Run it again with meshdrop run, or with recon.reconstruct.",
) -> None:
    """Write the page of a job that is done, or failed, or both (results below the quality asked for).

    Without ``report`` it needs neither numerical nor image libraries.

    Args:
        path: The HTML file to write.
        title: The job's name; any text is safe.
        report: What was made.
        results_dir: Holds the models' folders with mesh.glb, coverage.png, error.png and previews/contact_sheet.png;
            what is absent is left out of the page.
        failure: What went wrong.
        how_to_rerun: A sentence that tells the reader how to run the job again.

    Raises:
        DiskFull, OutputNotWritable: The page could not be written.
    """
    page = replace(_page(title, report, results_dir, failure), how_to_rerun=how_to_rerun)
    with writing(path.name):
        path.write_text(render(page), encoding="utf-8", errors="replace")


def render_failure(title: str, failure: Failure, how_to_rerun: str) -> str:
    """The page of a job that left no results, for a caller that writes it by itself."""
    return render(replace(_page(title, None, None, failure), how_to_rerun=how_to_rerun))


def render(page: Page) -> str:
    """The page as HTML; every text is escaped by the template engine."""
    environment = _environment()
    script = _template_text(environment, "viewer.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        page=page,
        script=script,
        script_hash=f"sha256-{digest}",
        style=_template_text(environment, "base.css") + _template_text(environment, "report.css"),
        coverage_legend=COVERAGE_LEGEND,
        error_legend=ERROR_LEGEND,
        file_name=unquote,
    )


@cache
def _environment() -> Environment:
    """One for all pages, since reading the templates takes as long as filling them in."""
    return Environment(
        loader=PackageLoader("recon.previews"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_without_controls,
    )


def _without_controls(value: object) -> object:
    """Replace what reorders or hides text (control and bidi characters, halves of characters) in all that is shown."""
    if type(value) is not str:  # the engine's own class of safe text is a subclass
        return value
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in value
    )


def _page(title: str, report: Report | None, results_dir: Path | None, failure: Failure | None) -> Page:
    if failure is not None and failure.code == CANCELLED:
        return Page(title, "warning", "Cancelled", "There is no mesh, and nothing is wrong.", failure)
    if report is None:
        return Page(title, "failure", "Failed", "There is no mesh.", failure)
    verdict = "failure" if failure else report.verdict
    return Page(
        title=title,
        verdict=verdict,
        headline="Failed" if failure else report_page.HEADLINES[verdict],
        meaning="" if failure else report_page.MEANINGS[verdict],
        failure=failure,
        warnings=report.warnings,
        advice=report_page.advice(report),
        models=[_model_section(model, report, results_dir) for model in report.models],
        inferences=report.capture.inferences,
        settings=report_page.settings_text(report),
        all_settings=report_page.settings_text(report, only_changed=False),
        technical=report_page.technical_rows(report),
    )


def _model_section(model: ModelReport, report: Report, results_dir: Path | None) -> ModelSection:
    folder = None if results_dir is None else results_dir / model.model
    viewer = None if folder is None else viewer_data(folder)
    pictures = viewer["pictures"] if viewer else ()
    assert isinstance(pictures, dict | tuple)
    needed = {"coverage": "coverage", "error": "error"}
    return ModelSection(
        name=model.model,
        verdict=model.verdict,
        headline=report_page.HEADLINES[model.verdict],
        meaning=report_page.MEANINGS[model.verdict],
        viewer=viewer,
        modes=[(value, label) for value, label in report_page.MODES if needed.get(value, "texture") in pictures],
        strips=[] if folder is None else view_strips(folder / "previews/contact_sheet.png", len(model.quality.views)),
        scores=report_page.score_rows(model.quality),
        views=report_page.view_rows(model.quality, report.capture),
        stages=report_page.stage_rows(model),
        total_s=f"{sum(model.seconds_per_stage.values()):.1f}",
        curves=list(report_page.loss_curves(model.loss_history, is_metric=report.capture.is_metric)),
        files=_files(results_dir, model.model),
    )


def _files(results_dir: Path | None, model: str) -> list[tuple[str, str]]:
    """Address beside the page and meaning of every file that is there."""
    if results_dir is None:
        return []
    named = [(f"{model}/{name}", meaning) for name, meaning in report_page.FILES]
    return [(quote(name), meaning) for name, meaning in named if (results_dir / name).exists()]


def _template_text(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
