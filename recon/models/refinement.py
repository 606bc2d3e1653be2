"""What models share after they have a closed mesh: refine it against what was measured, and say how that went."""

from dataclasses import dataclass

from recon.models.interface import LossEntry, ModelContext
from recon.observations import Observations
from recon.optimise import (
    THROWAWAY_TEXTURE_PX,
    Aims,
    OptimisedMesh,
    PhotoFit,
    find_holes,
    fit_to_photographs,
    optimise_mesh,
    photographs_of,
)
from recon.scene import Capture, TexturedMesh, TriangleMesh
from recon.settings import Settings
from recon.texture import bake_texture

DEFAULT_FACE_COUNT = 40_000

LEAST_HOLE = 0.005
"""Of the photographed surface, without depth: less is not worth the time that photographs take."""
HOLES = "{share:.1%} of the photographed surface is in no depth image: there the shape comes from {sources}."
SOURCES = "outlines, from where the photographs show one colour, and from what is measured around"
SOURCES_WITHOUT_COLOURS = "outlines and from what is measured around"


@dataclass(frozen=True)
class Refined:
    """A refined mesh and how it got there.

    Attributes:
        mesh: The result.
        optimised: What depths and outlines made of it.
        bent: What the photographs made of that, where they were asked.
        unmeasured_share: Of the photographed surface, by area: without any depth.
    """

    mesh: TriangleMesh
    optimised: OptimisedMesh
    bent: PhotoFit | None
    unmeasured_share: float

    def facts(self) -> dict[str, float | int | str | bool]:
        """The numbers for the report."""
        share: dict[str, float | int | str | bool] = {"unmeasured_percent": 100 * self.unmeasured_share}
        return share if self.bent is None else share | self.bent.facts()

    def warnings(self, capture: Capture) -> tuple[str, ...]:
        """What the user should know about the refined mesh of a capture with depth."""
        found: tuple[str, ...] = ()
        if self.unmeasured_share >= LEAST_HOLE:
            sources = SOURCES_WITHOUT_COLOURS if self.bent is None else SOURCES
            found += (HOLES.format(share=self.unmeasured_share, sources=sources),)
        if self.bent is not None and capture.photographs_disagree:
            found += (self.bent.warning(),)
        return found


def refine_mesh(
    mesh: TriangleMesh, observations: Observations, capture: Capture, settings: Settings, context: ModelContext
) -> Refined:
    """Fit the mesh to the depths, and bend it to the photographs where ``fit`` says so or depth is missing.

    What depth images measured stays; all of the mesh moves where there are none, or where the photographs disagree.
    """
    context.enter("optimise", 0.0)
    bends_all = settings.fit == "photos" or (
        settings.fit == "balanced" and (capture.photographs_disagree or not observations.has_depth)
    )
    has_holes = observations.hole_share >= LEAST_HOLE
    may_bend = bends_all or (settings.fit == "balanced" and has_holes)
    share = 0.5 if may_bend else 1.0
    face_count = settings.target_faces or DEFAULT_FACE_COUNT
    helps = observations.has_noise and settings.fit != "depth" and not bends_all
    optimised = optimise_mesh(
        mesh,
        observations,
        settings.nvdiffrec.optimise,
        context.raster,
        lambda fraction: context.enter("optimise", share * fraction),
        Aims(face_count, photographs_of(capture, observations) if helps else None),
    )
    holes = find_holes(optimised.mesh, observations, context.raster) if has_holes else None
    unmeasured_share = 0.0 if holes is None else holes.share
    if not bends_all and (not may_bend or unmeasured_share < LEAST_HOLE):
        return Refined(optimised.mesh, optimised, None, unmeasured_share)

    def paint(mesh: TriangleMesh, capture: Capture) -> TexturedMesh:
        small = settings.model_copy(update={"texture_px": THROWAWAY_TEXTURE_PX})
        return bake_texture(mesh, capture, small, context.raster, context.device, lambda fraction: None)

    bent = fit_to_photographs(
        optimised.mesh,
        capture,
        context.raster,
        paint,
        lambda fraction: context.enter("optimise", share * (1 + fraction)),
        None if bends_all or holes is None else holes.is_measured,
    )
    return Refined(bent.mesh, optimised, bent, unmeasured_share)


def loss_history(refined: Refined) -> tuple[LossEntry, ...]:
    """All steps of the refinement as the report shows them, counted from 0 over its stages."""
    stages = {"optimise": [step.terms() for step in refined.optimised.history]}
    if refined.bent is not None:
        stages |= {"bend": [*refined.bent.bend_history], "descent": [*refined.bent.descent_history]}
    entries = [(stage, terms) for stage, steps in stages.items() for terms in steps]
    return tuple(LossEntry(stage, index, terms) for index, (stage, terms) in enumerate(entries))
