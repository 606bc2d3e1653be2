"""Which rig took the pictures: hypotheses scored by how well the views agree, under an unknown field of view.

The cost has one clear minimum over the field of view but a narrow basin, so it is scanned first and refined after.
Free camera poses would absorb a wrong focal length; they come last and only stay when the residual drops clearly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from recon.arrays import Float, Tensor
from recon.cameras.adjust import FOCAL, PRINCIPAL, ROTATION, SCALE, TRANSLATION, free_unknowns, settle
from recon.cameras.agreement import Views
from recon.cameras.cube import (
    VIEW_COUNT,
    centred_state,
    cube_rotations,
    every_assignment,
    is_consistent_with_names,
    pair_costs,
    rig_poses,
    score_assignments,
)
from recon.cameras.normal_equations import Weighting, measure_cost
from recon.cameras.orbit import ZERO123PLUS_LABEL, every_orbit
from recon.cameras.rig_start import start_scales
from recon.cameras.rig_state import RigState

FIELDS_OF_VIEW_DEG = (20.0, 25.0, 31.0, 38.0, 46.0, 55.0, 65.0, 76.0)
"""Scanned: refinement moves the focal length by a fifth at most."""
CUBE_NAMES = ("front", "back", "left", "right", "top", "bottom")
_TABLE_WIDTH = 0.03
_RANK, _FINAL = Weighting(0.01, 1.0), Weighting(0.002, 1.0)
"""Widths in camera distances: one pixel is about 0.002."""
_PER_FIELD_OF_VIEW, _CUBES, _ORBITS, _REFINED, _REFINED_FREE = 3, 16, 12, 4, 6
_MIN_REFINED = 2
_CLEAR_DROP = 0.8
"""Refinement of the right start lowers the cost by more than this."""
_SEARCH_SAMPLES = 250


@dataclass(frozen=True)
class RigFit:
    """One hypothesis, fitted.

    Attributes:
        label: The rig in words.
        state: Cameras at distance 1 from the origin, +y up.
        rank_cost: Robust cost of the first fit; tells which hypotheses deserve the second.
        cost: Robust cost after refinement; infinite before.
        is_exact_rig: The cameras stand exactly on the rig; otherwise it is only a start.
        is_named: The assignment of views to faces is one that their names allow.
    """

    label: str
    state: RigState
    rank_cost: float
    cost: float = math.inf
    is_exact_rig: bool = True
    is_named: bool = False


@dataclass(frozen=True)
class Question:
    """What is to be solved.

    Attributes:
        views: With enough samples for the final refinement.
        names: Of the views, in order.
        fov_deg: Stated horizontal field of view; None scans for it.
        has_common_scale: Depths are metric: one unknown unit of the camera distance instead of one per view.
    """

    views: Views
    names: tuple[str, ...]
    fov_deg: float | None
    has_common_scale: bool

    @property
    def width_px(self) -> int:
        return self.views.surfaces[0].width_px

    def focal_px(self, fov_deg: float) -> float:
        return self.width_px / 2 / math.tan(math.radians(fov_deg) / 2)

    @property
    def fields_of_view_deg(self) -> tuple[float, ...]:
        return FIELDS_OF_VIEW_DEG if self.fov_deg is None else (self.fov_deg,)

    @property
    def has_cube_names(self) -> bool:
        return sorted(name.lower() for name in self.names) == sorted(CUBE_NAMES)

    def basis(self, *parts: slice) -> Float[Tensor, "u p"]:
        """Free unknowns, leaving out what was stated."""
        stated = [FOCAL] * (self.fov_deg is not None) + [SCALE] * self.has_common_scale
        kept = [part for part in parts if part not in stated]
        return free_unknowns(len(self.names), *kept, common_scale=self.has_common_scale and SCALE in parts)


def fov_deg(state: RigState, width_px: int) -> float:
    """Horizontal field of view."""
    return 2 * math.degrees(math.atan(width_px / 2 / float(state.focal_px[0, 0])))


def fit_cubes(question: Question) -> list[RigFit]:
    """The best assignments of six views to the faces of a cube, cheapest first."""
    if len(question.names) != VIEW_COUNT:
        return []
    coarse = fewer_samples(question.views, _SEARCH_SAMPLES)
    assignments = every_assignment()
    names = [name.lower() for name in question.names]
    named = is_consistent_with_names(assignments, names) if question.has_cube_names else None
    fits: dict[int, RigFit] = {}
    fields_deg = question.fields_of_view_deg
    count = max(_PER_FIELD_OF_VIEW, _CUBES // len(fields_deg))
    for field_deg in fields_deg:
        focal_px = question.focal_px(field_deg)
        scores = score_assignments(assignments, pair_costs(coarse, focal_px, _TABLE_WIDTH))
        rows = scores.topk(count, largest=False).indices.tolist()
        if named is not None:
            allowed = torch.where(named, scores, torch.inf)
            rows += allowed.topk(count, largest=False).indices.tolist()
        for row in dict.fromkeys(rows):
            start = centred_state(coarse, rig_poses(cube_rotations()[assignments[row]]), focal_px)
            state, cost = _fit_rig(start, coarse, question)
            if row not in fits or cost < fits[row].rank_cost:
                fits[row] = RigFit("cube", state, cost, is_named=named is not None and bool(named[row]))
    return sorted(fits.values(), key=lambda fit: fit.rank_cost)


def fit_orbits(question: Question) -> list[RigFit]:
    """The best orbits in file order, cheapest first."""
    coarse = fewer_samples(question.views, _SEARCH_SAMPLES)
    starts: dict[str, tuple[float, RigState]] = {}
    for orbit in every_orbit():
        for field_deg in question.fields_of_view_deg[1::3] or question.fields_of_view_deg:
            state = centred_state(coarse, orbit.poses(len(question.names)), question.focal_px(field_deg))
            state = start_scales(state, coarse, question.has_common_scale)
            cost = measure_cost(state, coarse, Weighting(2 * _TABLE_WIDTH, 1.0))
            if cost < starts.get(orbit.label, (math.inf, state))[0]:
                starts[orbit.label] = cost, state
    best = sorted(starts, key=lambda label: starts[label][0] - label.startswith(ZERO123PLUS_LABEL))[:_ORBITS]
    fits = [RigFit(label, *_fit_rig(starts[label][1], coarse, question), is_exact_rig=False) for label in best]
    return sorted(fits, key=lambda fit: fit.rank_cost)


def _fit_rig(start: RigState, views: Views, question: Question) -> tuple[RigState, float]:
    """Depth scales, then the focal length too."""
    state = start_scales(start, views, question.has_common_scale)
    state = settle(state, views, _RANK, question.basis(SCALE), geometric(0.04, 0.02, 4))
    state = settle(state, views, _RANK, question.basis(SCALE, FOCAL), geometric(0.02, 0.008, 7))
    return (state, measure_cost(state, views, _RANK)) if _is_sane(state, question) else (state, math.inf)


def _is_sane(state: RigState, question: Question) -> bool:
    """Whether a fit stayed near the rig it started from; a fit that ran away has a low cost because nothing meets."""
    distance = state.world_from_camera[:, :3, 3].norm(dim=1)
    depth = (question.views.samples.depth.median(1).values + state.offsets) * state.scales
    finite = bool(state.focal_px.isfinite().all()) and bool(distance.isfinite().all())
    kept = bool(((distance > 0.5) & (distance < 2) & (depth > 0.2) & (depth < 2)).all())
    return finite and kept and 3 < fov_deg(state, question.width_px) < 130


def rank(state: RigState, question: Question) -> float:
    """The cost that compares hypotheses before refinement."""
    return measure_cost(state, fewer_samples(question.views, _SEARCH_SAMPLES), _RANK)


def refine_fit(fit: RigFit, question: Question) -> RigFit:
    """Fit everything that the hypothesis leaves open, down to a pixel."""
    state = _refine_exact_rig(fit, question) if fit.is_exact_rig else _refine_free_rig(fit, question)
    if not _is_sane(state, question):
        return fit
    return replace(fit, state=state, cost=measure_cost(state, question.views, _FINAL))


def _refine_exact_rig(fit: RigFit, question: Question) -> RigState:
    """Scales, focal length and principal point; the cameras stay on the rig.

    Cube rigs are made by renderers: free cameras would only absorb what belongs to the intrinsics.
    """
    coarse = fewer_samples(question.views, 3 * _SEARCH_SAMPLES)
    state = settle(fit.state, coarse, _FINAL, question.basis(SCALE, FOCAL), geometric(0.01, 0.004, 8))
    return settle(state, question.views, _FINAL, question.basis(SCALE, FOCAL, PRINCIPAL), geometric(0.008, 0.002, 10))


def _refine_free_rig(fit: RigFit, question: Question) -> RigState:
    """Every camera leaves the rig, with the focal length still held; then the intrinsics follow."""
    state, weighting = fit.state, replace(_FINAL, silhouette=0.5)
    coarse = fewer_samples(question.views, 3 * _SEARCH_SAMPLES)
    scale = () if question.has_common_scale else (SCALE,)
    for parts, views, widths, ridge in (
        ((), coarse, geometric(0.06, 0.02, 16), 1e-3),
        ((FOCAL,), coarse, geometric(0.02, 0.004, 14), 1e-4),
        ((FOCAL, PRINCIPAL), question.views, geometric(0.008, 0.002, 14), 1e-6),
    ):
        basis = question.basis(ROTATION, TRANSLATION, *scale, *parts)
        if scale:
            basis = without_common_scale(basis, state)
        state = settle(state, views, weighting, basis, widths, ridge=ridge)
    return state.in_frame_of(fit.state, 1.0)


def without_common_scale(basis: Float[Tensor, "u p"], state: RigState) -> Float[Tensor, "u p"]:
    """Take out the growth of the whole scene: nothing observes it, and shrinking lowers every residual."""
    growth = torch.zeros(state.count, basis.shape[0] // state.count, dtype=basis.dtype, device=state.scales.device)
    rotation, position = state.world_from_camera[:, :3, :3], state.world_from_camera[:, :3, 3]
    growth[:, TRANSLATION] = (position[:, None] @ rotation).squeeze(1)
    growth[:, SCALE] = 1
    direction = (growth / growth.norm()).flatten().cpu()
    removed: Float[Tensor, "u p"] = direction[:, None] * (direction @ basis)
    return basis - removed


def fewer_samples(views: Views, count: int) -> Views:
    """The same surfaces, compared at fewer points."""
    kept = views.samples
    samples = replace(
        kept, pixels_px=kept.pixels_px[:, :count], depth=kept.depth[:, :count], slopes=kept.slopes[:, :count]
    )
    return replace(views, samples=samples)


def geometric(first: float, last: float, count: int) -> list[float]:
    """Widths that shrink by a constant factor."""
    return [first * (last / first) ** (step / (count - 1)) for step in range(count)]


def refine_leading(fits: Sequence[RigFit], question: Question) -> list[RigFit]:
    """Refine the leading hypotheses in order until one is as good as cameras get; the rest stay as they are.

    Returns:
        Refined hypotheses, cheapest first and each solution once, then the others.
    """
    exact = all(fit.is_exact_rig for fit in fits)
    refined: list[RigFit] = []
    for fit in fits[: _REFINED if exact else _REFINED_FREE]:
        refined.append(refine_fit(fit, question))
        if len(refined) >= _MIN_REFINED and min(item.cost for item in refined) < _CLEAR_DROP * fits[0].rank_cost:
            break
    rest = list(fits[len(refined) :])
    return [*distinct(refined), *rest]


def distinct(fits: Sequence[RigFit]) -> list[RigFit]:
    """Cheapest first, every solution once."""
    kept: list[RigFit] = []
    for fit in sorted(fits, key=lambda fit: fit.cost):
        if not any(_is_same(fit.state, other.state) for other in kept):
            kept.append(fit)
    return kept


def _is_same(first: RigState, second: RigState) -> bool:
    """Whether two solutions differ by a common rigid motion only, give or take three degrees."""
    aligned = first.in_frame_of(second, 1.0).world_from_camera
    return float((aligned[:, :3] - second.world_from_camera[:, :3]).norm(dim=(1, 2)).max()) < 0.1
