"""Gauss-Newton steps for vertex displacements by conjugate gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch

from recon.arrays import Float, Int, Tensor
from recon.optimise.photo_terms import PhotometricTerm
from recon.optimise.terms import DepthTerm, OutlineTerm
from recon.replay import Recorded
from recon.scene import TriangleMesh
from recon.sums import SumsByPlace, sum_rows_at

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


class TermsOnMesh:
    """Derivatives of the terms by the vertices of one mesh."""

    def __init__(self, terms: Terms, mesh: TriangleMesh) -> None:
        count = mesh.positions_world.shape[0]
        self._depth, self._colour, self._outlines, self._faces = terms.depth, terms.colour, terms.outlines, mesh.faces
        self._at_corners = SumsByPlace(mesh.faces.T.reshape(-1), count)
        self._at_ends = [SumsByPlace(outline.ends.T.reshape(-1), count) for outline in terms.outlines]

    def add_products(self, result: Float[Tensor, "v 3"], step: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        """Add, in place, the second derivatives times a step."""
        depth, of_corners = self._depth, step[self._faces]
        if depth is not None:
            push = (depth.blocks @ (of_corners * depth.normals_world[:, None]).sum(2)[..., None])[..., 0]
            self._at_corners.add_to(result, (push.T[..., None] * depth.normals_world).flatten(0, 1))
        if self._colour is not None:
            drift = (self._colour.blocks @ of_corners.mean(1)[..., None])[..., 0] / 3
            self._at_corners.add_to(result, drift.repeat(3, 1))
        for outline, at_ends in zip(self._outlines, self._at_ends, strict=True):
            moved = ((step[outline.ends] * outline.shares[..., None]).sum(1) * outline.directions_world).sum(1)
            at_ends.add_to(result, _at_both_ends(outline, moved))
        return result

    def add_pulls(self, right: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        """Subtract, in place, the first derivatives."""
        if self._depth is not None:
            pull = self._depth.pulls.T[..., None] * self._depth.normals_world
            self._at_corners.add_to(right, -pull.flatten(0, 1))
        if self._colour is not None:
            self._at_corners.add_to(right, -(self._colour.pulls / 3).repeat(3, 1))
        for outline, at_ends in zip(self._outlines, self._at_ends, strict=True):
            at_ends.add_to(right, _at_both_ends(outline, -outline.residuals_m))
        return right

    def add_diagonal(self, diagonal: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        """Add, in place, the diagonal of the second derivatives."""
        if self._depth is not None:
            own = self._depth.blocks.diagonal(dim1=1, dim2=2).T[..., None] * self._depth.normals_world**2
            self._at_corners.add_to(diagonal, own.flatten(0, 1))
        if self._colour is not None:
            self._at_corners.add_to(diagonal, (self._colour.blocks.diagonal(dim1=1, dim2=2) / 9).repeat(3, 1))
        for outline, at_ends in zip(self._outlines, self._at_ends, strict=True):
            amount = (outline.weights[:, None] * outline.shares**2).T[..., None] * outline.directions_world**2
            at_ends.add_to(diagonal, amount.flatten(0, 1))
        return diagonal


def _at_both_ends(outline: OutlineTerm, amounts: Float[Tensor, " n"]) -> Float[Tensor, "m 3"]:
    """Weight * amount * direction for both ends of every outline sample."""
    push = (outline.weights * amounts)[:, None] * outline.directions_world
    return (outline.shares.T[..., None] * push).flatten(0, 1)


class Laplacian:
    """Difference between a vertex and the weighted mean of its neighbours; weights fall with edge length."""

    def __init__(self, positions_world: Float[Tensor, "v 3"], edges: Int[Tensor, "e 2"]) -> None:
        length_m = (positions_world[edges[:, 0]] - positions_world[edges[:, 1]]).norm(dim=1)
        weight = 1 / length_m.clamp_min(0.1 * float(length_m.mean()))
        self._at_ends = SumsByPlace(edges.T.reshape(-1), positions_world.shape[0])
        total = self._at_ends.of(weight.repeat(2))
        self._first, self._second = edges.unbind(1)
        self._forward = (weight / total[self._first])[:, None]
        self._backward = (weight / total[self._second])[:, None]

    def apply(self, values: Float[Tensor, "v c"]) -> Float[Tensor, "v c"]:
        return self._differences(values, self._forward, self._backward)

    def apply_transposed(self, values: Float[Tensor, "v c"]) -> Float[Tensor, "v c"]:
        return self._differences(values, self._backward, self._forward)

    def _differences(
        self, values: Float[Tensor, "v c"], of_second: Float[Tensor, "e 1"], of_first: Float[Tensor, "e 1"]
    ) -> Float[Tensor, "v c"]:
        """Values less, at the first end of every edge, a share of the second's, and the other way round."""
        shares = torch.cat([of_second * values[self._second], of_first * values[self._first]])
        return self._at_ends.add_to(values.clone(), -shares)

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
    on_mesh = TermsOnMesh(terms, mesh)
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
        return on_mesh.add_products(result, step)

    centred = mesh.positions_world - mesh.positions_world.mean(0)
    right = on_mesh.add_pulls(-bent(centred))
    diagonal = 1.3 * (stiffness + bending * normals**2)
    diagonal = diagonal + damping + smoothness.tangential * (1 - normals**2)
    return conjugate_gradients(hessian, right, on_mesh.add_diagonal(diagonal), iteration_count)


def _near_depth(mesh: TriangleMesh, laplacian: Laplacian, terms: Terms) -> Float[Tensor, "v 1"]:
    """1 where depth was measured and on gaps between, 0 farther away, where nothing resists the fairing."""
    if terms.depth is None:
        return torch.ones_like(mesh.positions_world[:, :1])
    is_measured = (terms.depth.blocks.diagonal(dim1=1, dim2=2) > 0).float()
    is_near = sum_rows_at(mesh.faces.T.reshape(-1), is_measured.T.reshape(-1, 1), mesh.positions_world.shape[0])
    for _ in range(GAP_RINGS):
        is_near = (2 * is_near - laplacian.apply(is_near) > 0).float()
    return is_near


def conjugate_gradients(
    operator: HessianProduct, right: Float[Tensor, "v 3"], diagonal: Float[Tensor, "v 3"], iteration_count: int
) -> Float[Tensor, "v 3"]:
    """Jacobi-preconditioned conjugate gradients from zero."""
    return conjugate_gradient_solver(operator, diagonal, iteration_count)(right)


def conjugate_gradient_solver(
    operator: HessianProduct, diagonal: Float[Tensor, "v 3"], iteration_count: int
) -> Callable[[Float[Tensor, "v 3"]], Float[Tensor, "v 3"]]:
    """The same for any number of right sides; what is recorded on a GPU lives as long as the solver does."""
    solution, residual, direction = (torch.zeros_like(diagonal) for _ in range(3))
    energy = diagonal.new_zeros(())

    def iterate() -> None:
        product = operator(direction)
        length = energy / (direction * product).sum().clamp_min(1e-30)
        solution.add_(length * direction)
        residual.sub_(length * product)
        conditioned = residual / diagonal
        next_energy = (residual * conditioned).sum()
        direction.copy_(conditioned + (next_energy / energy.clamp_min(1e-30)) * direction)
        energy.copy_(next_energy)

    recorded = Recorded(iterate, diagonal.device)

    def solve(right: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        solution.zero_()
        residual.copy_(right)
        direction.copy_(right / diagonal)
        energy.copy_((residual * direction).sum())
        recorded(iteration_count)
        return solution.clone()

    return solve
