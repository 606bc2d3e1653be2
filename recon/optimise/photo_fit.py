"""Bend a mesh to photographs: where no depth measured it, or where they were not made with its depths or one another.

In the second case no rigid surface shows them all.  The mesh is displaced, smoothly and no more than they ask, until
the outlines meet and the photographs that see one place show one colour there: coarse to fine in blur and stiffness,
Gauss-Newton on the displacement itself, so that the measured shape is kept wherever nobody objects.  What is left goes
by the pictures themselves (``photo_descent``).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from recon.arrays import Bool, Float, Tensor
from recon.errors import Diverged
from recon.observations import Observations, observe
from recon.optimise.photo_descent import DescentOptions, descend_to_photographs
from recon.optimise.photo_terms import (
    PhotometricTerm,
    blurred_layers,
    contour_px,
    photometric_term,
    reaching_term,
    resampled,
)
from recon.optimise.solver import Laplacian, Terms, TermsOnMesh, conjugate_gradients
from recon.optimise.terms import OutlineTerm, outline_term
from recon.raster import Fragments, Rasterizer
from recon.remesh import find_edges
from recon.scene import CameraBatch, Capture, TexturedMesh, TriangleMesh, View

_GRID_PX = 512
"""Longer side of the photographs while fitting: their disagreement is larger than its pixels."""


@dataclass(frozen=True)
class _Level:
    """One level of the way from coarse to fine.

    Attributes:
        blur_px, reach_px: Blur of the photographs and reach of the outlines, on a grid of ``_GRID_PX``.
        stiffness: Weight of the displacement's Laplacian.
        step_count: Gauss-Newton steps.
    """

    blur_px: float
    reach_px: float
    stiffness: float
    step_count: int

    def on_grid(self, side_px: int) -> "_Level":
        """The same shares of a smaller picture, as far as pixels allow."""
        scale = side_px / _GRID_PX
        return replace(
            self,
            blur_px=max(scale * self.blur_px, _LEAST_BLUR_PX),
            reach_px=max(scale * self.reach_px, _LEAST_REACH_PX),
        )


_LEVELS = (_Level(8.0, 12.0, 30.0, 6), _Level(5.0, 8.0, 10.0, 6), _Level(3.0, 6.0, 3.0, 6), _Level(1.5, 4.0, 1.0, 6))
_COLOUR_WEIGHT, _OUTLINE_WEIGHT, _REACHING_WEIGHT, _HOLD = 450.0, 10.0, 0.5, 1e-3
"""Of colour (squared, per pixel of displacement), of the two outline terms, and against any displacement at all.
Chosen on the capture of a sneaker at 512 pixels (23.0 dB): 22.7 without the reaching term, 22.7 with three times as
much colour and twice the outlines, 22.9 with another level of one pixel's blur."""
_KEEP = 1e4
"""Against moving a vertex that a depth image measured, where that is asked."""
_LEAST_BLUR_PX, _LEAST_REACH_PX = 0.7, 3.0
_LONGEST_STEP = 1.5
"""A step moves no vertex farther than this many blurs: the slopes of the picture hold no farther."""
_BENDING_SHARE = 0.3
"""Of the work, before the descent."""
THROWAWAY_TEXTURE_PX = 512
"""Side of the texture for the descent: with more texels each photograph would be repeated by texels of its own."""
Paint = Callable[[TriangleMesh, Capture], TexturedMesh]
"""Colours a mesh from the photographs of a capture, with about ``THROWAWAY_TEXTURE_PX`` squared texels."""


