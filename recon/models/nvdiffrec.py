"""Differentiable rendering from measured depth: fuse, refine, texture.

Our own method in the spirit of nvdiffrec (Munkberg et al. 2022), which optimises shape from images alone and
needs dozens of views; depth measures the surface, so six are enough and the field needs no random start.
"""

import torch

from recon.geometry import build_geometry
from recon.models.interface import ModelContext, ModelResult
from recon.models.refinement import DEFAULT_FACE_COUNT, Refined, loss_history, refine_mesh
from recon.observations import Observations, observe
from recon.scene import Capture
from recon.settings import Settings
from recon.texture import bake_texture

START_SHARE, MIN_START = 2, 500
"""A first mesh has half of the faces, but so many at least.  With a quarter, thin parts lose their corners before the
refinement sees them: the fin of a carton, and 10 dB with it."""

PIXELS_PER_FACE = 3
"""With fewer measured pixels a face, what a face misses is not known well enough to place new ones."""

NO_DEPTH = (
    "No view has a depth image: the shape comes from outlines and from where the photographs show one colour. "
    "Expect errors of 0.1 to 3 % of the object's size, most in hollows that no outline shows; with depth they are 10 "
    "to 350 times smaller."
)
"""Measured on analytic solids: docs/performance.md."""
OUTLINES_ALONE = (
    'No view has a depth image, and fit = "depth" asks nothing else of the photographs than their outlines: no '
    "hollow is found, and flat or hollow sides bulge."
)


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
        geometry = build_geometry(observations, options.fusion, start_face_count(settings, observations))
        context.show(geometry.mesh)
        refined = refine_mesh(geometry.mesh, observations, capture, settings, context)
        context.show(refined.mesh)
        context.enter("texture", 0.0)
        textured = bake_texture(
            refined.mesh,
            capture,
            settings,
            context.raster,
            context.device,
            lambda fraction: context.enter("texture", fraction),
        )
        facts: dict[str, float | int | str | bool] = {
            "voxel_m": geometry.voxel_m,
            "grid_resolution": geometry.resolution,
            "face_count": int(textured.mesh.faces.shape[0]),
            "texture_px": int(textured.texture_srgb.shape[0]),
        }
        if observations.has_depth:
            facts |= {"depth_noise_m": observations.noise_m, "was_denoised": observations.was_denoised}
        warnings = _warnings(refined, capture, observations)
        return ModelResult(textured, loss_history(refined), facts | refined.facts(), warnings)


def start_face_count(settings: Settings, observations: Observations) -> int:
    """Faces of the first mesh: where depth is clean, the refinement adds the rest where the data need them.

    Noise would draw the faces to itself, and without depth, or with few pixels, nothing says where they are needed.
    """
    face_count = settings.target_faces or DEFAULT_FACE_COUNT
    is_fine = int(observations.depth_mask.sum()) >= PIXELS_PER_FACE * face_count
    if observations.has_noise or not is_fine or settings.nvdiffrec.optimise.step_count is not None:
        return face_count
    return max(face_count // START_SHARE, MIN_START)


def _warnings(refined: Refined, capture: Capture, observations: Observations) -> tuple[str, ...]:
    if not observations.has_depth:
        return (OUTLINES_ALONE if refined.bent is None else NO_DEPTH,)
    return refined.warnings(capture)
