"""The refinement loop: render, linearise, solve, repeat until nothing moves."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from recon.arrays import Float, Tensor
from recon.errors import Diverged
from recon.observations import Observations
from recon.optimise.photographs import Photographs, colour_term
from recon.optimise.remeshing import add_faces
from recon.optimise.solver import Laplacian, Smoothness, Terms, solve_step
from recon.optimise.terms import depth_term, outline_term
from recon.raster import Rasterizer
from recon.remesh import Edges, find_edges, unfold
from recon.scene import TriangleMesh
from recon.settings import OptimiseSettings

DEFAULT_STEP_COUNT = 10
REACH_DECAY = 0.7
"""Residuals beyond the reach count as another surface; it starts wide and narrows by this factor a step."""

STIFFNESS_START, STIFFNESS_END = 2.0, 0.3
"""Weight of the step's Laplacian in pixels: stiff at first, supple when the details are fitted."""

BEND_PER_EDGE, MOST_BENDING = 0.1, 100.0
"""Vertices are expected to stray from the mean of their neighbours by this share of an edge: with the noise of a depth
pixel it says how much the shape's own Laplacian weighs where noise is visible.  The solver's steps do not suffice for
heavier ones."""

TANGENTIAL, NOISY_TANGENTIAL = 0.3, 30.0
"""Weight against sliding along the surface, in pixels.  Noisy colours and outlines pull vertices sideways until faces
fold; along the surface they have nothing to say."""

CONVERGED_PX = 2e-3
"""Refinement stops when the depth residual improves by less than this share of a pixel."""


LEVELS, STEPS_BEFORE, STEPS_BETWEEN = 4, 4, 3
"""How often faces are added, after how many steps first, and how many steps apart."""

REACH_AFTER = 1
"""After faces were added the reach and the stiffness start again at this step's."""

CLOSE_ENOUGH = 1.05


@dataclass(frozen=True)
class Aims:
    """What a refinement is for.

    Attributes:
        face_count: Faces are added, where the data need them, up to about this count; None keeps them as they are.
        photographs: Worth their time where depth is noisy.
    """

    face_count: int | None = None
    photographs: Photographs | None = None


@dataclass(frozen=True)
class OptimiseStep:
    """The state before one step.

    Attributes:
        depth_m, outline_m: Robust means of the residuals, metres; depth_m is None without depth.
        colour: Root mean square difference of the photographs of one place (sRGB, 0..1), where they are compared.
        step_m: Mean length of the step, metres.
    """

    depth_m: float | None
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
    aims: Aims = Aims(),
) -> OptimisedMesh:
    """Fit vertices to measured depths, photographed outlines and, where given, to one colour per place.

    Gauss-Newton on all views at once.  The surface that no view constrains follows its neighbours.

    Args:
        mesh: A closed manifold near the truth.
        observations: Prepared views on the mesh's device.
        settings: Number of steps.
        raster: Draws the mesh.
        on_step: Told the share of the work that is done; may raise to stop.
        aims: What to fit beside depths and outlines, and with how many faces.

    Raises:
        Diverged: A position is not finite.
    """
    stages = _stages(mesh, settings, aims.face_count)
    step_count = sum(len(stage.indices) for stage in stages)
    photographs = aims.photographs
    history: list[OptimiseStep] = []
    for stage in stages:
        mesh = _with_faces(mesh, stage.face_count, observations, raster)
        edges, first = find_edges(mesh.faces), len(history)
        for index in stage.indices:
            on_step(len(history) / step_count)
            terms = _linearised(mesh, edges, index, observations, raster, photographs)
            laplacian = Laplacian(mesh.positions_world, edges.vertices)
            with torch.no_grad():
                step = solve_step(mesh, laplacian, terms, _smoothness(index, observations, _edge_m(mesh, edges)))
            if not bool(torch.isfinite(step).all()):
                raise Diverged("The refinement produced positions that are not finite.")
            mesh = TriangleMesh(mesh.positions_world + step, mesh.faces)
            if photographs is not None and terms.colour is not None:
                photographs = photographs.adjusted(terms.colour)
            history.append(_recorded(terms, step, observations.has_depth))
            if stage is stages[-1] and _has_converged(history[first:], observations.pixel_m):
                break
    return OptimisedMesh(unfold(mesh) if observations.has_noise and history else mesh, tuple(history))


