"""Registration in order: seeds, refinement of the best, the choice among what fits equally well."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from recon import frames
from recon.arrays import Float, Tensor
from recon.registration.nearest import make_lattice
from recon.registration.refinement import PointsWithTree, loosest_motions, refine
from recon.registration.seeds import coarse_candidates
from recon.registration.similarity import Similarity, stacked
from recon.registration.surface_points import SurfacePoints

LATTICE_POINTS = 6_000
CANDIDATES, VARIANT_PASSES = 10, 3
"""Distinct coarse results that are refined."""
DISTINCT = 0.03
"""Of the diagonal: coarse results that put the mesh nearer than this to each other are one."""
SAME_TURN_COSINE, PER_TURN = 0.94, 2
"""Orientations less than 20 degrees apart are alike; so many of them are tried."""
FIRST_ROUNDS, MIDDLE_ROUNDS, FIRST_POINTS = 4, 6, 500
LAST_ROUNDS, LAST_POINTS = 10, 1_200
JUDGED_POINTS = 800
SLIDE_STEPS, SLIDES = (-1.5, -0.8, -0.4, -0.2, -0.1, 0.1, 0.2, 0.4, 0.8, 1.5), 3
"""Lengths tried along a loose motion, in inlier reaches, and how often."""
FAR_STEPS = range(2, 17)
"""The same, before: as far as a finalist may have stopped from its place."""
SLIDE_GAIN, SLIDE_LOSS = 0.93, 0.02
"""A slide must bring the colour difference below this share, and may lose so much of the inlier fraction: colours of
a surface that is held well change little and mean little."""
INLIER_REACH = 0.01
"""Of the diagonal: a point with a counterpart nearer than this has been found again."""
ROUGH_REACHES, ROUGH_POINTS = 4.0, 250
"""Times that, and points asked, while candidates are only coarsely in place."""
SHIFTS = (-0.36, -0.24, -0.12, 0.12, 0.24, 0.36)
"""Along an axis, in extents of the target."""
REPEATS, REPEAT_GAIN = 3, 0.004
"""How often the last rounds are repeated while the score grows by more than this."""
COLOUR_SPREADS, LEAST_COLOUR_REACH = 2.0, 0.02
"""Colour differences beyond so many mean deviations of the target's own colours say no more than 'different'."""
REFINED, FINALISTS = 3, 3
"""Candidates of each round of trials that are refined further, and of all those that are refined to the end."""
RIVAL = 0.6
"""A finalist's score in scores of the best: what is far behind does not catch up in the last rounds."""
OUTLINE_WEIGHT = 0.3
"""Of the outlines' overlap against the share of points found again."""


@dataclass(frozen=True)
class Registration:
    """A similarity and how well it fits.

    Attributes:
        target_from_source: The transform.
        inlier_fraction: Share of the target's points that have a counterpart within 1 % of its diagonal.
        residual: Median distance of those, in target units.
        colour_difference: Mean difference at them, 0 (equal) to 1 (as different as any); None without colours.
        silhouette_iou: As measured by the caller's check; None without.
    """

    target_from_source: Similarity
    inlier_fraction: float
    residual: float
    colour_difference: float | None = None
    silhouette_iou: float | None = None


def register(
    source: SurfacePoints, target: SurfacePoints, silhouette_iou: Callable[[Similarity], float] | None = None
) -> Registration:
    """Find the similarity that brings a surface to another of which parts may be missing, wrong or extra.

    Args:
        source: Of a mesh in any frame.
        target: Measured.
        silhouette_iou: Asked for the few candidates that fit best; decides between those that fit alike.

    Returns:
        The best candidate; whether it is good enough is the caller's decision.
    """
    source_some, target_some = source.positions[:LATTICE_POINTS].float(), target.positions[:LATTICE_POINTS].float()
    similarities, _ = coarse_candidates(source_some, target_some, make_lattice(source_some), make_lattice(target_some))
    trial = _Trial(source, target)
    judged = trial.tried(trial.best_of(similarities))
    for _ in range(VARIANT_PASSES):  # a second pass starts from where the first has led
        best = max(judged, key=_score)
        judged += trial.tried(trial.best_of(_look_alikes(best.target_from_source, target.positions)))
        if max(judged, key=_score) is best:
            break
    ranked = sorted(judged, key=_score, reverse=True)
    rivals = [item for item in ranked if _score(item) >= RIVAL * _score(ranked[0])]
    finalists = _apart(rivals, source.positions[:32], trial.target.diagonal)[:FINALISTS]
    return _choose([trial.finished(item.target_from_source) for item in finalists], silhouette_iou)


