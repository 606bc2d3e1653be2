"""The refinement loop: render, linearise, solve, repeat until nothing moves."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from recon.errors import Diverged
from recon.observations import Observations
from recon.optimise.photographs import Photographs, colour_term
from recon.optimise.solver import Laplacian, Smoothness, Terms, solve_step
from recon.optimise.terms import depth_term, outline_term
from recon.raster import Rasterizer
from recon.remesh import find_edges
from recon.scene import TriangleMesh
from recon.settings import OptimiseSettings

DEFAULT_STEP_COUNT = 10
REACH_DECAY = 0.7
"""Residuals beyond the reach count as another surface; it starts wide and narrows by this factor a step."""

STIFFNESS_START, STIFFNESS_END = 2.0, 0.3
"""Weight of the step's Laplacian in pixels: stiff at first, supple when the details are fitted."""

NOISY_FAIRING = 10.0
"""Weight of the shape's own Laplacian, in pixels, when the depth noise is visible."""

TANGENTIAL = 0.3
"""Weight against sliding along the surface, in pixels."""

CONVERGED_PX = 2e-3
"""Refinement stops when the depth residual improves by less than this share of a pixel."""


@dataclass(frozen=True)
class OptimiseStep:
    """The state before one step.

    Attributes:
        depth_m, outline_m: Robust means of the residuals, metres.
        colour: Root mean square difference of the photographs of one place (sRGB, 0..1), where they are compared.
        step_m: Mean length of the step, metres.
    """

    depth_m: float
    outline_m: float
    colour: float | None
    step_m: float

    def terms(self) -> dict[str, float]:
        """By name, for the report."""
        values = {"depth_m": self.depth_m, "outline_m": self.outline_m, "colour": self.colour, "step_m": self.step_m}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class OptimisedMesh:
    """A refined mesh and how it got there."""

    mesh: TriangleMesh
    history: tuple[OptimiseStep, ...]


def optimise_mesh(
    mesh: TriangleMesh,
    observations: Observations,
    settings: OptimiseSettings,
    raster: Rasterizer,
    on_step: Callable[[float], None],
    photographs: Photographs | None = None,
) -> OptimisedMesh:
    """Fit vertices to measured depths, photographed outlines and, where given, to one colour per place.

    Gauss-Newton on all views at once.  The surface that no view constrains follows its neighbours.

    Args:
        mesh: A closed manifold near the truth; its faces stay as they are.
        observations: Prepared views on the mesh's device.
        settings: Number of steps.
        raster: Draws the mesh.
        on_step: Told the share of the work that is done; may raise to stop.
        photographs: Worth their time where depth is noisy or missing.

    Raises:
        Diverged: A position is not finite.
    """
    step_count = DEFAULT_STEP_COUNT if settings.step_count is None else settings.step_count
    edges = find_edges(mesh.faces)
    history: list[OptimiseStep] = []
    for index in range(step_count):
        on_step(index / step_count)
        pixel_m, noise_m = observations.pixel_m, observations.noise_m
        depth_reach_m = max(2 * pixel_m * REACH_DECAY**index, 0.5 * pixel_m, 4 * noise_m)
        outline_reach_m = max(4 * pixel_m * REACH_DECAY**index, pixel_m)
        with torch.no_grad():
            fragments = raster.rasterize(mesh.positions_world, mesh.faces, observations.cameras)
            depth = depth_term(mesh, fragments, observations, raster, depth_reach_m)
            outline = outline_term(mesh, edges, fragments, observations, outline_reach_m)
            colour = None
            if photographs is not None:
                colour = colour_term(mesh, fragments, observations, photographs, raster)
                photographs = photographs.adjusted(colour)
            laplacian = Laplacian(mesh.positions_world, edges.vertices)
            terms = Terms(depth, outline, colour)
            step = solve_step(mesh, laplacian, terms, _smoothness(index, observations))
        if not bool(torch.isfinite(step).all()):
            raise Diverged("The refinement produced positions that are not finite.")
        mesh = TriangleMesh(mesh.positions_world + step, mesh.faces)
        difference = None if colour is None else colour.difference
        history.append(OptimiseStep(depth.cost, outline.cost, difference, float(step.norm(dim=1).mean())))
        if _has_converged(history, pixel_m):
            break
    return OptimisedMesh(mesh, tuple(history))


def _smoothness(index: int, observations: Observations) -> Smoothness:
    displacement = max(STIFFNESS_START * REACH_DECAY**index, STIFFNESS_END)
    shape = NOISY_FAIRING if observations.has_noise else 0.0
    return Smoothness(displacement, shape, damping=1e-2, tangential=TANGENTIAL)


def _has_converged(history: list[OptimiseStep], pixel_m: float) -> bool:
    if len(history) < 6:
        return False
    gained_m = history[-2].depth_m + history[-2].outline_m - history[-1].depth_m - history[-1].outline_m
    return gained_m < CONVERGED_PX * pixel_m
