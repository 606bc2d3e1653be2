"""Cameras that the folder states: checked against the depths, and refined only when they disagree beyond noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from recon import frames
from recon.arrays import Float, Tensor
from recon.cameras.adjust import FOCAL, ROTATION, TRANSLATION, free_unknowns, settle
from recon.cameras.agreement import Views, compare_all, make_views
from recon.cameras.colour_equations import BlurredColours, ColourPyramid, ColourSums
from recon.cameras.decided_step import decided_step
from recon.cameras.normal_equations import DistanceSums, Weighting
from recon.cameras.patches import Colours, gather_colours
from recon.cameras.preparation import (
    ObjectSize,
    make_surfaces,
    measure_size,
    state_from_cameras,
    with_cameras,
)
from recon.cameras.report import Disagreement, measure_disagreement
from recon.cameras.rig_search import fewer_samples, geometric
from recon.cameras.rig_state import RigState, align_rigid
from recon.cameras.surfaces import Surface, draw_samples
from recon.scene import Capture, Inference

_SAMPLE_COUNT = 20_000
"""Points drawn from all views together, bounded per pair by the number of views."""
_SILHOUETTE, _RIM_PX = 0.2, 0.1
"""Silhouettes hold thin objects, which depth alone cannot; at the end they count no more than a tenth of a pixel's
precision allows against depth of this noise."""
_COARSE_STEPS, _FINE_STEPS = 20, 6
_COARSE_SAMPLES = 1000
_BLUR = 0.3
"""Photographs are blurred by this share of the width, so that colours lead as far as distances reach."""
_NEAR = 0.3
"""Cameras whose surfaces lie apart by less than this share of the last width need no coarse steps to come within it."""
_LENS_START = 0.1
"""Width of the first residuals for focal lengths, in the object's radius: poses have absorbed a part already."""
_LENS_SILHOUETTE = 1e-3
"""Outlines refuse what is outside and pass what is inside: with the hundredth that they weigh beside clean depth, the
focal length of a ball comes out 0.35 % too long, with this 0.11 %."""
_LEAST_GAIN_PX = 0.01
"""Differences below are those of interpolation: of a plate, whose poses absorb any focal length."""
_LARGEST_SHIFT = 0.5
"""Refinement that moves points by more of the object's radius has found another solution than the one near by."""
_OUTLINE_SLACK = 0.001
"""Refinement that puts this much more of the points outside outlines brings surfaces together at their cost."""
_OUTLINES_HOLD = 0.01
"""With fewer of the points outside outlines, surfaces that meet nowhere show different parts of the object."""
_CLEAR_GAIN = 0.8
"""Refinement that leaves surfaces and colours hardly closer only follows the noise."""
_NOISE_PIXELS = 22_500
"""So many noisy pixels leave an uncertainty of one standard deviation (measured with structured-light noise: a third of
it at 250 000 pixels)."""


@dataclass(frozen=True)
class Refinement:
    """What joint refinement would do to given cameras.

    Attributes:
        state: The refined cameras, moved as a whole as close to the given ones as possible.
        before, after: How far the views disagree.
        shift: Root mean square distance between the object's points placed by the given and the refined cameras.
        tolerance: A shift below this cannot be told from the depth's noise and the pixel grid.
        largest: A shift above this is not believed.
    """

    state: RigState
    before: Disagreement
    after: Disagreement
    shift: float
    tolerance: float
    largest: float

    @property
    def is_called_for(self) -> bool:
        """Whether the given cameras disagree beyond noise and refinement mends it.

        Depth that is wrong over whole regions draws surfaces together although the cameras were right; then colours of
        one place part.
        """
        is_closer = self.after.median < _CLEAR_GAIN * self.before.median or _is_more_alike(self.before, self.after)
        keeps_outlines = self.after.violation_share <= self.before.violation_share + _OUTLINE_SLACK
        keeps_colours = not _is_more_alike(self.after, self.before, gain=1.0)
        is_plausible = self.tolerance < self.shift < self.largest
        return is_plausible and is_closer and keeps_outlines and keeps_colours


