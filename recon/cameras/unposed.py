"""Views without cameras: one rig hypothesis that explains them clearly better than all others, or none."""

import itertools
import math
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from recon.arrays import Float, Tensor
from recon.cameras.agreement import Views, make_views
from recon.cameras.cube import cube_rotations
from recon.cameras.depth_meaning import judge_depth_meaning
from recon.cameras.depth_reading import Solved
from recon.cameras.hand_held import LABEL as HAND_HELD_LABEL
from recon.cameras.hand_held import fit_hand_held
from recon.cameras.orbit import is_zero123plus, orbit_axis, orbit_elevations_deg
from recon.cameras.patches import Colours, gather_colours
from recon.cameras.preparation import MIN_SURFACE_PIXELS, orthonormal, silhouette
from recon.cameras.report import Disagreement, measure_disagreement
from recon.cameras.rig_search import Question, RigFit, distinct, fit_cubes, fit_orbits, fov_deg, refine_leading
from recon.cameras.rig_start import axes_crossing
from recon.cameras.rig_state import RigState
from recon.cameras.surfaces import draw_samples, make_surface, signed_distance_px
from recon.errors import UnsolvedCameras
from recon.scene import Camera, Capture, Inference, Intrinsics, View
from recon.settings import Settings

_GRID_PX = 512
"""Depth maps are averaged down to this: enough for a hundredth of a degree of field of view."""
_SAMPLE_COUNT = 2000
_REACH = 0.02
"""In camera distances."""
_MAX_MEDIAN, _MAX_VIOLATION_SHARE, _MIN_MARGIN = 0.004, 0.03, 1.04
"""Right rigs measured at most 0.001 (camera distances), 0.01 and at least 1.1; wrong ones left 0.12 of the points
outside the outlines, or more."""
_REPORTED = 5
_NO_HYPOTHESIS = {
    "cube": "A cube rig has six views; this capture has another number of them.",
    "free": "Views without a rig need depths in one common unit to be registered with one another.",
}


@dataclass(frozen=True)
class Reading:
    """Depth codes of all views on a common grid.

    Attributes:
        views: What is compared.
        colours: What the photographs show there.
        unit: Metres per code unit when the depths are metric, else None.
    """

    views: Views
    colours: Colours
    unit: float | None


def solve_unposed(capture: Capture, settings: Settings, device: torch.device) -> Solved:
    """Pose every view of a capture without cameras.

    Raises:
        UnsolvedCameras: A view has too little depth, or no rig explains the views clearly better than the others.
    """
    reading = _read(capture, settings.seed, device)
    names = tuple(view.name for view in capture.views)
    question = Question(reading.views, names, settings.fov_deg, reading.unit is not None)
    fits = _solve(question, reading.colours, settings.rig)
    winner, found = fits[0], measure_disagreement(fits[0].state, reading.views, _REACH)
    _require_clear(fits, found)
    state = _upright(winner, names)
    unit_m = None if reading.unit is None else reading.unit / float(state.scales.median())
    length = 1.0 if unit_m is None else unit_m
    views = tuple(_posed(view, state, row, reading, length) for row, view in enumerate(capture.views))
    meaning = judge_depth_meaning(winner.state, reading.views)
    solved = replace(
        capture, views=views, cameras_source="solved", up_world="y", is_metric=capture.is_metric and unit_m is not None
    )
    return Solved(solved.noting(*_inferences(fits, found, question, unit_m), meaning), winner.cost)


def _read(capture: Capture, seed: int, device: torch.device) -> Reading:
    depths = [view.depth for view in capture.views]
    for view, depth in zip(capture.views, depths, strict=True):
        if depth is None or int(depth.valid_mask.sum()) < MIN_SURFACE_PIXELS:
            raise UnsolvedCameras(f"{view.name} has too little depth to place its camera.", file=view.name)
    is_metric = not any(depth.is_relative for depth in depths if depth is not None)
    unit = 1.0
    if is_metric:
        medians = [depth.depth_z[depth.valid_mask].median() for depth in depths if depth is not None]
        unit = float(torch.stack(medians).median())
    surfaces = []
    for view, depth in zip(capture.views, depths, strict=True):
        assert depth is not None
        outline = silhouette(view, depth)
        code, valid, alpha, shrink = _pooled(depth.depth_z / unit, depth.valid_mask & (outline >= 0.5), outline)
        outside_px = signed_distance_px(alpha.to(device))
        surface = make_surface(code.to(device), valid.to(device), outside_px, depth.step_z / unit / shrink, 3)
        if int(surface.usable.sum()) < MIN_SURFACE_PIXELS // 4:
            raise UnsolvedCameras(f"The depth of {view.name} is too rough to place its camera.", file=view.name)
        surfaces.append(surface)
    views = make_views(surfaces, draw_samples(surfaces, _SAMPLE_COUNT, seed))
    colours = gather_colours([view.image_srgb for view in capture.views], views)
    return Reading(views, colours, unit if is_metric else None)


