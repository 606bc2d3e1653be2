"""Descend on what remains between the drawn mesh and the photographs.

Shape and a throw-away texture are drawn together, and both follow the gradient of the pictures' difference, outlines
included (Munkberg et al. 2022).  The shape follows through a smooth displacement, so that neighbours move together and
nothing crumples (Nicolet et al. 2021).  A step moves by a fraction of a pixel: the mesh must be near already.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse import linalg
from torch.nn import functional

from recon.arrays import Bool, Float, Tensor
from recon.errors import Diverged
from recon.optimise.solver import conjugate_gradient_solver
from recon.raster import Rasterizer
from recon.remesh import find_edges
from recon.scene import CameraBatch, TexturedMesh, TriangleMesh, View, batch_cameras
from recon.sums import SparseMatrix

STEP_COUNT = 120
_STIFFNESS = 10.0
"""Of the displacement's Laplacian, in edges.  On the capture of a sneaker pictures repeat at 23.9 dB with 20 and 24.3
with 10 on two cores, 24.8 and 25.0 on a GPU."""
_STEP_PX, _TEXTURE_STEP = 0.1, 0.005
"""Length of a step where the gradient is large, in pixels and in sRGB; 0.3 pixels scattered the vertices."""
_LAST_SHARE, _WARM_UP = 0.05, 5
"""Steps shrink to this share along a cosine; the first few grow, until the gradients' size is known."""
_MOMENTUM, _MEMORY = 0.9, 0.99
_LARGE_QUANTILE, _LONGEST = 0.95, 3.0
_KEEP = 100.0
"""Against moving a vertex that is to stay, beside the 1 of all others."""
_SPREAD_ITERATIONS = 80
_VIEWS_PER_STEP = 8
"""Of many photographs every step draws some, which bounds memory."""


@dataclass(frozen=True)
class DescentOptions:
    """What else a descent is told.

    Attributes:
        step_count: Gradient steps.
        is_kept: Vertices that stay where they are, as near as smoothness allows; None lets all move.
        photographs_disagree: Then squares of the differences are lowered, since no shape meets all of them; otherwise
            magnitudes, which do not follow the few that are large: reflections, and what is not yet where it belongs.
    """

    step_count: int = STEP_COUNT
    is_kept: Bool[Tensor, " v"] | None = None
    photographs_disagree: bool = False


@dataclass(frozen=True)
class Descent:
    """A mesh at the end of its descent.

    Attributes:
        mesh: The same faces as at the start.
        colour_differences: At each step, of the picture and the photographs (sRGB, 0..1): mean magnitude, or root mean
            square where the photographs disagree.
    """

    mesh: TriangleMesh
    colour_differences: tuple[float, ...]


def descend_to_photographs(
    textured: TexturedMesh,
    views: tuple[View, ...],
    raster: Rasterizer,
    on_step: Callable[[float], None],
    options: DescentOptions = DescentOptions(),
) -> Descent:
    """Move the vertices of a nearly right mesh to where its picture is most like the photographs.

    Args:
        textured: On the raster's device, coloured from the same photographs with about a texel a pixel.
        views: Posed photographs of one size with their outlines.
        raster: Draws the mesh; gradients pass through its interpolation and antialiasing.
        on_step: Told the share of the work that is done; may raise to stop.
        options: Steps, what stays, and what is lowered.

    Raises:
        Diverged: A position, or a difference, is not finite.
    """
    start = textured.mesh.positions_world
    pictures = _Pictures(views, start.device, 2 if options.photographs_disagree else 1)
    kept = start.new_zeros(start.shape[0]) if options.is_kept is None else options.is_kept.to(start)
    spread = _Spread(textured.mesh, 1 + _KEEP * kept)
    pixel_m = pictures.pixel_m(start)
    force = torch.zeros_like(start, requires_grad=True)
    texture = textured.texture_srgb.detach().clone().requires_grad_(True)
    painter = torch.optim.Adam([texture], lr=_TEXTURE_STEP)
    mover = _Mover(force, _STEP_PX * pixel_m * (1 + _STIFFNESS))
    differences = start.new_zeros(options.step_count)
    for index in range(options.step_count):
        on_step(index / options.step_count)
        positions = start + spread(force)
        difference = pictures.difference(replace(textured, texture_srgb=texture), positions, raster)
        difference.backward()
        differences[index] = difference.detach()
        mover.step(index, options.step_count)
        painter.step()
        painter.zero_grad()
        with torch.no_grad():
            texture.clamp_(0, 1)
    with torch.no_grad():
        positions = start + spread(force)
    if not bool(torch.isfinite(positions).all() & torch.isfinite(differences).all()):
        raise Diverged("Following the photographs produced positions that are not finite.")
    colour_differences = differences ** (1 / pictures.power)
    return Descent(TriangleMesh(positions, textured.mesh.faces), tuple(colour_differences.tolist()))


