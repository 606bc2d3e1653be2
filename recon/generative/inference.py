"""One run of the pipeline: photographs in, a coloured mesh in the model's own frame out.

Upstream's ``run`` is one call without progress, so PyTorch's module hooks watch it: they report how far the samplers
are, let a cancelled job stop at once, measure each part, and stop a run whose numbers have gone wrong.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from recon.arrays import Float, Int, Tensor
from recon.errors import Diverged
from recon.generative.loading import Pipeline
from recon.settings import ReconViaGenSettings

PARTS = {
    "image_cond_model": 0.05,
    "sparse_structure_vggt_cond": 0.08,
    "sparse_structure_flow_model": 0.1,
    "sparse_structure_decoder": 0.5,
    "slat_vggt_cond": 0.51,
    "slat_flow_model": 0.52,
    "slat_decoder_mesh": 0.95,
}
"""The parts in running order after VGGT, and the share of a run that is over when each begins (H100, warm)."""

EVALUATIONS_PER_STEP = 1.8
"""Guidance evaluates a network twice a step in most of the time interval."""


@dataclass(frozen=True)
class GeneratedMesh:
    """What the model made.

    Attributes:
        positions_model: In the model's frame: a unit cube about the origin, z up, turned in any way.
        faces: Counter-clockwise seen from outside.
        colours_srgb: Per vertex, 0..1.
    """

    positions_model: Float[Tensor, "v 3"]
    faces: Int[Tensor, "f 3"]
    colours_srgb: Float[Tensor, "v 3"]


@dataclass
class RunRecord:
    """Measurements of a run: when each part began (seconds since the start), how often it ran, voxels found."""

    started_s: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    voxel_count: int = 0
    total_s: float = 0.0

    def seconds(self) -> dict[str, float]:
        """Seconds per part, in running order; the first, VGGT, runs before any other part begins."""
        names, starts = ["vggt", *self.started_s], [0.0, *self.started_s.values(), self.total_s]
        return {name: starts[index + 1] - starts[index] for index, name in enumerate(names)}


def generate(
    pipeline: Pipeline,
    pictures: list[Image.Image],
    settings: ReconViaGenSettings,
    seed: int,
    device: torch.device,
    report_fraction: Callable[[float], None],
) -> tuple[GeneratedMesh, RunRecord]:
    """Run the model once; call it while upstream's modules are active.

    Args:
        pictures: From ``model_picture``.
        seed: Equal seeds give equal shapes up to rounding (GPU kernels add in any order).
        report_fraction: Called with 0..1 all along; may raise to stop.

    Raises:
        Diverged: The model made no surface, or numbers that are not finite.
        torch.OutOfMemoryError: As it comes.
    """
    record = RunRecord()
    with torch.no_grad(), _watched(pipeline, settings, record, device, report_fraction):
        started_s = time.monotonic()
        outputs, _, _ = pipeline.run(
            pictures,
            seed=seed,
            sparse_structure_sampler_params=_sampler(settings, "sparse"),
            slat_sampler_params=_sampler(settings, "latent"),
            formats=["mesh"],
        )
        _wait_for(device)
        record.total_s = time.monotonic() - started_s
    return _checked_mesh(outputs["mesh"][0]), record


def _sampler(settings: ReconViaGenSettings, part: str) -> dict[str, object]:
    """Upstream's words for one sampler's settings."""
    return {
        "steps": getattr(settings, f"{part}_steps"),
        "cfg_strength": getattr(settings, f"{part}_guidance"),
        "cfg_interval": [settings.guidance_until, 1.0],
        "guidance_rescale": getattr(settings, f"{part}_guidance_rescale"),
        "rescale_t": getattr(settings, f"{part}_time_rescale"),
    }


@contextlib.contextmanager
def _watched(
    pipeline: Pipeline,
    settings: ReconViaGenSettings,
    record: RunRecord,
    device: torch.device,
    report_fraction: Callable[[float], None],
) -> Iterator[None]:
    """Hooks on every part for the length of a run."""
    start_s = time.monotonic()
    expected = {
        "sparse_structure_flow_model": EVALUATIONS_PER_STEP * settings.sparse_steps,
        "slat_flow_model": EVALUATIONS_PER_STEP * settings.latent_steps,
    }

    def entering(name: str) -> Callable[..., None]:
        def enter(*_: object) -> None:
            if name not in record.started_s:
                _wait_for(device)  # so that the time of what runs before is not counted here
                record.started_s[name] = time.monotonic() - start_s
            record.calls[name] = record.calls.get(name, 0) + 1
            share = min(1.0, (record.calls[name] - 1) / expected.get(name, 1.0))
            report_fraction(PARTS[name] + share * (_end_of(name) - PARTS[name]))

        return enter

    def count_voxels(_: object, __: object, occupancy: Tensor) -> None:
        if not bool(torch.isfinite(occupancy).all()):
            raise Diverged("The model's shape is not a number (ReconViaGen, sparse structure).")
        record.voxel_count = int((occupancy > 0).sum())
        if record.voxel_count == 0:
            raise Diverged("The model found nothing in the photographs: its shape is empty.")

    handles = [pipeline.models[name].register_forward_pre_hook(entering(name)) for name in PARTS]
    handles.append(pipeline.models["sparse_structure_decoder"].register_forward_hook(count_voxels))
    report_fraction(0.0)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _end_of(name: str) -> float:
    later = [share for share in PARTS.values() if share > PARTS[name]]
    return later[0] if later else 1.0


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _checked_mesh(mesh: Any) -> GeneratedMesh:
    """Refuse what is no surface; turn one that is inside out."""
    positions, faces = mesh.vertices.detach().float(), mesh.faces.detach().long()
    if positions.shape[0] == 0 or faces.shape[0] == 0:
        raise Diverged("The model made no surface: its mesh is empty.")
    colours = mesh.vertex_attrs
    colours = torch.full_like(positions, 0.5) if colours is None else colours.detach()[:, :3].float()
    if not bool(torch.isfinite(positions).all() and torch.isfinite(colours).all()):
        raise Diverged("The model's mesh holds numbers that are not finite.")
    a, b, c = positions[faces].double().unbind(1)
    if float((a * torch.linalg.cross(b, c)).sum()) < 0:
        faces = faces.flip(1)
    return GeneratedMesh(positions, faces, colours.clamp(0, 1))