def _pooled(
    code: Float[Tensor, "h w"], valid: Tensor, alpha: Float[Tensor, "h w"]
) -> tuple[Float[Tensor, "g1 g2"], Tensor, Float[Tensor, "g1 g2"], int]:
    """Average whole blocks of pixels down to about ``_GRID_PX``; blocks with a gap hold nothing."""
    shrink = max(1, max(code.shape) // _GRID_PX)
    if shrink == 1:
        return code, valid, alpha, 1
    cover = functional.avg_pool2d(valid[None].to(code.dtype), shrink)[0]
    mean = functional.avg_pool2d(torch.where(valid, code, 0.0)[None], shrink)[0] / cover.clamp_min(1e-6)
    return mean, cover > 0.999, functional.avg_pool2d(alpha[None].to(code.dtype), shrink)[0], shrink


def _solve(question: Question, colours: Colours, rig: str) -> list[RigFit]:
    """All hypotheses, the best refined, cheapest first.

    Rigs come first because they need no overlap between neighbours, only agreement of all views together.
    """
    fits: list[RigFit] = []
    for kind, fit in (("cube", fit_cubes), ("orbit", fit_orbits)):
        if rig in {"auto", kind} or (rig, kind) == ("zero123", "orbit"):
            fits = [*fits, *refine_leading(fit(question), question)]
            fits.sort(key=lambda fit: fit.cost)
            if fits and _is_clear(fits, measure_disagreement(fits[0].state, question.views, _REACH)):
                return fits
    if rig in {"auto", "free"} and question.has_common_scale:
        found = fit_hand_held(question, colours)
        fits = distinct([*found.fits, *(fit for fit in fits if fit.cost < math.inf)])
        if not fits:
            raise UnsolvedCameras(f"{_listed(found.unplaced)} cannot be connected to the other views.")
    if not fits:
        raise UnsolvedCameras(_NO_HYPOTHESIS["cube" if rig == "cube" else "free"])
    return fits


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_REPORTED]) + (" and others" if len(names) > _REPORTED else "")


def _is_clear(fits: list[RigFit], found: Disagreement) -> bool:
    return found.median < _MAX_MEDIAN and found.violation_share < _MAX_VIOLATION_SHARE and _margin(fits) > _MIN_MARGIN


def _margin(fits: list[RigFit]) -> float:
    """How much more the best other hypothesis costs."""
    return fits[1].cost / max(fits[0].cost, 1e-9) if len(fits) > 1 else float("inf")


def _require_clear(fits: list[RigFit], found: Disagreement) -> None:
    if _is_clear(fits, found):
        return
    details: dict[str, object] = {
        "best_hypothesis": fits[0].label,
        "median_percent_of_camera_distance": found.median * 100,
        "points_outside_outlines_percent": found.violation_share * 100,
        "margin_over_next_hypothesis": _margin(fits),
    }
    if found.violation_share >= _MAX_VIOLATION_SHARE or found.median >= _MAX_MEDIAN:
        message = (
            f"No arrangement of cameras explains the views: the best one ({fits[0].label}) leaves "
            f"{found.violation_share:.0%} of the points outside another view's outline."
        )
    else:
        message = (
            f"Two arrangements of cameras explain the views almost equally well "
            f"(costs differ by {_margin(fits) - 1:.1%})."
        )
    raise UnsolvedCameras(message, details=details)


def _upright(fit: RigFit, names: tuple[str, ...]) -> RigState:
    """Turn the world so that +y is up, and the front (or first) view stands on the +z side."""
    state = fit.state
    if fit.label == HAND_HELD_LABEL:
        return state
    if fit.label != "cube":
        return replace(state, world_from_camera=_orbit_upright(state.world_from_camera))
    ideal = state.world_from_camera[:, :3, :3].cpu().round()
    centres, ups = -ideal[:, :, 2], -ideal[:, :, 1]
    lowered = [name.lower() for name in names]
    up = centres[lowered.index("top")] if fit.is_named else ups.sum(0)
    front = centres[lowered.index("front")] if fit.is_named else centres[0]
    wanted = torch.eye(3, dtype=ideal.dtype)
    turns = cube_rotations()
    scores = 2 * (turns @ up) @ wanted[1] + (turns @ front) @ wanted[2]
    world_turn = torch.eye(4, dtype=ideal.dtype)
    world_turn[:3, :3] = turns[int(scores.argmax())]
    return replace(state, world_from_camera=world_turn.to(state.scales.device) @ state.world_from_camera)