class _Mover:
    """Adam with one length for all (Nicolet et al. 2021), set by the large gradients and bounded for the largest."""

    def __init__(self, force: Float[Tensor, "v 3"], length: float) -> None:
        self._force, self._length = force, length
        self._mean, self._square = torch.zeros_like(force), 0.0

    @torch.no_grad()
    def step(self, index: int, step_count: int) -> None:
        gradient = self._force.grad
        assert gradient is not None
        large = float((gradient**2).sum(1).quantile(_LARGE_QUANTILE))
        self._mean = _MOMENTUM * self._mean + (1 - _MOMENTUM) * gradient
        self._square = _MEMORY * self._square + (1 - _MEMORY) * large
        size = math.sqrt(self._square / (1 - _MEMORY ** (index + 1))) + 1e-20
        move = self._mean / (1 - _MOMENTUM ** (index + 1)) / size
        cosine = 0.5 * (1 + math.cos(math.pi * index / step_count))
        share = (_LAST_SHARE + (1 - _LAST_SHARE) * cosine) * min(1.0, (index + 1) / _WARM_UP)
        longest = _LONGEST / move.norm(dim=1, keepdim=True).clamp_min(_LONGEST)
        self._force -= self._length * share * longest * move
        self._force.grad = None


class _Pictures:
    """The photographs on white, and how far a drawn mesh is from them in this power of the differences."""

    def __init__(self, views: tuple[View, ...], device: torch.device, power: int) -> None:
        self.power = power
        height_px, width_px = views[0].image_srgb.shape[:2]
        self._cameras = batch_cameras([view.posed_camera for view in views], int(height_px), int(width_px), device)
        alpha = torch.stack([view.foreground_alpha for view in views])[..., None].to(device)
        image_srgb = torch.stack([view.image_srgb for view in views]).to(device)
        self._photographs = torch.cat([image_srgb * alpha + 1 - alpha, alpha], -1)
        self._generator = torch.Generator().manual_seed(0)

    def pixel_m(self, positions_world: Float[Tensor, "v 3"]) -> float:
        """A pixel's width on the object."""
        depth_z = self._cameras.project(positions_world)[1]
        return float((depth_z / self._cameras.focal_px[:, :1]).median())

    def difference(
        self, textured: TexturedMesh, positions_world: Float[Tensor, "v 3"], raster: Rasterizer
    ) -> Float[Tensor, ""]:
        """Mean over the views of their mean difference, to the power, on the object's own pixels.

        Every drawing looks through other places of the pixels: a texture cannot learn what single rays meet.
        """
        chosen = torch.randperm(self._cameras.count, generator=self._generator)[:_VIEWS_PER_STEP]
        offset_px = (torch.rand(len(chosen), 2, generator=self._generator) - 0.5).to(positions_world)
        cameras = _selected(self._cameras, chosen.to(positions_world.device), offset_px)
        drawn = _drawn_on_white(textured, positions_world, cameras, raster)
        photographs = _moved(self._photographs[chosen.to(self._photographs.device)], offset_px)
        raised = pixel_differences(drawn[..., :3], photographs[..., :3], self.power)
        own = (drawn[..., 3] > 0.5) | (photographs[..., 3] > 0.5)
        mean: Tensor = raised.sum((1, 2)) / own.sum((1, 2)).clamp_min(1)
        return mean.mean()


def pixel_differences(
    drawn_srgb: Float[Tensor, "k h w 3"], photographs_srgb: Float[Tensor, "k h w 3"], power: int
) -> Float[Tensor, "k h w"]:
    """Mean over the channels, to the power."""
    return ((drawn_srgb - photographs_srgb).abs() ** power).mean(-1)


def _selected(cameras: CameraBatch, chosen: Tensor, offset_px: Float[Tensor, "k 2"]) -> CameraBatch:
    return replace(
        cameras,
        camera_from_world=cameras.camera_from_world[chosen],
        focal_px=cameras.focal_px[chosen],
        principal_px=cameras.principal_px[chosen] + offset_px,
    )


