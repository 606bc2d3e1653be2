"""Accuracy, seconds and memory of the nvdiffrec model on analytic solids.

    python tests/bench/reconstruction.py                              # every solid, clean and noisy, 512 px, 6 views
    python tests/bench/reconstruction.py --scenes toy --sizes 512 1024 2048 --views 6 12 24 --variants clean
    python tests/bench/reconstruction.py --stages --scenes bowl pan   # what each stage contributes
    python tests/bench/reconstruction.py --without --scenes toy pan   # what each term of the refinement contributes
    python tests/bench/reconstruction.py --variants no-depth --descent ssim   # another difference of the pictures

One line per run: error against the exact solid, PSNR of twelve pictures that the reconstruction never saw, seconds
per stage, peak memory.  The first run of a process is warmed up and not printed.
"""

import argparse
import json
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import torch
from scoring import Score, Truth, load_cameras, load_result, score
from solids import FAULTS, all_scenes, make_captures
from torch import Tensor
from torch.nn.functional import avg_pool2d

import recon
from recon.cameras import solve_cameras
from recon.geometry import build_geometry
from recon.models.nvdiffrec import start_face_count
from recon.models.refinement import DEFAULT_FACE_COUNT
from recon.observations import Observations, observe
from recon.optimise import Aims, loop, optimise_mesh, photo_descent, photographs_of, terms
from recon.optimise.solver import Smoothness
from recon.optimise.terms import DepthTerm, OutlineTerm
from recon.pipeline import select_device
from recon.raster import Rasterizer, select_rasterizer
from recon.report import Report
from recon.scene import Capture, TriangleMesh
from recon.settings import Settings
from recon.texture import bake_texture

TERMS = ("", "depth", "outlines", "colour", "smoothness", "remeshing")
"""What can be left out of the refinement; noise alone makes it compare colours, clean depth alone makes it remesh."""


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
        found = load_cameras(Path(folder) / "nvdiffrec" / "cameras.json") if align else None
    return score(textured, truth, select_rasterizer(settings.raster, device), device, found), report, peak_bytes


@dataclass(frozen=True)
class Prepared:
    """A capture as the refinement gets it."""

    capture: Capture
    observations: Observations
    mesh: TriangleMesh


def prepare(capture: Capture, settings: Settings, device: torch.device) -> Prepared:
    """Through the stages before the refinement."""
    capture = solve_cameras(capture, settings, device)
    options = settings.nvdiffrec
    observations = observe(capture, device, options.fusion.denoise)
    geometry = build_geometry(observations, options.fusion, start_face_count(settings, observations))
    return Prepared(capture, observations, geometry.mesh)


def refined(prepared: Prepared, settings: Settings, raster: Rasterizer, without: str = "") -> TriangleMesh:
    """The refinement, whole or without one of its terms."""
    face_count = settings.target_faces or DEFAULT_FACE_COUNT
    photographs = None
    if prepared.observations.has_noise and without != "colour":
        photographs = photographs_of(prepared.capture, prepared.observations)
    mesh = prepared.mesh
    if without == "remeshing" and not prepared.observations.has_noise:
        geometry = build_geometry(prepared.observations, settings.nvdiffrec.fusion, face_count)
        mesh = geometry.mesh
    with left_out(without):
        optimised = optimise_mesh(
            mesh,
            prepared.observations,
            settings.nvdiffrec.optimise,
            raster,
            lambda fraction: None,
            Aims(face_count, photographs),
        )
    return optimised.mesh