@dataclass(frozen=True)
class PhotoFit:
    """A mesh bent to photographs and what that took.

    Attributes:
        mesh: The bent mesh; the same faces.
        moved_mean, moved_p90: How far the surface moved along its normals, in shares of the mesh's diagonal; vertices
            that slide along it change no shape.
        moved_by_view: Mean over what each view shows, by the view's name.
        difference_before, difference_after: Root mean square colour difference between photographs of one place.
        bend_history: Before each Gauss-Newton step, ``bend_colour``: that difference, as blurred as the level asks, and
            ``bend_outline_m``: the robust mean distance of the outlines, metres.
        descent_history: ``descent_colour``: the difference of picture and photographs, at each step.
    """

    mesh: TriangleMesh
    moved_mean: float
    moved_p90: float
    moved_by_view: dict[str, float]
    difference_before: float
    difference_after: float
    bend_history: tuple[dict[str, float], ...]
    descent_history: tuple[dict[str, float], ...]

    def facts(self) -> dict[str, float | int | str | bool]:
        """The numbers for the report, displacements in percent of the diagonal."""
        by_view = {f"photo_fit_moved_percent_{name}": 100 * moved for name, moved in self.moved_by_view.items()}
        return {
            "photo_fit_moved_percent_mean": 100 * self.moved_mean,
            "photo_fit_moved_percent_p90": 100 * self.moved_p90,
            "photo_fit_colour_difference_before": self.difference_before,
            "photo_fit_colour_difference_after": self.difference_after,
            **by_view,
        }

    def warning(self) -> str:
        """What the user should know, in one sentence."""
        most = sorted(self.moved_by_view, key=lambda name: -self.moved_by_view[name])[:2]
        where = " and ".join(f"{name} ({self.moved_by_view[name]:.1%})" for name in most)
        return (
            f"The mesh was bent to follow photographs that disagree with the depths and with one another: its surface "
            f"moved by {self.moved_mean:.1%} of its size (90 % of it by less than {self.moved_p90:.1%}), most in what "
            f"{where} shows. Where photographs overlap their colours differed by {self.difference_before:.2f} of the "
            f'range and still differ by {self.difference_after:.2f}. fit = "depth" keeps the measured shape.'
        )


def fit_to_photographs(
    mesh: TriangleMesh,
    capture: Capture,
    raster: Rasterizer,
    paint: Paint,
    on_step: Callable[[float], None],
    is_kept: Bool[Tensor, " v"] | None = None,
) -> PhotoFit:
    """Bend a closed mesh to the photographs of a capture.

    Args:
        mesh: Near the truth, on the raster's device.
        capture: Every view has a camera; outlines and cameras are the photographs' own.
        raster: Draws the mesh.
        paint: The texture stage, for a throw-away texture.
        on_step: Told the share of the work that is done; may raise to stop.
        is_kept: Vertices that stay where they are, as near as smoothness allows; None lets all move.

    Raises:
        Diverged: A position is not finite.
    """
    device = mesh.positions_world.device
    views = tuple(_shrunk(view.photographed()) for view in capture.views)
    small = replace(capture, views=views)
    observations = _with_pixel_on(mesh, observe(small, device, "off"))
    kept = mesh.positions_world.new_zeros(mesh.positions_world.shape[0]) if is_kept is None else is_kept.float()
    problem = _Problem(mesh, observations, [contour_px(view) for view in views], _HOLD + _KEEP * kept[:, None])
    levels = [level.on_grid(max(views[0].height_px, views[0].width_px)) for level in _LEVELS]
    bent, total = mesh, sum(level.step_count for level in levels)
    bend_history: list[dict[str, float]] = []
    with torch.no_grad():
        finest = blurred_layers(views, levels[-1].blur_px, device)
        before = problem.photometric(mesh, finest, raster).difference
        for level in levels:
            layers = blurred_layers(views, level.blur_px, device)
            for _ in range(level.step_count):
                on_step(_BENDING_SHARE * len(bend_history) / total)
                bent, terms = problem.stepped(bent, layers, level, raster)
                bend_history.append(terms)
        painted = paint(bent, small)

    def descended(fraction: float) -> None:
        on_step(_BENDING_SHARE + (1 - _BENDING_SHARE) * fraction)

    options = DescentOptions(is_kept=is_kept, photographs_disagree=capture.photographs_disagree)
    descent = descend_to_photographs(painted, views, raster, descended, options)
    with torch.no_grad():
        after = problem.photometric(descent.mesh, finest, raster).difference
    moved_mean, moved_p90, moved_by_view = _movement(mesh, descent.mesh, views, observations.cameras, raster)
    descent_history = tuple({"descent_colour": colour} for colour in descent.colour_differences)
    return PhotoFit(
        descent.mesh, moved_mean, moved_p90, moved_by_view, before, after, tuple(bend_history), descent_history
    )