class _Trial:
    """Both surfaces, and what is done with every candidate on them."""

    def __init__(self, source: SurfacePoints, target: SurfacePoints) -> None:
        self.source = PointsWithTree(source.positions, source.normals)
        self.target = PointsWithTree(target.positions, target.normals)
        self._reach = INLIER_REACH * self.target.diagonal
        self._colours = None
        if source.colours_srgb is not None and target.colours_srgb is not None:
            self._colours = source.colours_srgb, target.colours_srgb[:JUDGED_POINTS]
            spread = (target.colours_srgb - target.colours_srgb.mean(0)).abs().mean(1).mean()
            self._colour_reach = (COLOUR_SPREADS * spread).clamp_min(LEAST_COLOUR_REACH)

    def refined(self, start: Similarity, rounds: int, count: int, *, is_near: bool = False) -> Registration:
        """``refine`` and judge."""
        return self.judged(refine(start, self.source, self.target, rounds, count, is_near=is_near))

    def best_of(self, similarities: Similarity) -> list[Similarity]:
        """The most promising that are distinct."""
        exact = similarities.double()
        exact = exact[self.rough_scores(exact).argsort(descending=True)]
        return [exact[index] for index in _distinct(exact, self.source.positions)]

    def tried(self, candidates: list[Similarity]) -> list[Registration]:
        """A few rounds for all, more for the best of them."""
        rough = [refine(item, self.source, self.target, FIRST_ROUNDS, FIRST_POINTS) for item in candidates]
        best = self.rough_scores(stacked(rough)).argsort(descending=True)[:REFINED]
        return [self.refined(rough[index], MIDDLE_ROUNDS, FIRST_POINTS) for index in best.tolist()]

    def finished(self, start: Similarity) -> Registration:
        """Exactly, also along what the shape leaves open."""
        found = self.refined(start, LAST_ROUNDS, LAST_POINTS)
        for _ in range(REPEATS):
            again = self.refined(found.target_from_source, LAST_ROUNDS, LAST_POINTS)
            if _score(again) < _score(found) + REPEAT_GAIN:
                break
            found = again
        return self._slid(self._slid_far(found))

    def rough_scores(self, similarities: Similarity) -> Float[Tensor, " r"]:
        """As ``_score`` of each, for what is only coarsely in place: with few points and a wide reach."""
        theirs = self.target.positions[:ROUGH_POINTS].expand(len(similarities.scale), -1, -1)
        here = similarities.inverse().apply(theirs)
        reach = ROUGH_REACHES * self._reach
        back, _ = self.source.nearest(here.flatten(0, 1), reach / float(similarities.scale.min()))
        back = back.view(here.shape[:2])
        near = (self.source.positions[back] - here).norm(dim=-1) * similarities.scale[:, None] < reach
        alike = (similarities.turn(self.source.normals[back]) * self.target.normals[:ROUGH_POINTS]).sum(-1) > 0
        is_inlier = (near & alike).double()
        if self._colours is None:
            shape_only: Tensor = is_inlier.mean(1)
            return shape_only
        apart = (self._colours[0][back] - self._colours[1][:ROUGH_POINTS]).abs().mean(-1)
        scores: Tensor = (is_inlier * (1 - (apart / self._colour_reach).clamp_max(1))).mean(1)
        return scores

    def judged(self, similarity: Similarity) -> Registration:
        """How much of the target is found again, how near and how alike in colour."""
        theirs = self.target.positions[:JUDGED_POINTS]
        back, is_near = self.source.nearest(similarity.inverse().apply(theirs), self._reach / float(similarity.scale))
        faces_alike = (similarity.turn(self.source.normals[back]) * self.target.normals[:JUDGED_POINTS]).sum(1) > 0
        is_inlier = is_near & faces_alike
        if not bool(is_inlier.any()):
            return Registration(similarity, 0.0, self.target.diagonal)
        distance = (similarity.apply(self.source.positions[back]) - theirs).norm(dim=1)
        difference = None
        if self._colours is not None:
            ours_srgb, theirs_srgb = self._colours
            apart = (ours_srgb[back] - theirs_srgb)[is_inlier].abs().mean(1)
            difference = float((apart / self._colour_reach).clamp_max(1).mean())
        residual = float(distance[is_inlier].median())
        return Registration(similarity, float(is_inlier.double().mean()), residual, difference)

    def _slid_far(self, found: Registration) -> Registration:
        """Where a prism may have stopped anywhere along itself, try all along it."""
        motions = loosest_motions(found.target_from_source, self.source, self.target, self._reach, FIRST_POINTS)
        tries = [motion(sign * step * self._reach) for motion in motions for step in FAR_STEPS for sign in (-1, 1)]
        if not tries:
            return found
        best = int(self.rough_scores(stacked(tries)).argmax())
        refined = self.refined(tries[best], LAST_ROUNDS, FIRST_POINTS, is_near=True)
        if _score(refined) < _score(found) + REPEAT_GAIN:
            return found
        return self.refined(refined.target_from_source, LAST_ROUNDS, LAST_POINTS, is_near=True)

    def _slid(self, found: Registration) -> Registration:
        """Where the shape hardly resists a motion, let the colours decide how far it goes."""
        for _ in range(SLIDES):
            motions = loosest_motions(found.target_from_source, self.source, self.target, self._reach, FIRST_POINTS)
            tries = [self.judged(motion(step * self._reach)) for motion in motions for step in SLIDE_STEPS]
            difference = _colour_if_near(found)
            best = min(tries, key=difference, default=found)
            if difference(best) > SLIDE_GAIN * (found.colour_difference or 0):
                break
            refined = self.refined(best.target_from_source, LAST_ROUNDS, LAST_POINTS, is_near=True)
            found = refined if difference(refined) <= (best.colour_difference or 0) / SLIDE_GAIN**0.5 else best
        return found


