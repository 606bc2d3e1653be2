"""ReconViaGen: a generative model, registered to what was measured.

The authors' pipeline completes what no photograph shows, but answers in a frame of its own and invents freely.  Here
its mesh is registered to the fused depth, joined with the measured surface, refined and textured by the stages that
all models share; what remains its own invention is marked.  See docs/models.md.

This is the only module that imports ``trellis``.
"""

from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from recon.arrays import Float, Tensor
from recon.colour import linear_from_srgb
from recon.errors import InvalidDepth
from recon.generative import gpu_memory
from recon.generative.inference import GeneratedMesh
from recon.generative.installation import Installation
from recon.generative.keeper import PipelineKeeper, RunFacts
from recon.generative.views import choose_views, model_picture
from recon.models.completion import CompletedMesh, complete_mesh
from recon.models.interface import ModelContext, ModelResult
from recon.models.refinement import DEFAULT_FACE_COUNT, loss_history, refine_mesh
from recon.observations import Observations, observe
from recon.registration import Registration, register, sample_mesh
from recon.registration.measured import SilhouetteCheck, measured_points
from recon.scene import Capture, TexturedMesh, TriangleMesh
from recon.settings import Settings
from recon.texture import bake_texture
from recon.texture.bake import UnseenColours

GENERATED, OBSERVED, REGISTERED = 0.6, 0.7, 0.85
"""Shares of the geometry stage that are over after each part, for progress."""
COLOUR_POINTS = 150_000
"""Vertices whose colours are looked up: a million-face mesh has several per texel."""
REGISTRATION_POINTS = 12_000
LEAST_MEASURED_POINTS = 200
"""With fewer depth points there is nothing to register to."""
GOOD_INLIER_FRACTION = 0.5
"""Below this share of measured points found again, the generated shape contradicts the measurement."""


class ReconViaGenModel:
    """See ``recon.models.interface.Model``; keeps the weights between jobs."""

    name = "reconviagen"

    def __init__(self) -> None:
        self._keeper = PipelineKeeper(_import_pipeline_class)

    def check_available(self, settings: Settings, device: torch.device) -> None:
        """Check the device, the installation and the GPU's memory, without loading anything.

        Raises:
            ModelUnavailable, InvalidWeights, GpuUnavailable, GpuTooSmall: With what to do about it.
        """
        gpu_memory.require_cuda(device)
        if self._keeper.is_warm(settings.installation, device):
            return
        for fault in Installation(settings.installation).faults():
            raise fault
        gpu_memory.give_back(device)
        gpu_memory.choose_low_vram(settings.installation.low_vram, device)

    def release(self) -> None:
        """Give the weights' memory back; the next job loads them again."""
        self._keeper.release()

    def reconstruct(self, capture: Capture, settings: Settings, context: ModelContext) -> ModelResult:
        """Generate, register, complete, refine, texture."""
        context.enter("geometry", 0.0)
        pictures = [model_picture(view) for view in choose_views(capture.photographed())]
        generated, run = self._keeper.generate(
            pictures, settings, context.device, lambda share: context.enter("geometry", GENERATED * share)
        )
        observations = observe(capture, context.device, settings.nvdiffrec.fusion.denoise)
        context.enter("geometry", OBSERVED)
        registration, registered = _register(generated, observations, capture)
        context.enter("geometry", REGISTERED)
        resolution = settings.nvdiffrec.fusion.grid_resolution
        face_count = settings.target_faces or DEFAULT_FACE_COUNT
        completed = complete_mesh(registered, observations, resolution, face_count)
        context.show(completed.mesh)
        refined = refine_mesh(completed.mesh, observations, capture, settings, context)
        context.show(refined.mesh)
        textured = _textured(refined.mesh, capture, settings, context, _colours_of(registered, generated.colours_srgb))
        facts = {
            **_run_facts(run, len(pictures)),
            **_registration_facts(registration, completed),
            **refined.facts(),
            "generated_face_count": int(generated.faces.shape[0]),
            "face_count": int(textured.mesh.faces.shape[0]),
            "texture_px": int(textured.texture_srgb.shape[0]),
        }
        warnings = _warnings(registration, run) + refined.warnings(capture)
        return ModelResult(textured, loss_history(refined), facts, warnings)


