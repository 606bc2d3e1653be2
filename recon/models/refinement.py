"""What models share after they have a closed mesh: refine it against what was measured, and say how that went."""

from recon.models.interface import LossEntry, ModelContext
from recon.observations import Observations
from recon.optimise import (
    THROWAWAY_TEXTURE_PX,
    Aims,
    OptimisedMesh,
    PhotoFit,
    fit_to_photographs,
    optimise_mesh,
    photographs_of,
)
from recon.scene import Capture, TexturedMesh, TriangleMesh
from recon.settings import Settings
from recon.texture import bake_texture

DEFAULT_FACE_COUNT = 40_000


def refine_mesh(
    mesh: TriangleMesh, observations: Observations, capture: Capture, settings: Settings, context: ModelContext
) -> tuple[OptimisedMesh, PhotoFit | None]:
    """Fit the mesh to the depths and, where ``fit`` says so or there are none, bend it to the photographs."""
    context.enter("optimise", 0.0)
    asks = capture.photographs_disagree or not observations.has_depth
    bends = settings.fit == "photos" or (settings.fit == "balanced" and asks)
    share = 0.5 if bends else 1.0
    face_count = settings.target_faces or DEFAULT_FACE_COUNT
    helps = observations.has_noise and settings.fit != "depth" and not bends
    optimised = optimise_mesh(
        mesh,
        observations,
        settings.nvdiffrec.optimise,
        context.raster,
        lambda fraction: context.enter("optimise", share * fraction),
        Aims(face_count, photographs_of(capture, observations) if helps else None),
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


def loss_history(optimised: OptimisedMesh) -> tuple[LossEntry, ...]:
    """The optimiser's steps as the report shows them."""
    return tuple(LossEntry("optimise", index, step.terms()) for index, step in enumerate(optimised.history))