def _distinct(similarities: Similarity, source: Float[Tensor, "n 3"]) -> list[int]:
    """The first results that put the source at different places, few of each orientation."""
    probes = similarities.apply(source[:32].expand(similarities.scale.shape[0], -1, -1))
    diagonal = (probes[0].amax(0) - probes[0].amin(0)).norm()
    chosen: list[int] = []
    for index in range(len(probes)):
        apart = [float((probes[index] - probes[other]).norm(dim=1).mean()) for other in chosen]
        alike = [other for other in chosen if _cosine(similarities, index, other) > SAME_TURN_COSINE]
        if all(distance > DISTINCT * diagonal for distance in apart) and len(alike) < PER_TURN:
            chosen.append(index)
        if len(chosen) == CANDIDATES:
            break
    return chosen


def _apart(ranked: list[Registration], probes: Float[Tensor, "n 3"], diagonal: float) -> list[Registration]:
    """Those that put the source elsewhere than any before them does."""
    chosen: list[Registration] = []
    for item in ranked:
        here = item.target_from_source.apply(probes)
        distances = [float((here - other.target_from_source.apply(probes)).norm(dim=1).mean()) for other in chosen]
        if all(distance > DISTINCT * diagonal for distance in distances):
            chosen.append(item)
    return chosen


def _cosine(similarities: Similarity, one: int, two: int) -> float:
    """Of the angle between two orientations."""
    return (float((similarities.rotation[one] * similarities.rotation[two]).sum()) - 1) / 2


def _look_alikes(similarity: Similarity, target: Float[Tensor, "n 3"]) -> Similarity:
    """What a box or a bottle hardly tells apart from a similarity, itself among it.

    Half turns about the target's principal axes and between them, quarter turns about the axes; between them, because
    equal sides leave the axes undetermined.  Each also shifted along the axes: a box without its bottom can sit
    anywhere between top and bottom.
    """
    middle = target.mean(0)
    _, axes = torch.linalg.eigh((target - middle).T @ (target - middle))
    x, y, z = axes.T
    between = torch.stack([x + y, x - y, x + z, x - z, y + z, y - z]) / 2**0.5
    half = torch.cat([axes.T, between]) * math.pi
    quarter = torch.cat([axes.T, -axes.T]) * (math.pi / 2)
    turns = frames.rotation_from_vector(torch.cat([torch.zeros_like(half[:1]), half, quarter]))
    extents = ((target - middle) @ axes).amax(0) - ((target - middle) @ axes).amin(0)
    lengths = torch.tensor(SHIFTS, dtype=target.dtype)[:, None, None] * extents[:, None] * axes.T
    shifts = torch.cat([torch.zeros_like(middle)[None], lengths.flatten(0, 1)])
    rotation = turns.repeat_interleave(len(shifts), 0)
    offset = middle - rotation @ middle + shifts.repeat(len(turns), 1)
    return Similarity(torch.ones(len(rotation), dtype=target.dtype), rotation, offset).after(similarity)


def _colour_if_near(found: Registration) -> Callable[[Registration], float]:
    """Colour difference of a candidate that finds as much of the target again as ``found``; infinite for others."""

    def difference(item: Registration) -> float:
        is_near = item.inlier_fraction > found.inlier_fraction - SLIDE_LOSS
        return item.colour_difference if is_near and item.colour_difference is not None else math.inf

    return difference


def _choose(finals: list[Registration], silhouette_iou: Callable[[Similarity], float] | None) -> Registration:
    """The one that finds most of the target again, in the right colours and within the outlines."""
    if silhouette_iou is not None:
        finals = [replace(item, silhouette_iou=silhouette_iou(item.target_from_source)) for item in finals]
    return max(finals, key=lambda item: _score(item) + OUTLINE_WEIGHT * (item.silhouette_iou or 0))


def _score(item: Registration) -> float:
    return item.inlier_fraction * (1 - (item.colour_difference or 0))
