"""Accuracy, seconds and memory of the nvdiffrec model on analytic solids.

    python tests/bench/reconstruction.py                              # every solid, clean and noisy, 512 px, 6 views
    python tests/bench/reconstruction.py --scenes toy --sizes 512 1024 2048 --views 6 12 24 --variants clean
    python tests/bench/reconstruction.py --stages --scenes bowl pan   # what each stage contributes

One line per run: error against the exact solid, PSNR of twelve pictures that the reconstruction never saw, seconds
per stage, peak memory.  The first run of a process is warmed up and not printed.
"""

import argparse
import json
import resource
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import torch
from scoring import Score, Truth, load_result, score
from solids import FAULTS, all_scenes, make_captures

import recon
from recon.cameras import solve_cameras
from recon.geometry import build_geometry
from recon.models.refinement import DEFAULT_FACE_COUNT
from recon.observations import observe
from recon.optimise import optimise_mesh
from recon.pipeline import select_device
from recon.raster import Rasterizer, select_rasterizer
from recon.report import Report
from recon.scene import Capture, TriangleMesh
from recon.settings import Settings
from recon.texture import bake_texture


@dataclass(frozen=True)
class Line:
    """One printed line."""

    scene: str
    variant: str
    size_px: int
    view_count: int
    stage: str
    score: Score
    seconds: dict[str, float]
    peak_bytes: int


def run_whole(capture: Capture, truth: Truth, settings: Settings, align: bool) -> tuple[Score, Report, int]:
    """Through ``recon.reconstruct`` and the files that it writes."""
    device = select_device(settings)
    _forget_peak(device)
    with tempfile.TemporaryDirectory() as folder:
        report = recon.reconstruct(capture, Path(folder), settings)
        peak_bytes = _peak_bytes(device)
        textured = load_result(Path(folder) / "nvdiffrec" / "mesh.obj")
    return score(textured, truth, select_rasterizer(settings.raster, device), device, align), report, peak_bytes


def run_stages(capture: Capture, truth: Truth, settings: Settings) -> Iterator[tuple[str, Score]]:
    """What a mesh scores after fusion, after refinement; each textured in the same way."""
    device = select_device(settings)
    raster = select_rasterizer(settings.raster, device)
    capture = solve_cameras(capture, settings, device)
    options = settings.nvdiffrec
    observations = observe(capture, device, options.fusion.denoise)
    geometry = build_geometry(observations, options.fusion, settings.target_faces or DEFAULT_FACE_COUNT)
    yield "geometry", _textured_score(geometry.mesh, capture, truth, settings, raster, device)
    optimised = optimise_mesh(geometry.mesh, observations, options.optimise, raster, lambda fraction: None)
    yield "optimise", _textured_score(optimised.mesh, capture, truth, settings, raster, device)


def _textured_score(
    mesh: TriangleMesh, capture: Capture, truth: Truth, settings: Settings, raster: Rasterizer, device: torch.device
) -> Score:
    textured = bake_texture(mesh, capture, settings, raster, device, lambda fraction: None)
    return score(textured, truth, raster, device)


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_bytes(device: torch.device) -> int:
    """Most GPU memory in use since ``_forget_peak``, or of the process where there is no GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def lines(arguments: argparse.Namespace, settings: Settings) -> Iterator[Line]:
    """Run everything that was asked for."""
    is_warm = False
    for size_px in arguments.sizes:
        for view_count in arguments.views:
            made = make_captures(arguments.scenes, arguments.variants, size_px, view_count, arguments.cache)
            for (scene, variant), (capture, truth) in made.items():
                if arguments.stages:
                    for stage, found in run_stages(capture, truth, settings):
                        yield Line(scene, variant, size_px, view_count, stage, found, {}, 0)
                    continue
                if not is_warm:
                    run_whole(capture, truth, settings, align=False)
                    is_warm = True
                found, report, peak_bytes = run_whole(capture, truth, settings, align="pose" in variant)
                seconds = dict(report.models[0].seconds_per_stage)
                yield Line(scene, variant, size_px, view_count, "all", found, seconds, peak_bytes)


HEADER = (
    "scene            variant     px   views stage     Chamfer%  acc mm  seen mm  unseen mm  PSNR   SSIM   tight  faces"
    "   s total  GiB   seconds per stage"
)


def show(line: Line) -> None:
    """Print one line for people."""
    found, seconds = line.score, line.seconds
    parts = " ".join(f"{name[:4]} {value:.2f}" for name, value in seconds.items())
    sys.stdout.write(
        f"{line.scene:16} {line.variant:10} {line.size_px:5} {line.view_count:5} {line.stage:9} "
        f"{found.chamfer_percent:8.4f} {found.accuracy_mm:8.3f} {found.seen_mm:8.3f} {found.unseen_mm:9.3f} "
        f"{found.psnr_db:7.2f} {found.ssim:6.3f} {found.is_watertight!s:>6} {found.face_count:7d} "
        f"{sum(seconds.values()):7.2f} {line.peak_bytes / 2**30:6.2f}   {parts}\n"
    )
    sys.stdout.flush()


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", choices=all_scenes(), default=list(all_scenes()))
    parser.add_argument("--variants", nargs="+", choices=FAULTS, default=["clean", "noise"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[512])
    parser.add_argument("--views", nargs="+", type=int, default=[6])
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto")
    parser.add_argument("--raster", choices=["auto", "nvdiffrast", "torch"], default="auto")
    parser.add_argument("--stages", action="store_true", help="score what each stage contributes")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "meshdrop-bench")
    parser.add_argument("--json", type=Path, help="write every line here as well")
    return parser.parse_args(words)


def main() -> None:
    arguments = parse()
    settings = Settings(device=arguments.device, raster=arguments.raster, turntable=False)
    sys.stdout.write(HEADER + "\n")
    kept = []
    for line in lines(arguments, settings):
        show(line)
        kept.append(asdict(line))
    if arguments.json:
        arguments.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