def _orbit_upright(world_from_camera: Float[Tensor, "k 4 4"]) -> Float[Tensor, "k 4 4"]:
    axis, towards = orbit_axis(world_from_camera), world_from_camera[0, :3, 3]
    front = functional.normalize(towards - axis * (axis @ towards), dim=0)
    turn = torch.eye(4, dtype=axis.dtype, device=axis.device)
    turn[:3, :3] = torch.stack([torch.linalg.cross(axis, front), axis, front])
    return turn @ world_from_camera


def _posed(view: View, state: RigState, row: int, reading: Reading, length: float) -> View:
    """The view with its camera, and its depth in world units."""
    depth, surface = view.depth, reading.views.surfaces[row]
    assert depth is not None
    focal_px, principal_px = state.focal_px[row].tolist(), state.principal_px[row].tolist()
    intrinsics = Intrinsics(surface.width_px, surface.height_px, *focal_px, *principal_px)
    world_from_camera = orthonormal(state.world_from_camera[row].cpu())
    world_from_camera[:3, 3] *= length
    camera = Camera(intrinsics.resized(view.width_px, view.height_px), world_from_camera)
    if reading.unit is not None:
        return replace(view, camera=camera)
    scale, offset = float(state.scales[row]), float(state.offsets[row])
    scaled = replace(depth, depth_z=(depth.depth_z + offset) * scale, is_relative=False, step_z=depth.step_z * scale)
    return replace(view, camera=camera, depth=scaled)


def _inferences(
    fits: list[RigFit], found: Disagreement, question: Question, unit_m: float | None
) -> tuple[Inference, ...]:
    winner = fits[0]
    text = found.text("mm", unit_m * 1e3) if unit_m else found.text("% of the camera distance", 100.0)
    ranked = sorted(fits, key=lambda fit: fit.rank_cost)
    others = "; ".join(
        f"{_describe(fit, question)} {fit.rank_cost:.4f}" for fit in ranked[:_REPORTED] if fit is not winner
    )
    evidence = (
        f"{text}; cost {winner.cost:.4f}, the next costs {_margin(fits):.2f} times as much; "
        f"before refinement {winner.rank_cost:.4f}, others: {others}"
    )
    field = Inference(
        "field of view",
        f"{fov_deg(winner.state, question.width_px):.2f} degrees",
        "stated" if question.fov_deg else "least disagreement between the views over 20 to 76 degrees, then refined",
    )
    scales = ", ".join(
        f"{name} {scale:.4f}" for name, scale in zip(question.names, winner.state.scales.tolist(), strict=True)
    )
    if unit_m:
        scale = Inference("camera distance", f"{unit_m:.4f} m", "from metric depths")
    else:
        scale = Inference("depth scales", scales, "camera distances per unit of each depth image; no length is known")
    return Inference("cameras", _describe(winner, question), evidence), field, scale


def _describe(fit: RigFit, question: Question) -> str:
    """The rig in words, as it was solved: for a cube, from where each view looks; for an orbit, how high."""
    if fit.label == HAND_HELD_LABEL:
        return fit.label
    if fit.label != "cube":
        poses = fit.state.world_from_camera
        even_deg, odd_deg = orbit_elevations_deg(poses, axes_crossing(poses))
        rig = "Zero123++ rig" if is_zero123plus((even_deg, odd_deg)) else "orbit"
        return f"{rig} in file order, elevations {even_deg:+.0f} and {odd_deg:+.0f} degrees in turn"
    rotations = _upright(fit, question.names).world_from_camera[:, :3, :3].cpu().round()
    parts = [
        f"{name} from {_axis(-rotation[:, 2])} with image up {_axis(-rotation[:, 1])}"
        for name, rotation in zip(question.names, rotations, strict=True)
    ]
    return "cube rig: " + ", ".join(parts)


def _axis(direction: Float[Tensor, " 3"]) -> str:
    for sign, (index, letter) in itertools.product((1, -1), enumerate("XYZ")):
        if float(direction[index]) * sign > 0.5:
            return f"{'+' if sign > 0 else '-'}{letter}"
    return "?"
