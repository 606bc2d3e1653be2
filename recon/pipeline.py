"""The stages in order."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from recon.cameras import solve_cameras
from recon.capture import load_capture
from recon.errors import GpuUnavailable, OutOfGpuMemory, ReconError, writing
from recon.export import write_cameras_json, write_mesh_files
from recon.models import Model, ModelContext, ModelResult, create_model, release_models
from recon.previews import write_comparison, write_preview, write_previews
from recon.progress import Progress
from recon.quality import QualityReport, measure, write_error_map
from recon.raster import Rasterizer, select_rasterizer
from recon.report import LossRecord, MeshFiles, ModelReport, Report, describe_software, summarise_capture
from recon.scene import Capture, TexturedMesh, TriangleMesh
from recon.settings import Settings
from recon.stage_clock import StageClock

BOTH = ("nvdiffrec", "reconviagen")


def run(source: Path | Capture, output_dir: Path, settings: Settings, progress: Progress) -> Report:
    """See ``recon.reconstruct``."""
    names = BOTH if settings.model == "both" else (settings.model,)
    clock = StageClock(progress, len(names))
    try:
        return _run_stages(source, output_dir, settings, names, clock)
    except ReconError as error:
        error.stage = error.stage or clock.stage
        raise


def _run_stages(
    source: Path | Capture, output_dir: Path, settings: Settings, names: tuple[str, ...], clock: StageClock
) -> Report:
    clock.enter("capture", 0.0)
    device = select_device(settings)
    raster = select_rasterizer(settings.raster, device)
    if len(names) == 1:  # refuse at once; side by side, one that is missing must not cost the other
        create_model(names[0]).check_available(settings, device)
    capture = load_capture(source, settings) if isinstance(source, Path) else source
    clock.enter("cameras", 0.0)
    capture = solve_cameras(capture, settings, device)

    reports: list[ModelReport] = []
    for index, name in enumerate(names):
        clock.start_model(name, index)
        try:
            model = create_model(name)
            model.check_available(settings, device)
            reports.append(_run_model(model, capture, output_dir / name, settings, raster, clock))
        except (ReconError, torch.OutOfMemoryError) as error:
            if index + 1 == len(names) and not reports:
                raise
            reason = error.message if isinstance(error, ReconError) else OutOfGpuMemory().message
            capture = capture.noting(warnings=(f"The model {name} failed: {reason}",))
    report = Report(
        models=tuple(reports),
        capture=summarise_capture(capture),
        settings=settings,
        software=describe_software(device),
    )
    _write_reports(report, output_dir)
    if len(reports) > 1:
        captions = [(item.model, _caption(item)) for item in reports]
        write_comparison(output_dir, captions, output_dir / "comparison.png")
    return report


def select_device(settings: Settings) -> torch.device:
    """The device that the settings ask for.

    Raises:
        GpuUnavailable: CUDA was asked for by name and does not work.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise GpuUnavailable('device = "cuda" was asked for, but no CUDA device works here.')
    use_cuda = settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def _run_model(
    model: Model, capture: Capture, output_dir: Path, settings: Settings, raster: Rasterizer, clock: StageClock
) -> ModelReport:
    """One model from the posed capture to its files."""
    device = select_device(settings)
    preview = output_dir.parent / "preview.png"

    def show(mesh: TriangleMesh | TexturedMesh) -> None:
        with writing(preview.name):
            preview.parent.mkdir(parents=True, exist_ok=True)
        write_preview(mesh, preview, raster, capture.up_world, device)
        clock.show(preview)

    result = _reconstruct(model, capture, settings, ModelContext(device, raster, clock.enter, show))
    show(result.textured)
    clock.enter("export", 0.0)
    photographed = capture.photographed()
    with writing(str(output_dir)):
        output_dir.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(1) as writer:  # encoding needs no GPU: it goes on beside the next stages
        writing_files = writer.submit(_write_files, result.textured, photographed, output_dir, settings)
        clock.enter("quality", 0.0)
        quality = measure(result.textured, capture, raster, device)
        quality = quality.model_copy(update={"warnings": (*result.warnings, *quality.warnings)})
        write_error_map(result.textured, photographed, raster, device, output_dir / "error.png")
        clock.enter("previews", 0.0)
        psnr_db = {view.name: view.psnr_db for view in quality.views if view.psnr_db is not None}
        write_previews(result.textured, photographed, raster, output_dir, settings, device, psnr_db=psnr_db)
        mesh_files = writing_files.result()
    clock.stop()
    return _model_report(model.name, result, quality, mesh_files, clock)


def _write_files(textured: TexturedMesh, photographed: Capture, output_dir: Path, settings: Settings) -> MeshFiles:
    """Mesh and cameras; what fails here failed in this stage, whichever one goes on meanwhile."""
    try:
        mesh_files = write_mesh_files(textured, output_dir, photographed.up_world, settings.formats)
        write_cameras_json(photographed, output_dir / "cameras.json")
        return mesh_files
    except ReconError as error:
        error.stage = "export"
        raise


def _reconstruct(model: Model, capture: Capture, settings: Settings, context: ModelContext) -> ModelResult:
    """Run a model; out of GPU memory, once more without what models keep between jobs."""
    try:
        return model.reconstruct(capture, settings, context)
    except torch.OutOfMemoryError as error:
        failure = error.with_traceback(None)  # its frames would keep the failed run's tensors alive
    if not release_models():
        raise failure
    return model.reconstruct(capture, settings, context)


def _caption(report: ModelReport) -> str:
    mean = report.quality.mean
    scores = "" if mean.psnr_db is None or mean.ssim is None else f", {mean.psnr_db:.1f} dB, SSIM {mean.ssim:.3f}"
    generated = report.quality.surface.generated_fraction
    invention = f", {generated:.0%} of the surface invented" if generated else ""
    return f"{report.model}: {report.verdict}{scores}{invention}"


def _model_report(
    name: str, result: ModelResult, quality: QualityReport, mesh_files: MeshFiles, clock: StageClock
) -> ModelReport:
    return ModelReport(
        model=name,
        quality=quality,
        mesh_files=mesh_files,
        seconds_per_stage=clock.seconds_of(name),
        loss_history=tuple(
            LossRecord(step=entry.step, stage=entry.stage, terms=entry.terms) for entry in result.history
        ),
        facts=dict(result.facts),
    )


def _write_reports(report: Report, output_dir: Path) -> None:
    for model in report.models:
        with writing("quality.json"):
            document = json.dumps(report.quality_document(model), indent=2, ensure_ascii=False)
            (output_dir / model.model / "quality.json").write_text(document + "\n", encoding="utf-8")
    with writing("report.json"):
        (output_dir / "report.json").write_text(report.to_json() + "\n", encoding="utf-8")