def _import_pipeline_class() -> Any:
    from trellis.pipelines import TrellisVGGTTo3DPipeline

    return TrellisVGGTTo3DPipeline


def _register(
    generated: GeneratedMesh, observations: Observations, capture: Capture
) -> tuple[Registration, TriangleMesh]:
    """Bring the generated mesh into the world frame.

    Raises:
        InvalidDepth: No view has depth, so nothing says where the mesh belongs.
    """
    mesh = TriangleMesh(generated.positions_model, generated.faces)
    target = measured_points(observations, capture)
    if target.positions.shape[0] < LEAST_MEASURED_POINTS:
        raise InvalidDepth(
            "ReconViaGen needs depth to find where its shape belongs, and the capture has none.",
            suggestion='Add depth images, or use model = "nvdiffrec", which does without.',
        )
    source = sample_mesh(mesh, REGISTRATION_POINTS, colours_srgb=generated.colours_srgb)
    registration = register(source, target, SilhouetteCheck(source.positions, observations))
    positions = registration.target_from_source.apply(mesh.positions_world.cpu().double())
    return registration, TriangleMesh(positions.to(mesh.positions_world), mesh.faces)


def _colours_of(mesh: TriangleMesh, colours_srgb: Float[Tensor, "v 3"]) -> UnseenColours:
    """The model's own colours in linear light, by the nearest vertices of its mesh."""
    stride = max(1, len(colours_srgb) // COLOUR_POINTS)  # neighbours in the list are neighbours on the surface
    tree = cKDTree(mesh.positions_world[::stride].detach().cpu().numpy(), balanced_tree=False)
    linear = linear_from_srgb(colours_srgb[::stride].detach().cpu())

    def look_up(positions_world: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        distance, index = tree.query(positions_world.detach().cpu().numpy(), k=3, workers=-1)
        weight = torch.from_numpy(1 / (np.asarray(distance, np.float32) + 1e-9))
        weight = weight / weight.sum(1, keepdim=True)
        mixed: Tensor = (linear[torch.from_numpy(np.asarray(index, np.int64))] * weight[..., None]).sum(1)
        return mixed.to(positions_world)

    return look_up


def _textured(
    mesh: TriangleMesh, capture: Capture, settings: Settings, context: ModelContext, unseen_linear: UnseenColours
) -> TexturedMesh:
    context.enter("texture", 0.0)
    return bake_texture(
        mesh,
        capture,
        settings,
        context.raster,
        context.device,
        lambda fraction: context.enter("texture", fraction),
        unseen_linear,
    )


def _run_facts(run: RunFacts, view_count: int) -> dict[str, float | int | str | bool]:
    return {
        "views_used": view_count,
        "attention": run.attention,
        "sparse_convolution": run.sparse_convolution,
        "low_vram": run.is_low_vram,
        "was_warm": run.was_warm,
        "was_retried": run.was_retried,
        "import_s": round(run.import_s, 3),
        "load_s": round(run.load_s, 3),
        "generate_s": round(run.record.total_s, 3),
        "peak_gpu_bytes": run.peak_bytes,
        "voxel_count": run.record.voxel_count,
        "sparse_structure_evaluations": run.record.calls["sparse_structure_flow_model"],
        "slat_evaluations": run.record.calls["slat_flow_model"],
        **{f"{part}_s": round(seconds, 3) for part, seconds in run.record.seconds().items()},
    }


def _registration_facts(registration: Registration, completed: CompletedMesh) -> dict[str, float | int | str | bool]:
    return {
        "registration_scale": float(registration.target_from_source.scale),
        "registration_inlier_fraction": registration.inlier_fraction,
        "registration_residual_m": registration.residual,
        "registration_outline_iou": registration.silhouette_iou or 0.0,
        "measured_fraction": completed.measured_fraction,
        "voxel_m": completed.voxel_m,
        "grid_resolution": completed.resolution,
    }


def _warnings(registration: Registration, run: RunFacts) -> tuple[str, ...]:
    warnings = []
    if registration.inlier_fraction < GOOD_INLIER_FRACTION:
        warnings.append(
            f"Only {registration.inlier_fraction:.0%} of the measured surface was found again in the shape that the "
            "model generated; do not trust the parts that no camera saw."
        )
    if run.was_retried:
        warnings.append("The GPU's memory was not enough at first; the model ran part by part, which is slower.")
    return tuple(warnings)