@dataclass(frozen=True)
class _Stage:
    """Steps with the same faces.

    Attributes:
        face_count: Faces are added up to this count first; None adds none.
        indices: Of the steps, which say how far they reach and how stiff they are.
    """

    face_count: int | None
    indices: range


def _stages(mesh: TriangleMesh, settings: OptimiseSettings, face_count: int | None) -> list[_Stage]:
    """Face counts grow by the same factor each time."""
    if settings.step_count is not None:
        return [_Stage(None, range(settings.step_count))]
    present = mesh.faces.shape[0]
    if face_count is None or face_count <= CLOSE_ENOUGH * present:
        return [_Stage(None, range(DEFAULT_STEP_COUNT))]
    counts = [round(present * (face_count / present) ** ((level + 1) / LEVELS)) for level in range(LEVELS)]
    between = range(REACH_AFTER, REACH_AFTER + STEPS_BETWEEN)
    last = _Stage(counts[-1], range(REACH_AFTER, DEFAULT_STEP_COUNT))
    return [_Stage(None, range(STEPS_BEFORE)), *(_Stage(count, between) for count in counts[:-1]), last]


@torch.no_grad()
def _with_faces(
    mesh: TriangleMesh, face_count: int | None, observations: Observations, raster: Rasterizer
) -> TriangleMesh:
    if face_count is None:
        return mesh
    fragments = raster.rasterize(mesh.positions_world, mesh.faces, observations.cameras)
    depth = depth_term(mesh, fragments, observations, raster, _depth_reach_m(REACH_AFTER, observations))
    return add_faces(mesh, find_edges(mesh.faces), depth, observations, face_count)


def _depth_reach_m(index: int, observations: Observations) -> float:
    pixel_m = observations.pixel_m
    return max(2 * pixel_m * REACH_DECAY**index, 0.5 * pixel_m, 4 * observations.noise_m)


@torch.no_grad()
def _linearised(
    mesh: TriangleMesh,
    edges: Edges,
    index: int,
    observations: Observations,
    raster: Rasterizer,
    photographs: Photographs | None,
) -> Terms:
    """Everything that the data ask of the mesh, at its present shape."""
    outline_reach_m = max(4 * REACH_DECAY**index, 1.0) * observations.pixel_m
    fragments = raster.rasterize(mesh.positions_world, mesh.faces, observations.cameras)
    return Terms(
        depth_term(mesh, fragments, observations, raster, _depth_reach_m(index, observations)),
        (outline_term(mesh, edges, fragments, observations, outline_reach_m),),
        None if photographs is None else colour_term(mesh, fragments, observations, photographs, raster),
    )


def _recorded(terms: Terms, step: Float[Tensor, "v 3"], has_depth: bool) -> OptimiseStep:
    depth_m = terms.depth.cost if terms.depth is not None and has_depth else None
    difference = None if terms.colour is None else terms.colour.difference
    outline_m = sum(outline.cost for outline in terms.outlines)
    return OptimiseStep(depth_m, outline_m, difference, float(step.norm(dim=1).mean()))


def _edge_m(mesh: TriangleMesh, edges: Edges) -> float:
    """Mean length of an edge."""
    ends = mesh.positions_world[edges.vertices]
    return float((ends[:, 0] - ends[:, 1]).norm(dim=1).mean())


def _smoothness(index: int, observations: Observations, edge_m: float) -> Smoothness:
    displacement = max(STIFFNESS_START * REACH_DECAY**index, STIFFNESS_END)
    if observations.has_noise:
        bending = min((observations.noise_m / (BEND_PER_EDGE * edge_m)) ** 2, MOST_BENDING)
        return Smoothness(displacement, bending, damping=1e-2, tangential=NOISY_TANGENTIAL)
    return Smoothness(displacement, bending=0.0, damping=1e-2, tangential=TANGENTIAL)


def _has_converged(history: list[OptimiseStep], pixel_m: float) -> bool:
    if len(history) < 6:
        return False
    before_m, after_m = ((step.depth_m or 0.0) + step.outline_m for step in history[-2:])
    return before_m - after_m < CONVERGED_PX * pixel_m
