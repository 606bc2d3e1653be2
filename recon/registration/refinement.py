"""From near to exact: pairs of nearest points, distances along normals, weights that forget what has no counterpart."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial import cKDTree

from recon import frames
from recon.arrays import Float, Tensor
from recon.registration.similarity import Similarity

REACH_START, REACH_END = 0.05, 0.002
"""Of the diagonal: residuals beyond it lose their weight (Tukey's biweight); narrows in every round."""
NEAR_START = 0.006
REACH_SIGMAS = 4.7
"""The reach never falls below so many deviations of the residuals: what is uncertain everywhere is no outlier."""
LEAST_BOUND = 0.03
"""Of the diagonal: partners are looked for at least as far as this, because residuals may widen the reach."""
LEAF_SIZE = 32
"""Of the search tree: queries from wrong places are far ones, and visit fewer nodes than with scipy's 10."""
DAMPING = 1e-6
MIN_PAIRS = 30
LOOSE_COUNT = 2


class PointsWithTree:
    """A surface to match with: positions, normals, the diagonal of its box and a search tree."""

    def __init__(self, positions: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"]) -> None:
        self.positions, self.normals = positions.double(), normals.double()
        self.diagonal = float((self.positions.amax(0) - self.positions.amin(0)).norm())
        self._tree = cKDTree(self.positions.numpy(), leafsize=LEAF_SIZE, balanced_tree=False)

    def nearest(self, points: Float[Tensor, "m 3"], bound: float) -> tuple[Tensor, Tensor]:
        """Index of the nearest point, and whether it is nearer than ``bound``; looking no farther is what is fast."""
        _, index = self._tree.query(points.numpy(), distance_upper_bound=bound)
        found = torch.from_numpy(np.asarray(index, np.int64))
        is_near = found < len(self.positions)
        return found.clamp_max_(len(self.positions) - 1), is_near


def refine(
    start: Similarity, source: PointsWithTree, target: PointsWithTree, rounds: int, count: int, *, is_near: bool = False
) -> Similarity:
    """Point-to-plane registration with scale, in both directions (Chen and Medioni 1992; Tukey weights).

    Args:
        start: A rough similarity.
        source, target: The surfaces.
        rounds: Of matching; the reach narrows over them.
        count: Points of either surface that are matched.
        is_near: Begin with a narrow reach.
    """
    state = start.double()
    diagonal = target.diagonal
    for index in range(rounds):
        first = NEAR_START if is_near else REACH_START
        reach = diagonal * first * (REACH_END / first) ** (index / max(1, rounds - 1))
        bound = max(2 * reach, LEAST_BOUND * diagonal)
        moved, other, normals = matches(state, source, target, count, bound)
        if len(moved) < MIN_PAIRS:
            break
        state = _step(moved, other, normals, reach).after(state)
    return state


def _step(
    moved: Float[Tensor, "n 3"], other: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"], reach: float
) -> Similarity:
    """The small similarity that brings pairs together along the normals, weighted least squares."""
    residual = ((other - moved) * normals).sum(1)
    near = residual.abs() < reach
    if bool(near.any()):
        reach = max(reach, REACH_SIGMAS * 1.4826 * float(residual[near].abs().median()))
    weight = tukey_weights((other - moved).norm(dim=1), 2 * reach) * tukey_weights(residual, reach)
    system = _Linearised(moved, normals, other.mean(0))
    return system.change(system.solve(weight, residual))


class _Linearised:
    """How distances along normals answer to a small similarity about a centre; turn and growth count as lengths."""

    def __init__(self, moved: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"], centre: Float[Tensor, " 3"]) -> None:
        self.centre = centre
        arms = moved - centre
        self.length = arms.norm(dim=1).mean().clamp_min(1e-12)
        growth = (arms * normals).sum(1, keepdim=True)
        self.rows = torch.cat([torch.linalg.cross(arms, normals) / self.length, normals, growth / self.length], 1)

    def normal_matrix(self, weight: Float[Tensor, " n"]) -> Float[Tensor, "7 7"]:
        return (self.rows * weight[:, None]).T @ self.rows

    def solve(self, weight: Float[Tensor, " n"], residual: Float[Tensor, " n"]) -> Float[Tensor, " 7"]:
        matrix = self.normal_matrix(weight)
        damping = (DAMPING * matrix.diagonal().mean() + 1e-30) * torch.eye(7, dtype=matrix.dtype)
        solution: Tensor = torch.linalg.solve(matrix + damping, self.rows.T @ (weight * residual))
        return solution

    def change(self, step: Float[Tensor, " 7"]) -> Similarity:
        """The similarity that a step stands for."""
        turn = frames.rotation_from_vector(step[:3] / self.length)
        growth = torch.exp((step[6] / self.length).clamp(-0.2, 0.2))
        return Similarity(growth, turn, self.centre + step[3:6] - growth * (turn @ self.centre))


def loosest_motions(
    state: Similarity, source: PointsWithTree, target: PointsWithTree, reach: float, count: int
) -> list[Callable[[float], Similarity]]:
    """The motions that the pairs resist least, as functions of a length: a box slides along itself, a bottle turns."""
    moved, other, normals = matches(state, source, target, count, reach)
    if len(moved) < MIN_PAIRS:
        return []
    system = _Linearised(moved, normals, other.mean(0))
    weight = tukey_weights((other - moved).norm(dim=1), reach)
    _, vectors = torch.linalg.eigh(system.normal_matrix(weight))

    def motion(direction: Float[Tensor, " 7"]) -> Callable[[float], Similarity]:
        return lambda length: system.change(length * direction).after(state)

    return [motion(vectors[:, index]) for index in range(LOOSE_COUNT)]


def matches(
    state: Similarity, source: PointsWithTree, target: PointsWithTree, count: int, bound: float
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Pairs in both directions.

    Returns:
        Moved source points, their partners on the target, and the target's normal there; pairs of surfaces that face
        apart, or that lie farther apart than ``bound``, are left out.
    """
    moved = state.apply(source.positions[:count])
    partner, is_near = target.nearest(moved, bound)
    theirs = target.positions[:count]
    back, is_back_near = source.nearest(state.inverse().apply(theirs), bound / float(state.scale))
    moved = torch.cat([moved, state.apply(source.positions[back])])
    other = torch.cat([target.positions[partner], theirs])
    normals = torch.cat([target.normals[partner], target.normals[:count]])
    own = state.turn(torch.cat([source.normals[:count], source.normals[back]]))
    agree = ((own * normals).sum(1) > 0) & torch.cat([is_near, is_back_near])
    return moved[agree], other[agree], normals[agree]


def tukey_weights(residual: Float[Tensor, " n"], reach: float) -> Float[Tensor, " n"]:
    """Tukey's biweight: 1 at zero, 0 from ``reach`` on."""
    return (1 - (residual / reach) ** 2).clamp_min(0) ** 2