def check_given_cameras(
    capture: Capture, refine: Literal["auto", "on", "off"], seed: int, device: torch.device
) -> Capture:
    """Measure how given cameras agree with the depths, and refine poses and focal lengths when asked or needed.

    Cameras of views without depth stay as they are; where there are any, all lenses do.

    Args:
        capture: Every view has a camera; depths are in metres.
        refine: auto refines only when the views disagree beyond the noise of their own depths.
        seed: Chooses the points that are compared.
        device: Where the comparison runs.
    """
    surfaces = make_surfaces(capture.views, device) if refine != "off" else {}
    indices = list(surfaces)
    if len(indices) < 2:
        return replace(capture, cameras_source="given")
    prepared = make_views(list(surfaces.values()), draw_samples(list(surfaces.values()), _sample_count(surfaces), seed))
    views = [capture.views[index] for index in indices]
    given = state_from_cameras(views, list(prepared.surfaces), device)
    colours = None
    if not capture.photographs_disagree:
        colours = gather_colours([view.image_srgb.to(device) for view in views], prepared)
    refinement = refine_poses(given, prepared, colours)
    if refinement is None:
        finding = Inference("cameras", "given", "no two depth images show the same place, so they check no camera")
        return replace(capture, cameras_source="given").noting(finding)
    if refinement.before.matched_share == refinement.after.matched_share == 0:
        return _contradicted(capture, refinement.before)
    is_doubtful = refinement.after.median > _NEAR * refinement.tolerance or refinement.shift > refinement.tolerance
    if is_doubtful and len(indices) == len(capture.views):
        refinement = refine_lenses(refinement, given, prepared, colours)
    finding = Inference("cameras", "given", f"{refinement.before.text()}; {_verdict(refinement)}")
    if refine == "auto" and not refinement.is_called_for:
        return replace(capture, cameras_source="given").noting(finding)
    refined = replace(with_cameras(capture, indices, refinement.state), cameras_source="refined")
    evidence = (
        f"given: {refinement.before.text()}; refined: {refinement.after.text()}; the object's points moved by "
        f"{refinement.shift * 1e3:.3g} mm; the common motion of all cameras was kept{_lens_text(given, refinement)}"
    )
    warning = (
        f"The given cameras disagreed with the depths by {refinement.before.median * 1e3:.2g} mm; they were refined to "
        f"{refinement.after.median * 1e3:.2g} mm{_lens_text(given, refinement)}."
    )
    return refined.noting(Inference("cameras", "refined", evidence), warnings=(warning,))


def _contradicted(capture: Capture, disagreement: Disagreement) -> Capture:
    """Cameras that nothing can refine, since no surface of one view meets another's, and whose outlines disagree."""
    outside = f"{disagreement.violation_share:.0%} of the measured points lie outside another view's outline"
    finding = Inference("cameras", "given", f"no two depth images show the same place, and {outside}")
    warning = (
        f"The views contradict the given cameras: {outside}. Check the camera file, or leave it out to have the "
        "cameras solved."
    )
    return replace(capture, cameras_source="given").noting(finding, warnings=(warning,))