class _Problem:
    """What stays the same over all steps."""

    def __init__(
        self,
        mesh: TriangleMesh,
        observations: Observations,
        contours_px: list[Float[Tensor, "_n 2"]],
        hold: Float[Tensor, "v 1"],
    ) -> None:
        self._start, self._edges, self._contours_px, self._hold = mesh, find_edges(mesh.faces), contours_px, hold
        self.observations = observations
        self._laplacian = Laplacian(mesh.positions_world, self._edges.vertices)

    def photometric(self, mesh: TriangleMesh, layers: Float[Tensor, "k 10 h w"], raster: Rasterizer) -> PhotometricTerm:
        """The colour term alone."""
        cameras = self.observations.cameras
        fragments = raster.rasterize(mesh.positions_world, mesh.faces, cameras)
        return photometric_term(mesh, fragments, cameras, layers, raster)

    def stepped(
        self, mesh: TriangleMesh, layers: Float[Tensor, "k 10 h w"], level: _Level, raster: Rasterizer
    ) -> tuple[TriangleMesh, dict[str, float]]:
        """One Gauss-Newton step from a partly bent mesh, and what was left to do before it."""
        cameras, pixel_m = self.observations.cameras, self.observations.pixel_m
        fragments = raster.rasterize(mesh.positions_world, mesh.faces, cameras)
        colour = photometric_term(mesh, fragments, cameras, layers, raster)
        weight = _COLOUR_WEIGHT * pixel_m**2
        colour = replace(colour, blocks=weight * colour.blocks, pulls=weight * colour.pulls)
        terms = Terms(outlines=self._outlines(mesh, fragments, level, pixel_m), colour=colour)
        step = self._solved(mesh, terms, level.stiffness)
        if not bool(torch.isfinite(step).all()):
            raise Diverged("Bending the mesh to the photographs produced positions that are not finite.")
        longest = _LONGEST_STEP * pixel_m * max(level.blur_px, 2.0)
        length = step.norm(dim=1, keepdim=True).clamp_min(1e-12)
        remaining = {"bend_colour": colour.difference, "bend_outline_m": sum(term.cost for term in terms.outlines)}
        return TriangleMesh(mesh.positions_world + step * (longest / length).clamp_max(1), mesh.faces), remaining

    def _outlines(
        self, mesh: TriangleMesh, fragments: Fragments, level: _Level, pixel_m: float
    ) -> tuple[OutlineTerm, ...]:
        pulling = outline_term(mesh, self._edges, fragments, self.observations, level.reach_px * pixel_m)
        reaching = reaching_term(
            mesh, self._edges, fragments, self.observations.cameras, self._contours_px, level.reach_px
        )
        return (
            replace(pulling, weights=_OUTLINE_WEIGHT * pulling.weights),
            replace(reaching, weights=_REACHING_WEIGHT * reaching.weights),
        )

    def _solved(self, mesh: TriangleMesh, terms: Terms, stiffness: float) -> Float[Tensor, "v 3"]:
        """The step that minimises the linearised terms plus what the whole displacement costs."""
        laplacian, on_mesh, hold = self._laplacian, TermsOnMesh(terms, mesh), self._hold

        def hessian(step: Float[Tensor, "v 3"]) -> Float[Tensor, "v 3"]:
            return on_mesh.add_products(stiffness * laplacian.squared(step) + hold * step, step)

        displacement = mesh.positions_world - self._start.positions_world
        right = on_mesh.add_pulls(-stiffness * laplacian.squared(displacement) - hold * displacement)
        diagonal = on_mesh.add_diagonal(1.3 * stiffness + hold + torch.zeros_like(right))
        return conjugate_gradients(hessian, right, diagonal, 40)


def _with_pixel_on(mesh: TriangleMesh, observations: Observations) -> Observations:
    """Without depth, a pixel's width is known from the mesh."""
    cameras = observations.cameras
    depth_z = cameras.project(mesh.positions_world)[1]
    return replace(observations, pixel_m=float((depth_z / cameras.focal_px[:, :1]).median()))


def _shrunk(view: View) -> View:
    """The photograph and its outline on the grid for fitting."""
    scale = min(1.0, _GRID_PX / max(view.height_px, view.width_px))
    size = (round(view.height_px * scale), round(view.width_px * scale))
    camera = view.posed_camera
    resized = replace(camera, intrinsics=camera.intrinsics.resized(size[1], size[0]))
    return replace(resampled(view, size), camera=resized)


def _movement(
    mesh: TriangleMesh, bent: TriangleMesh, views: tuple[View, ...], cameras: CameraBatch, raster: Rasterizer
) -> tuple[float, float, dict[str, float]]:
    """How far the surface moved along its normals, in shares of the diagonal: mean, 90th percentile, mean by view."""
    displacement = bent.positions_world - mesh.positions_world
    moved = (displacement * mesh.vertex_normals()).sum(1).abs() / mesh.diagonal_m()
    fragments = raster.rasterize(bent.positions_world, bent.faces, cameras)
    by_view = {}
    for view, face_index in zip(views, fragments.face_index, strict=True):
        seen = face_index[face_index >= 0].unique()
        by_view[view.name] = float(moved[bent.faces[seen]].mean()) if len(seen) else 0.0
    return float(moved.mean()), float(moved.quantile(0.9)), by_view
