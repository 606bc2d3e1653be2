"""Gauss-Newton steps for vertex displacements by conjugate gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch

from recon.arrays import Float, Int, Tensor
from recon.optimise.photo_terms import PhotometricTerm
from recon.optimise.terms import DepthTerm, OutlineTerm
from recon.replay import repeat
from recon.scene import TriangleMesh

GAP_RINGS = 3
"""So many rings of neighbours around measured faces are faired like them."""

UNSEEN_DAMPING = 0.024
"""Share of the bending's weight that holds the surface farther away: the square of the Laplacian's eigenvalue for waves
of eight edges, so that shorter ones are faired and the shape stays."""

HessianProduct: TypeAlias = Callable[[Float[Tensor, "v 3"]], Float[Tensor, "v 3"]]


@dataclass(frozen=True)
class Smoothness:
    """Weights of the regulariser, in units of one pixel's weight.

    Attributes:
        displacement: On the squared Laplacian of the step: how stiffly neighbours move together (no shrinkage).
        bending: On the squared Laplacian of the shape itself along its normals: fairs what the data leave rough.
        damping: On the squared length of the step.
        tangential: On its squared length along the surface, where the data say little and faces would fold.
    """

    displacement: float
    bending: float
    damping: float
    tangential: float


@dataclass(frozen=True)
class Terms:
    """What the data ask of a mesh, linearised at its present shape; what is left out asks nothing."""

    depth: DepthTerm | None = None
    outlines: tuple[OutlineTerm, ...] = ()
    colour: PhotometricTerm | None = None

    def add_products(
        self, result: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"], step: Float[Tensor, "v 3"]
    ) -> Float[Tensor, "v 3"]:
        """Add, in place, the second derivatives times a step."""
        depth, of_corners = self.depth, step[faces]
        if depth is not None:
            push = (depth.blocks @ (of_corners * depth.normals_world[:, None]).sum(2)[..., None])[..., 0]
            for corner in range(3):
                result.index_add_(0, faces[:, corner], push[:, corner, None] * depth.normals_world)
        if self.colour is not None:
            drift = (self.colour.blocks @ of_corners.mean(1)[..., None])[..., 0] / 3
            for corner in range(3):
                result.index_add_(0, faces[:, corner], drift)
        for outline in self.outlines:
            moved = ((step[outline.ends] * outline.shares[..., None]).sum(1) * outline.directions_world).sum(1)
            _scatter_outline(result, outline, moved)
        return result

    def add_pulls(self, right: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "v 3"]:
        """Subtract, in place, the first derivatives."""
        for corner in range(3):
            if self.depth is not None:
                pull = self.depth.pulls[:, corner, None] * self.depth.normals_world
                right.index_add_(0, faces[:, corner], -pull)
            if self.colour is not None:
                right.index_add_(0, faces[:, corner], -self.colour.pulls / 3)
        for outline in self.outlines:
            _scatter_outline(right, outline, -outline.residuals_m)
        return right

    def add_diagonal(self, diagonal: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "v 3"]:
        """Add, in place, the diagonal of the second derivatives."""
        for corner in range(3):
            if self.depth is not None:
                own = self.depth.blocks[:, corner, corner, None] * self.depth.normals_world**2
                diagonal.index_add_(0, faces[:, corner], own)
            if self.colour is not None:
                diagonal.index_add_(0, faces[:, corner], self.colour.blocks.diagonal(dim1=1, dim2=2) / 9)
        for outline in self.outlines:
            for end in range(2):
                amount = (outline.weights * outline.shares[:, end] ** 2)[:, None] * outline.directions_world**2
                diagonal.index_add_(0, outline.ends[:, end], amount)
        return diagonal


class Laplacian:
    """Difference between a vertex and the weighted mean of its neighbours; weights fall with edge length."""

    def __init__(self, positions_world: Float[Tensor, "v 3"], edges: Int[Tensor, "e 2"]) -> None:
        length_m = (positions_world[edges[:, 0]] - positions_world[edges[:, 1]]).norm(dim=1)
        weight = 1 / length_m.clamp_min(0.1 * float(length_m.mean()))
        total = torch.zeros(positions_world.shape[0], device=weight.device)
        total.index_add_(0, edges[:, 0], weight).index_add_(0, edges[:, 1], weight)
        self._first, self._second = edges.unbind(1)
        self._forward = (weight / total[self._first])[:, None]
        self._backward = (weight / total[self._second])[:, None]

    def apply(self, values: Float[Tensor, "v c"]) -> Float[Tensor, "v c"]:
        result = values.clone()
        result.index_add_(0, self._first, -self._forward * values[self._second])
        return result.index_add_(0, self._second, -self._backward * values[self._first])

    def apply_transposed(self, values: Float[Tensor, "v c"]) -> Float[Tensor, "v c"]:
        result = values.clone()
        result.index_add_(0, self._second, -self._forward * values[self._first])
        return result.index_add_(0, self._first, -self._backward * values[self._second])

    def squared(self, values: Float[Tensor, "v c"]) -> Float[Tensor, "v c"]:
        return self.apply_transposed(self.apply(values))


def solve_step(
    mesh: TriangleMesh,
    laplacian: Laplacian,
    terms: Terms,
    smoothness: Smoothness,
    iteration_count: int = 40,
) -> Float[Tensor, "v 3"]:
    """The displacement that minimises the linearised terms plus the regulariser."""
    normals, stiffness, bending = mesh.vertex_normals(), smoothness.displacement, smoothness.bending
    damping = smoothness.damping + UNSEEN_DAMPING * bending * (1 - _near_depth(mesh, laplacian, terms))

    def along_normals(vectors: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        return (vectors * normals).sum(1, keepdim=True) * normals

    def bent(positions: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        return bending * laplacian.apply_transposed(along_normals(laplacian.apply(positions)))

    def hessian(step: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        result = stiffness * laplacian.squared(step) + damping * step
        result = result + smoothness.tangential * (step - along_normals(step))
        if bending:
            result = result + bent(step)
        return terms.add_products(result, mesh.faces, step)

    centred = mesh.positions_world - mesh.positions_world.mean(0)
    right = terms.add_pulls(-bent(centred), mesh.faces)
    diagonal = 1.3 * (stiffness + bending * normals**2)
    diagonal = diagonal + damping + smoothness.tangential * (1 - normals**2)
    return conjugate_gradients(hessian, right, terms.add_diagonal(diagonal, mesh.faces), iteration_count)


def _near_depth(mesh: TriangleMesh, laplacian: Laplacian, terms: Terms) -> Float[Tensor, "v 1"]:
    """1 where depth was measured and on gaps between, 0 farther away, where nothing resists the fairing."""
    is_near = torch.zeros_like(mesh.positions_world[:, :1])
    if terms.depth is None:
        return is_near + 1
    is_measured = (terms.depth.blocks.diagonal(dim1=1, dim2=2) > 0).float()
    for corner in range(3):
        is_near.index_add_(0, mesh.faces[:, corner], is_measured[:, corner, None])
    for _ in range(GAP_RINGS):
        is_near = (2 * is_near - laplacian.apply(is_near) > 0).float()
    return is_near


def _scatter_outline(result: Float[Tensor, "v 3"], outline: OutlineTerm, amounts: Float[Tensor, " n"]) -> None:
    """Add weight * amount * direction to both ends of every outline sample."""
    push = (outline.weights * amounts)[:, None] * outline.directions_world
    for end in range(2):
        result.index_add_(0, outline.ends[:, end], outline.shares[:, end, None] * push)


def conjugate_gradients(
    operator: HessianProduct, right: Float[Tensor, "v 3"], diagonal: Float[Tensor, "v 3"], iteration_count: int
) -> Float[Tensor, "v 3"]:
    """Jacobi-preconditioned conjugate gradients from zero."""
    solution, residual = torch.zeros_like(right), right.clone()
    direction = residual / diagonal
    energy = (residual * direction).sum()

    def iterate() -> None:
        product = operator(direction)
        length = energy / (direction * product).sum().clamp_min(1e-30)
        solution.add_(length * direction)
        residual.sub_(length * product)
        conditioned = residual / diagonal
        next_energy = (residual * conditioned).sum()
        direction.copy_(conditioned + (next_energy / energy.clamp_min(1e-30)) * direction)
        energy.copy_(next_energy)

    repeat(iterate, iteration_count, right.device)
    return solution