def _sample_count(surfaces: dict[int, Surface]) -> int:
    """Bounded by the pixels that there are."""
    pixel_counts = sorted(int(surface.usable.sum()) for surface in surfaces.values())
    return min(max(1000, _SAMPLE_COUNT // len(surfaces)), pixel_counts[len(pixel_counts) // 2])


def _verdict(refinement: Refinement) -> str:
    if refinement.shift <= refinement.tolerance:
        judgement = f"within what noise and pixels explain ({refinement.tolerance * 1e3:.2g} mm)"
    elif refinement.is_called_for:
        judgement = f"beyond what noise and pixels explain ({refinement.tolerance * 1e3:.2g} mm)"
    else:
        judgement = f"but it was not believed, since it would leave {refinement.after.text()}"
    return f"refinement would move the object's points by {refinement.shift * 1e3:.2g} mm, {judgement}"


def _lens_text(given: RigState, refinement: Refinement) -> str:
    factors = (refinement.state.focal_px / given.focal_px).mean(1).tolist()
    if all(factor == 1 for factor in factors):
        return ""
    return f"; focal lengths were multiplied by {min(factors):.4f} to {max(factors):.4f}"


def _is_more_alike(before: Disagreement, after: Disagreement, gain: float = _CLEAR_GAIN) -> bool:
    """Whether colours differ by less than this share of what they did; not where they are not compared."""
    return before.colour is not None and after.colour is not None and after.colour < gain * before.colour


@dataclass(frozen=True)
class Evidence:
    """All that speaks about given cameras.

    Attributes:
        given: Where they were said to be; what nothing else decides stays there.
        views: Surfaces and outlines.
        colours: Photographs; None where they say nothing about the depths.
        size: Lengths of the object and of a pixel on it.
    """

    given: RigState
    views: Views
    colours: ColourPyramid | None
    size: ObjectSize

    def blurred(self, width: float, views: Views) -> BlurredColours | None:
        """The photographs for residuals of a width, at the samples of ``views``, the first of all."""
        if self.colours is None:
            return None
        level = self.colours.level(2 ** max(0, round(math.log2(_BLUR * width / self.size.pixel))))
        return level.fewer(views.samples.depth.shape[1])

    def disagreement(self, state: RigState) -> Disagreement:
        """How far the views disagree if the cameras are these."""
        colours = self.blurred(self.size.pixel, self.views)
        return measure_disagreement(state, self.views, _reach(self.size), colours)


def refine_poses(given: RigState, views: Views, colours: Colours | None) -> Refinement | None:
    """Refine every camera's six degrees of freedom from all ordered pairs of views.

    Robust point-to-plane, silhouette and colour residuals, coarse to fine; what they leave open, the common motion
    above all, stays as it was given.  Cameras that agree already are only tried at the last width first: if that moves
    nothing, nothing is wrong.  None where no two views measured the same place and no outline objects: few views all
    around an object.
    """
    pyramid = None if colours is None else ColourPyramid(colours, views)
    evidence = Evidence(given, views, pyramid, measure_size(given, views))
    size = evidence.size
    fine_width = _fine_width(size)
    before = evidence.disagreement(given)
    if before.matched_share == 0 and before.violation_share < _OUTLINES_HOLD:
        return None
    if before.median < _NEAR * fine_width:
        nearby = _refined(given, evidence, before)
        if nearby.shift <= nearby.tolerance:
            return nearby
    widths = geometric(max(0.3 * size.radius, 2 * fine_width), fine_width, _COARSE_STEPS)
    fewer = fewer_samples(views, _COARSE_SAMPLES)
    start = _settled(given, evidence, fewer, Weighting(fine_width, _SILHOUETTE), widths)
    return _refined(start, evidence, before)


def refine_lenses(refinement: Refinement, given: RigState, views: Views, colours: Colours | None) -> Refinement:
    """Correct focal lengths, too, where poses alone do not bring the views together.

    Depth says how far away each point is, whatever the focal length; how wide the object is depends on it, and from
    another side its width is depth.  One factor for all views is tried, then one for each: settled together with the
    poses, which would absorb it, on surfaces and outlines.  A correction stays where it brings the views clearly closer
    than poses did (or the given cameras, if poses were not believed), as much as pixels can tell.
    """
    size = measure_size(given, views)
    for is_common in (True, False):
        focal_px = _settled_focal_px(refinement.state, views, size, is_common)
        if float((focal_px / refinement.state.focal_px).log().abs().max()) * size.radius < refinement.tolerance:
            continue
        attempt = refine_poses(replace(given, focal_px=focal_px), views, colours)
        if attempt is None:
            continue
        attempt = replace(attempt, before=refinement.before, shift=_placement_shift(given, attempt.state, views))
        known = refinement.after if refinement.is_called_for else refinement.before
        gained = known.median - attempt.after.median
        is_better = gained > _LEAST_GAIN_PX * size.pixel and replace(attempt, before=known).is_called_for
        if is_better and attempt.is_called_for:
            refinement = attempt
    return refinement


def _settled_focal_px(state: RigState, views: Views, size: ObjectSize, is_common: bool) -> Float[Tensor, "k 2"]:
    basis = free_unknowns(state.count, ROTATION, TRANSLATION, FOCAL, common_lens=is_common)
    fine_width = _fine_width(size)
    widths = geometric(max(_LENS_START * size.radius, 2 * fine_width), fine_width, _COARSE_STEPS // 2)
    state = settle(state, fewer_samples(views, _COARSE_SAMPLES), Weighting(fine_width, _SILHOUETTE), basis, widths)
    return settle(state, views, Weighting(fine_width, _LENS_SILHOUETTE), basis, [fine_width] * _FINE_STEPS).focal_px


def _settled(
    state: RigState, evidence: Evidence, views: Views, weighting: Weighting, widths: Sequence[float]
) -> RigState:
    """One Gauss-Newton step per width, whatever the cost does (see ``adjust.settle``)."""
    for width in widths:
        now, colours = replace(weighting, width=width), evidence.blurred(width, views)
        distances = DistanceSums(state, views, now)
        photographs = None if colours is None else ColourSums(state, views, colours, evidence.size.pixel)
        for pairs, comparison in compare_all(state, views, now.reach):
            distances.add(pairs, comparison)
            if photographs is not None:
                photographs.add(pairs, comparison)
        seen = None if photographs is None else photographs.derivatives()
        state = state.moved(decided_step(distances.equations(), seen, state, evidence.given, views))
    return state


def _fine_width(size: ObjectSize) -> float:
    """Residuals beyond it count little in the last steps."""
    return max(2 * size.noise, 0.4 * size.pixel)


def _reach(size: ObjectSize) -> float:
    """Points farther than this from a surface do not belong to it."""
    return 0.1 * size.radius + 3 * _fine_width(size)


def _refined(start: RigState, evidence: Evidence, before: Disagreement) -> Refinement:
    """The last steps, from a start near the solution, compared with the given cameras."""
    given, views, size = evidence.given, evidence.views, evidence.size
    fine_width = _fine_width(size)
    weighting = Weighting(fine_width, min(_SILHOUETTE, max(_RIM_PX, size.noise / size.pixel) ** 2))
    state = _settled(start, evidence, views, weighting, [fine_width] * _FINE_STEPS)
    state = state.in_frame_of(given, size.distance)
    return Refinement(
        state,
        before,
        evidence.disagreement(state),
        _placement_shift(given, state, views),
        _tolerance(size, views),
        _LARGEST_SHIFT * size.radius,
    )


def _tolerance(size: ObjectSize, views: Views) -> float:
    """How far refinement may move points although nothing is wrong: a part of a pixel, or what is left of noise.

    Noise counts far more than independent pixels would make it, because sensors err alike over whole patches.
    """
    pixel_count = sum(int(surface.usable.sum()) for surface in views.surfaces)
    return max(0.1 * size.pixel, size.noise * math.sqrt(_NOISE_PIXELS / max(pixel_count, 1)))


def _placement_shift(before: RigState, after: RigState, views: Views) -> float:
    """How far the points of each view move, once both placements are aligned as a whole."""
    first, second = (_placed(state, views) for state in (before, after))
    aligned = frames.transform_points(align_rigid(second, first), second)
    return float(((aligned - first) ** 2).sum(1).mean().sqrt())


def _placed(state: RigState, views: Views) -> Float[Tensor, "n 3"]:
    points = state.points_camera(views.samples.pixels_px, views.samples.depth)
    return frames.transform_points(state.world_from_camera, points).flatten(0, 1)
