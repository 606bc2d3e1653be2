"""Every orientation is tried coarsely: many similarities at once, each matched and fitted again a few times."""

import itertools
import math
from dataclasses import dataclass

import torch

from recon import frames
from recon.arrays import Float, Tensor
from recon.registration.nearest import Lattice
from recon.registration.similarity import Similarity, fit_similarity

STAGES = ((64, 5, 200), (192, 10, 60))
"""Points of either surface, rounds of matching, and how many go on."""
KEPT_START, KEPT_END = 0.9, 0.65
"""Share of the pairs that a fit uses: wide while far away, then without what has no counterpart."""
MISSING_SHIFT, MISSING_SCALE = 0.45, 0.85
"""What a third of the surface that is cut off does to the middle (in mean distances from it) and to the scale."""
TURN_DEG = 45.0
"""Between a cube rotation and its extra seeds."""

LARGEST_RESIDUAL = 0.06
"""Of the diagonal: a pair farther apart has no counterpart and counts as this far."""


def cube_rotations() -> Float[Tensor, "24 3 3"]:
    """The rotations that map a cube to itself."""
    rotations = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = torch.zeros(3, 3)
            for row, (column, sign) in enumerate(zip(order, signs, strict=True)):
                matrix[row, column] = sign
            if torch.linalg.det(matrix) > 0:
                rotations.append(matrix)
    return torch.stack(rotations)


def seed_rotations() -> Float[Tensor, "r 3 3"]:
    """The cube's rotations, and each of them turned by 45 degrees about the eight diagonals."""
    axes = torch.tensor(list(itertools.product((1.0, -1.0), repeat=3))) / math.sqrt(3)
    extra = frames.rotation_from_vector(axes * math.radians(TURN_DEG))
    turns = torch.cat([torch.eye(3)[None], extra])
    return (cube_rotations()[:, None] @ turns[None]).flatten(0, 1)


def coarse_candidates(
    source: Float[Tensor, "n 3"], target: Float[Tensor, "m 3"], source_lattice: Lattice, target_lattice: Lattice
) -> tuple[Similarity, Float[Tensor, " r"]]:
    """Fit from every seed, the better ones longer.

    Args:
        source, target: All points of the lattices.
        source_lattice, target_lattice: Over them.

    Returns:
        Similarities and the mean truncated residual of each in diagonals of the target, best first.
    """
    surfaces = _Surfaces(source, target, source_lattice, target_lattice)
    state = _start(source, target)
    for points, rounds, kept_count in STAGES:
        for index in range(rounds):
            kept = KEPT_START + (KEPT_END - KEPT_START) * index / (rounds - 1)
            ours, theirs = surfaces.pairs(state, points)
            residual = (state.apply(ours) - theirs).norm(dim=-1)
            state = fit_similarity(ours, theirs, _trimmed(residual, kept))
        ours, theirs = surfaces.pairs(state, points)
        residual = (state.apply(ours) - theirs).norm(dim=-1) / surfaces.diagonal
        mean = residual.clamp_max(LARGEST_RESIDUAL).mean(-1)
        best = mean.argsort()[:kept_count]
        state, mean = state[best], mean[best]
    return state, mean


def _start(source: Float[Tensor, "n 3"], target: Float[Tensor, "m 3"]) -> Similarity:
    """Every seed rotation; the source's middle as it is, and as it would be if one of its sides were missing.

    Without a side the points spread less, so the scale from the spreads is too large; a missing side is restored in
    both respects.
    """
    rotations = seed_rotations().to(source)
    arms = source - source.mean(0)
    spread = arms.norm(dim=1).mean()
    shifts = torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)]).to(source) * MISSING_SHIFT * spread
    growth = torch.tensor([1.0] + [MISSING_SCALE] * 6).to(source)
    middle_target = target.mean(0)
    scale = (target - middle_target).norm(dim=1).mean() / spread * growth
    scale, rotations = scale.repeat(len(rotations)), rotations.repeat_interleave(len(shifts), 0)
    middles = (source.mean(0) + shifts).repeat(len(rotations) // len(shifts), 1)
    return Similarity(scale, rotations, middle_target - scale[:, None] * (rotations @ middles[..., None])[..., 0])


@dataclass(frozen=True)
class _Surfaces:
    source: Float[Tensor, "s 3"]
    target: Float[Tensor, "t 3"]
    source_lattice: Lattice
    target_lattice: Lattice

    @property
    def diagonal(self) -> float:
        return float((self.target.amax(0) - self.target.amin(0)).norm())

    def pairs(self, state: Similarity, count: int) -> tuple[Float[Tensor, "r p 3"], Float[Tensor, "r p 3"]]:
        """Nearest points in both directions: neither surface may hide in a part of the other."""
        batch = state.scale.shape[0]  # points come in random order, so the first ones are as good as any
        ours = self.source[:count].expand(batch, -1, -1)
        theirs = self.target[:count].expand(batch, -1, -1)
        for_ours = self.target[self.target_lattice.find(state.apply(ours))]
        for_theirs = self.source[self.source_lattice.find(state.inverse().apply(theirs))]
        return torch.cat([ours, for_theirs], 1), torch.cat([for_ours, theirs], 1)


def _trimmed(residual: Float[Tensor, "r p"], kept: float) -> Float[Tensor, "r p"]:
    """1 for the given share of the smallest residuals, in each half (direction) apart."""
    halves = residual.unflatten(1, (2, -1))
    limit = halves.kthvalue(max(3, int(kept * halves.shape[-1])), dim=-1, keepdim=True).values
    kept_mask: Tensor = halves <= limit
    return kept_mask.flatten(1).to(residual.dtype)
