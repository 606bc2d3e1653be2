"""What models share after they have a closed mesh: refine it against what was measured, and say how that went."""

from recon.models.interface import LossEntry, ModelContext
from recon.observations import Observations
from recon.optimise import OptimisedMesh, PhotoFit, fit_to_photographs, optimise_mesh
from recon.scene import Capture, TriangleMesh
from recon.settings import Settings


def refine_mesh(
    mesh: TriangleMesh, observations: Observations, capture: Capture, settings: Settings, context: ModelContext
) -> tuple[OptimisedMesh, PhotoFit | None]:
    """Fit a mesh to the depths and outlines and, where ``fit`` says so, bend it to the photographs."""
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
    bent = fit_to_photographs(
        optimised.mesh, capture, context.raster, lambda fraction: context.enter("optimise", share * (1 + fraction))
    )
    return optimised, bent


def loss_history(optimised: OptimisedMesh) -> tuple[LossEntry, ...]:
    """The optimiser's steps as the report shows them."""
    return tuple(
        LossEntry("optimise", index, {"depth_m": step.depth_m, "outline_m": step.outline_m, "step_m": step.step_m})
        for index, step in enumerate(optimised.history)
    )


def photo_fit_facts(bent: PhotoFit | None) -> dict[str, float | int | str | bool]:
    """How far photographs have moved the mesh; nothing where they have not been asked."""
    return {} if bent is None else bent.facts()


def photo_fit_warnings(bent: PhotoFit | None, capture: Capture) -> tuple[str, ...]:
    """What the user should know where photographs and depths disagree."""
    return (bent.warning(),) if bent is not None and capture.photographs_disagree else ()
