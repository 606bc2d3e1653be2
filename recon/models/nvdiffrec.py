"""Differentiable rendering from measured depth: fuse, refine, texture.

Our own method in the spirit of nvdiffrec (Munkberg et al. 2022), which optimises shape from images alone and
needs dozens of views; depth measures the surface, so six are enough and the field needs no random start.
"""

import torch

from recon.geometry import build_geometry
from recon.models.interface import LossEntry, ModelContext, ModelResult
from recon.observations import Observations, observe
from recon.optimise import THROWAWAY_TEXTURE_PX, OptimisedMesh, PhotoFit, fit_to_photographs, optimise_mesh
from recon.scene import Capture, TexturedMesh, TriangleMesh
from recon.settings import Settings
from recon.texture import bake_texture

DEFAULT_FACE_COUNT = 40_000


class NvdiffrecModel:
    """See ``recon.models.interface.Model``."""

    name = "nvdiffrec"

    def check_available(self, settings: Settings, device: torch.device) -> None:
        """Runs wherever PyTorch runs."""

    def release(self) -> None:
        """Nothing is kept between jobs."""

    def reconstruct(self, capture: Capture, settings: Settings, context: ModelContext) -> ModelResult:
        context.enter("geometry", 0.0)
        options = settings.nvdiffrec
        observations = observe(capture, context.device, options.fusion.denoise)
        context.enter("geometry", 0.3)
        target_face_count = settings.target_faces or DEFAULT_FACE_COUNT
        geometry = build_geometry(observations, options.fusion, target_face_count)
        context.show(geometry.mesh)
        optimised, bent = _refine(geometry.mesh, observations, capture, settings, context)
        mesh = optimised.mesh if bent is None else bent.mesh
        context.show(mesh)
        context.enter("texture", 0.0)
        textured = bake_texture(
            mesh,
            capture,
            settings,
            context.raster,
            context.device,
            lambda fraction: context.enter("texture", fraction),
        )
        history = tuple(
            LossEntry("optimise", index, {"depth_m": step.depth_m, "outline_m": step.outline_m, "step_m": step.step_m})
            for index, step in enumerate(optimised.history)
        )
        facts: dict[str, float | int | str | bool] = {
            "voxel_m": geometry.voxel_m,
            "grid_resolution": geometry.resolution,
            "face_count": int(textured.mesh.faces.shape[0]),
            "depth_noise_m": observations.noise_m,
            "was_denoised": observations.has_noise,
            "texture_px": int(textured.texture_srgb.shape[0]),
        }
        if bent is None:
            return ModelResult(textured, history, facts)
        warnings = (bent.warning(),) if capture.photographs_disagree else ()
        return ModelResult(textured, history, facts | bent.facts(), warnings)


def _refine(
    mesh: TriangleMesh, observations: Observations, capture: Capture, settings: Settings, context: ModelContext
) -> tuple[OptimisedMesh, PhotoFit | None]:
    """Fit the mesh to the depths and, where ``fit`` says so, bend it to the photographs."""
    context.enter("optimise", 0.0)
    bends = settings.fit == "photos" or (settings.fit == "balanced" and capture.photographs_disagree)
    share = 0.5 if bends else 1.0
    optimised = optimise_mesh(
        mesh,
        observations,
        settings.nvdiffrec.optimise,
        context.raster,
        lambda fraction: context.enter("optimise", share * fraction),
    )
    if not bends:
        return optimised, None

    def paint(mesh: TriangleMesh, capture: Capture) -> TexturedMesh:
        small = settings.model_copy(update={"texture_px": THROWAWAY_TEXTURE_PX})
        return bake_texture(mesh, capture, small, context.raster, context.device, lambda fraction: None)

    bent = fit_to_photographs(
        optimised.mesh,
        capture,
        context.raster,
        paint,
        lambda fraction: context.enter("optimise", share * (1 + fraction)),
    )
    return optimised, bent
