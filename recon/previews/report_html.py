"""The report page: one file with a 3D viewer, pictures and numbers, which opens from a share without a network.

The page carries its own content security policy: nothing may be fetched, and only the one script whose hash it
names may run, so that no text from a job can become code.
"""

import base64
import hashlib
import io
import json
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from recon.errors import writing
from recon.previews import report_page
from recon.previews.report_page import Curve, Failure, ScoreRow, StageRow, ViewRow
from recon.report import InferenceRecord, ModelReport, Report

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Failure", "write_report_html"]

PICTURE_QUALITY = 85
"""WebP quality of embedded pictures: not told apart from the original at a tenth of its size."""

LONGEST_SIDE_PX = 2048
"""Embedded pictures are scaled down to this; phones draw no larger textures reliably."""

MAX_VIEWER_BYTES = 64 * 2**20
"""A larger mesh.glb stays out of the page: browsers on phones give up on such pages."""

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
    meaning: str
    viewer: dict[str, object] | None
    modes: list[tuple[str, str]]
    contact_sheet: str
    scores: list[ScoreRow]
    views: list[ViewRow]
    stages: list[StageRow]
    curves: list[Curve]


@dataclass(frozen=True)
class Page:
    """All that the page shows; ``settings`` is None when none are known."""

    title: str
    verdict: str
    headline: str
    meaning: str
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
    models: list[ModelSection] = field(default_factory=list)
    inferences: tuple[InferenceRecord, ...] = ()
    settings: str | None = None
    technical: list[tuple[str, str]] = field(default_factory=list)
    how_to_rerun: str = ""


def write_report_html(
    path: Path,
    title: str,
    report: Report | None = None,
    results_dir: Path | None = None,
    failure: Failure | None = None,
    how_to_rerun: str = "Then run it again.",
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


def render(page: Page) -> str:
    """The page as HTML; every text is escaped by the template engine."""
    environment = Environment(
        loader=PackageLoader("recon.previews"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    script = _template_text(environment, "viewer.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        page=page,
        script=script,
        script_hash=f"sha256-{digest}",
        style=_template_text(environment, "report.css"),
        coverage_legend=COVERAGE_LEGEND,
        error_legend=ERROR_LEGEND,
    )


def _page(title: str, report: Report | None, results_dir: Path | None, failure: Failure | None) -> Page:
    shown_title = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in title)
    if report is None:
        return Page(shown_title, "failure", "Failed", "There is no mesh.", failure)
    verdict = "failure" if failure else report.verdict
    return Page(
        title=shown_title,
        verdict=verdict,
        headline="Failed" if failure else report_page.HEADLINES[verdict],
        meaning="" if failure else report_page.MEANINGS[verdict],
        failure=failure,
        warnings=report.warnings,
        models=[_model_section(model, report, results_dir) for model in report.models],
        inferences=report.capture.inferences,
        settings=report_page.settings_text(report),
        technical=report_page.technical_rows(report),
    )


def _model_section(model: ModelReport, report: Report, results_dir: Path | None) -> ModelSection:
    folder = None if results_dir is None else results_dir / model.model
    viewer = None if folder is None else _viewer_data(folder)
    pictures = viewer["pictures"] if viewer else ()
    assert isinstance(pictures, dict | tuple)
    needed = {"coverage": "coverage", "error": "error"}
    return ModelSection(
        name=model.model,
        verdict=model.verdict,
        meaning=report_page.MEANINGS[model.verdict],
        viewer=viewer,
        modes=[(value, label) for value, label in report_page.MODES if needed.get(value, "texture") in pictures],
        contact_sheet="" if folder is None else _picture_address(folder / "previews" / "contact_sheet.png"),
        scores=report_page.score_rows(model.quality),
        views=report_page.view_rows(model.quality, report.capture),
        stages=report_page.stage_rows(model),
        curves=list(report_page.loss_curves(model.loss_history)),
    )


def _viewer_data(folder: Path) -> dict[str, object] | None:
    """The parts of mesh.glb that the viewer draws, as base64, and its pictures as data addresses."""
    path = folder / "mesh.glb"
    if not path.is_file() or path.stat().st_size > MAX_VIEWER_BYTES:
        return None
    data = path.read_bytes()
    (json_bytes,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + json_bytes])
    binary = memoryview(data)[28 + json_bytes :]

    def block(accessor: int) -> str:
        view = document["bufferViews"][document["accessors"][accessor]["bufferView"]]
        return base64.b64encode(binary[view["byteOffset"] :][: view["byteLength"]]).decode()

    primitive = document["meshes"][0]["primitives"][0]
    attributes = primitive["attributes"]
    addresses = {name: _picture_address(folder / f"{name}.png") for name in ("texture", "coverage", "error")}
    return {
        "positions": block(attributes["POSITION"]),
        "normals": block(attributes["NORMAL"]),
        "uv": block(attributes["TEXCOORD_0"]),
        "indices": block(primitive["indices"]),
        "pictures": {name: address for name, address in addresses.items() if address},
    }


def _picture_address(path: Path) -> str:
    """A picture inside the page: palette pictures keep their indices, others become WebP; empty when there is none."""
    from PIL import Image

    if not path.is_file():
        return ""
    with Image.open(path) as picture:
        is_palette = picture.mode == "P"
        shown = _without_gaps(picture) if is_palette else picture.convert("RGB")
    buffer = io.BytesIO()
    if is_palette:
        shown.save(buffer, "PNG")
    else:
        shown.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX))
        shown.save(buffer, "WEBP", quality=PICTURE_QUALITY, method=2)
    kind = "png" if is_palette else "webp"
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()


def _without_gaps(picture: "Image.Image") -> "Image.Image":
    """Repeat the charts of a palette picture past their rims, or its colour 0 would show along the seams."""
    from PIL import Image, ImageFilter

    palette = picture.getpalette()
    assert palette is not None
    indices = Image.frombytes("L", picture.size, picture.tobytes())
    grown = indices.filter(ImageFilter.MaxFilter(5))
    filled = Image.composite(indices, grown, indices.point(lambda index: 255 if index else 0))
    shown = Image.frombytes("P", picture.size, filled.tobytes())
    shown.putpalette(palette)
    return shown


def _template_text(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