@contextmanager
def left_out(term: str) -> Iterator[None]:
    """Make a term weigh nothing (a thousandth, for what the equations need to be solvable)."""

    def no_depth(*parts: Any) -> DepthTerm:
        found = terms.depth_term(*parts)
        return replace(found, blocks=0 * found.blocks, pulls=0 * found.pulls)

    def no_outlines(*parts: Any) -> OutlineTerm:
        found = terms.outline_term(*parts)
        return replace(found, weights=0 * found.weights)

    def no_smoothness(*parts: Any) -> Smoothness:
        found = smoothness(*parts)
        return replace(found, displacement=1e-3 * found.displacement, bending=1e-3 * found.bending)

    smoothness = loop._smoothness
    instead = {"depth": ("depth_term", no_depth), "outlines": ("outline_term", no_outlines)}
    instead["smoothness"] = ("_smoothness", no_smoothness)
    with ExitStack() as stack:
        if term in instead:
            stack.enter_context(patch.object(loop, *instead[term]))
        yield


def with_ssim(drawn: Tensor, photographs: Tensor, power: int) -> Tensor:
    """Four fifths of the magnitudes, a fifth of what structural similarity (Wang et al. 2004, 7 x 7) lacks."""
    one, two = drawn.movedim(-1, 1), photographs.movedim(-1, 1)
    means = [avg_pool2d(item, 7, 1, 3, count_include_pad=False) for item in (one, two, one * one, two * two, one * two)]
    first, second = means[0] ** 2, means[1] ** 2
    spread, shared = means[2] + means[3] - first - second, means[4] - means[0] * means[1]
    alike = (2 * means[0] * means[1] + 1e-4) * (2 * shared + 9e-4) / ((first + second + 1e-4) * (spread + 9e-4))
    return 0.8 * (drawn - photographs).abs().mean(-1) + 0.2 * (1 - alike.mean(1))


def with_squares(drawn: Tensor, photographs: Tensor, power: int) -> Tensor:
    """Of all differences, whether photographs disagree or not."""
    return ((drawn - photographs) ** 2).mean(-1)


DESCENTS = {"ssim": with_ssim, "squares": with_squares}


def run_stages(capture: Capture, truth: Truth, settings: Settings) -> Iterator[tuple[str, Score]]:
    """What a mesh scores after fusion, after refinement; each textured in the same way."""
    device = select_device(settings)
    raster = select_rasterizer(settings.raster, device)
    prepared = prepare(capture, settings, device)
    full = build_geometry(prepared.observations, settings.nvdiffrec.fusion, DEFAULT_FACE_COUNT).mesh
    yield "geometry", _textured_score(full, prepared.capture, truth, settings, raster, device)
    mesh = refined(prepared, settings, raster)
    yield "optimise", _textured_score(mesh, prepared.capture, truth, settings, raster, device)


def run_without(capture: Capture, truth: Truth, settings: Settings) -> Iterator[tuple[str, Score]]:
    """What a mesh scores with the whole refinement and without each of its terms."""
    device = select_device(settings)
    raster = select_rasterizer(settings.raster, device)
    prepared = prepare(capture, settings, device)
    for term in TERMS:
        if term == "colour" and not prepared.observations.has_noise:
            continue
        mesh = refined(prepared, settings, raster, term)
        label = f"-{term}" if term else "whole"
        yield label, _textured_score(mesh, prepared.capture, truth, settings, raster, device)


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
                if arguments.stages or arguments.without:
                    parts = run_stages if arguments.stages else run_without
                    for stage, found in parts(capture, truth, settings):
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
    parser.add_argument("--without", action="store_true", help="leave out the refinement's terms one by one")
    parser.add_argument("--descent", choices=DESCENTS, help="compare photographs in another way")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "meshdrop-bench")
    parser.add_argument("--json", type=Path, help="write every line here as well")
    return parser.parse_args(words)


def main() -> None:
    arguments = parse()
    settings = Settings(device=arguments.device, raster=arguments.raster, turntable=False)
    sys.stdout.write(HEADER + "\n")
    kept = []
    with ExitStack() as stack:
        if arguments.descent:
            stack.enter_context(patch.object(photo_descent, "pixel_differences", DESCENTS[arguments.descent]))
        for line in lines(arguments, settings):
            show(line)
            kept.append(asdict(line))
    if arguments.json:
        arguments.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
