"""Differentiable rendering from measured depth: fuse, refine, texture.

Our own method in the spirit of nvdiffrec (Munkberg et al. 2022), which optimises shape from images alone and
needs dozens of views; depth measures the surface, so six are enough and the field needs no random start.
"""

import torch

from recon.geometry import build_geometry
from recon.models.interface import LossEntry, ModelContext, ModelResult
from recon.observations import observe
from recon.optimise import optimise_mesh
from recon.scene import Capture
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
        context.enter("optimise", 0.0)
        optimised = optimise_mesh(
            geometry.mesh,
            observations,
            options.optimise,
            context.raster,
            lambda fraction: context.enter("optimise", fraction),
        )
        context.show(optimised.mesh)
        context.enter("texture", 0.0)
        textured = bake_texture(
            optimised.mesh,
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
        return ModelResult(textured, history, facts)