def _drawn_on_white(
    textured: TexturedMesh, positions_world: Float[Tensor, "v 3"], cameras: CameraBatch, raster: Rasterizer
) -> Float[Tensor, "k h w 4"]:
    """Colours on white and coverage; differentiable in the texture and the positions."""
    faces = textured.mesh.faces
    fragments = raster.rasterize(positions_world, faces, cameras)
    uv = raster.interpolate(textured.uv, textured.face_uv, fragments)
    colours = raster.sample_texture(textured.texture_srgb, uv, fragments.hit_mask)
    cover = fragments.hit_mask[..., None].to(colours)
    drawn = raster.antialias(torch.cat([colours * cover, cover], -1), fragments, positions_world, faces, cameras)
    return torch.cat([drawn[..., :3] + 1 - drawn[..., 3:], drawn[..., 3:]], -1)


def _moved(pictures: Float[Tensor, "k h w 4"], offset_px: Float[Tensor, "k 2"]) -> Float[Tensor, "k h w 4"]:
    """Pictures moved by a part of a pixel."""
    height, width = pictures.shape[1:3]
    size_px = offset_px.new_tensor([width, height])
    shift = torch.eye(2, 3, device=offset_px.device, dtype=offset_px.dtype).repeat(len(offset_px), 1, 1)
    shift[:, :, 2] = -2 * offset_px / size_px
    grid = functional.affine_grid(shift, [len(pictures), 4, height, width], align_corners=False)
    moved = functional.grid_sample(pictures.movedim(-1, 1), grid, padding_mode="border", align_corners=False)
    return moved.movedim(1, -1)


class _Spread:
    """Smooth displacements from forces on vertices: solves (hold + stiffness * Laplacian) displacement = force."""

    def __init__(self, mesh: TriangleMesh, hold: Float[Tensor, " v"]) -> None:
        on_gpu = mesh.faces.device.type != "cpu"
        self._solve = iterated_spread(mesh, hold) if on_gpu else factorised_spread(mesh, hold)

    def __call__(self, force: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        spread: Tensor = _SymmetricSolve.apply(force, self._solve)  # type: ignore[no-untyped-call]
        return spread


def factorised_spread(
    mesh: TriangleMesh, hold: Float[Tensor, " v"]
) -> Callable[[Float[Tensor, "v 3"]], Float[Tensor, "v 3"]]:
    """Displacements from forces, by factors of the matrix: the fastest on a CPU."""
    first, second = find_edges(mesh.faces).vertices.cpu().numpy().T
    count = mesh.positions_world.shape[0]
    ends = np.concatenate([first, second]), np.concatenate([second, first])
    beside = sparse.csc_array((np.ones(len(ends[0])), ends), shape=(count, count))
    degree = sparse.diags_array(hold.cpu().double().numpy() + _STIFFNESS * beside.sum(1))
    factors = linalg.splu(sparse.csc_array(degree - _STIFFNESS * beside))

    def spread(force: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
        return torch.from_numpy(factors.solve(force.detach().cpu().double().numpy())).to(force)

    return spread


def iterated_spread(
    mesh: TriangleMesh, hold: Float[Tensor, " v"]
) -> Callable[[Float[Tensor, "v 3"]], Float[Tensor, "v 3"]]:
    """The same by conjugate gradients, to a ten-thousandth: on a GPU in a tenth of the time."""
    ends = find_edges(mesh.faces).vertices
    row, order = torch.sort(torch.cat([ends[:, 0], ends[:, 1]]), stable=True)
    count = mesh.positions_world.shape[0]
    weight = torch.full_like(row, _STIFFNESS, dtype=mesh.positions_world.dtype)
    beside = SparseMatrix(row, torch.cat([ends[:, 1], ends[:, 0]])[order], weight, (count, count))
    diagonal = hold[:, None] + beside @ torch.ones_like(mesh.positions_world)
    return conjugate_gradient_solver(lambda step: diagonal * step - beside @ step, diagonal, _SPREAD_ITERATIONS)


class _SymmetricSolve(torch.autograd.Function):
    """A linear solve whose matrix is its own transpose: the gradient takes the same way back."""

    @staticmethod
    def forward(ctx: Any, right: Tensor, solve: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.solve = solve
        return solve(right)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.solve(gradient), None
