"""Bending a mesh to photographs: outlines meet, colours agree, and what nobody objects to stays."""

from dataclasses import replace

import pytest
import torch

import geometry_scenes
import texture_scenes
from recon.optimise import PhotoFit, fit_to_photographs, photo_fit
from recon.optimise.photo_descent import STEP_COUNT, Descent, DescentOptions
from recon.optimise.photo_terms import blurred_layers, contour_px, photometric_term, reaching_term
from recon.remesh import find_edges
from recon.scene import TexturedMesh, TriangleMesh, batch_cameras

RASTER = texture_scenes.rasterizer()
SIZE_PX = 96
CAPTURE = geometry_scenes.photographed("sphere", "orbit6", SIZE_PX)
CPU = torch.device("cpu")
PIXEL_M = geometry_scenes.observed("sphere", "orbit6", SIZE_PX).pixel_m


def dented(depth_share: float, subdivisions: int = 3) -> TriangleMesh:
    """The sphere, squeezed along x."""
    mesh = texture_scenes.ball(subdivisions)
    centre = mesh.positions_world.mean(0)
    return TriangleMesh(
        (mesh.positions_world - centre) * torch.tensor([1 - depth_share, 1.0, 1.0]) + centre, mesh.faces
    )


def fitted(mesh: TriangleMesh) -> PhotoFit:
    return fit_to_photographs(mesh, CAPTURE, RASTER, texture_scenes.painted, lambda share: None)


def test_a_wrong_shape_is_bent_to_the_photographs() -> None:
    """A sphere squeezed by 8 % comes back from photographs alone to a third of its error; its faces stay."""
    start = dented(0.08)
    fit = fitted(start)
    before, after = (geometry_scenes.error_m("sphere", mesh).mean() for mesh in (start, fit.mesh))
    assert after < before / 3
    assert torch.equal(fit.mesh.faces, start.faces)
    assert fit.difference_after < fit.difference_before
    assert fit.moved_mean > 0.005


def test_a_right_shape_is_left_alone() -> None:
    """Photographs that agree with the mesh leave its surface within an eighth of a pixel on average."""
    fit = fitted(dented(0.0))
    assert geometry_scenes.error_m("sphere", fit.mesh).mean() < PIXEL_M / 8
    assert fit.moved_mean < 0.003


def test_what_depth_measured_stays_while_the_rest_is_bent() -> None:
    """One half of a squeezed sphere is kept where it is; the other comes back to a third of its error."""
    start = dented(0.08)
    along_y = start.positions_world[:, 1] - start.positions_world[:, 1].mean()
    is_kept, is_free = along_y > 0, along_y < -0.02
    fit = fit_to_photographs(start, CAPTURE, RASTER, texture_scenes.painted, lambda share: None, is_kept)
    moved_m = (fit.mesh.positions_world - start.positions_world).norm(dim=1)
    assert moved_m[is_kept].mean() < 0.05 * PIXEL_M
    before, after = (geometry_scenes.error_m("sphere", mesh)[is_free].mean() for mesh in (start, fit.mesh))
    assert after < before / 3


def test_every_step_is_told() -> None:
    """Colours and outlines before each bend, pictures at each step of the descent; outlines come nearer."""
    fit = fitted(dented(0.08))
    assert all(set(terms) == {"bend_colour", "bend_outline_m"} for terms in fit.bend_history)
    assert fit.bend_history[-1]["bend_outline_m"] < 0.75 * fit.bend_history[0]["bend_outline_m"]
    assert len(fit.descent_history) == STEP_COUNT
    assert fit.descent_history[-1]["descent_colour"] < fit.descent_history[0]["descent_colour"]


@pytest.mark.parametrize("disagree", [False, True])
def test_the_descent_is_told_whether_photographs_disagree(disagree: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Squares or magnitudes: as the capture says, and with the vertices that stay."""
    told: list[DescentOptions] = []

    def recorded(textured: TexturedMesh, *others: object) -> Descent:
        told.append(others[-1])  # type: ignore[arg-type]
        return Descent(textured.mesh, ())

    monkeypatch.setattr(photo_fit, "descend_to_photographs", recorded)
    start = dented(0.0)
    is_kept = start.positions_world[:, 0] > 0
    capture = replace(CAPTURE, photographs_disagree=disagree)
    fit_to_photographs(start, capture, RASTER, texture_scenes.painted, lambda share: None, is_kept)
    assert [options.photographs_disagree for options in told] == [disagree]
    assert told[0].is_kept is is_kept


def test_the_shift_of_a_photograph_is_its_cameras_and_not_the_meshs() -> None:
    """A photograph that was moved, with the similarity that says so, bends nothing."""
    view = CAPTURE.views[0]
    shift = torch.tensor([[1.0, 0, 3], [0, 1, -2]], dtype=torch.float64)
    moved = replace(
        view,
        image_srgb=view.image_srgb.roll((-2, 3), (0, 1)),
        photo_alpha=view.foreground_alpha.roll((-2, 3), (0, 1)),
        image_from_camera=shift,
    )
    capture = replace(CAPTURE, views=(moved, *CAPTURE.views[1:]))
    fit = fit_to_photographs(dented(0.0), capture, RASTER, texture_scenes.painted, lambda share: None)
    assert geometry_scenes.error_m("sphere", fit.mesh).mean() < PIXEL_M / 6


def test_the_user_is_told_how_much_and_where() -> None:
    """The sentence names the views in which the surface moved most; the facts hold every view."""
    fit = PhotoFit(dented(0.0), 0.011, 0.025, {"front": 0.02, "top": 0.03, "left": 0.001}, 0.21, 0.12, (), ())
    assert "1.1%" in fit.warning()
    assert "top (3.0%) and front (2.0%)" in fit.warning()
    assert fit.facts()["photo_fit_moved_percent_left"] == 0.1


def test_colours_agree_on_the_true_shape_only() -> None:
    """The photographs' difference is small on the sphere they show, and grows on a squeezed one."""
    cameras = batch_cameras([view.posed_camera for view in CAPTURE.views], SIZE_PX, SIZE_PX, CPU)
    layers = blurred_layers(CAPTURE.views, 1.5, CPU)
    difference = []
    for mesh in (dented(0.0), dented(0.08)):
        fragments = RASTER.rasterize(mesh.positions_world, mesh.faces, cameras)
        difference.append(photometric_term(mesh, fragments, cameras, layers, RASTER).difference)
    assert difference[0] < 0.02
    assert difference[1] > 1.5 * difference[0]


def test_photographed_contours_pull_a_small_mesh_outwards() -> None:
    """On a mesh that is too small every row asks for growth, along a unit direction away from its middle."""
    mesh = texture_scenes.ball(3)
    centre = mesh.positions_world.mean(0)
    small = TriangleMesh((mesh.positions_world - centre) * 0.95 + centre, mesh.faces)
    cameras = batch_cameras([view.posed_camera for view in CAPTURE.views], SIZE_PX, SIZE_PX, CPU)
    fragments = RASTER.rasterize(small.positions_world, small.faces, cameras)
    contours = [contour_px(view) for view in CAPTURE.views]
    term = reaching_term(small, find_edges(small.faces), fragments, cameras, contours, 6.0)
    outwards = small.positions_world[term.ends].mean(1) - centre
    assert len(term.ends) > 200
    assert torch.allclose(term.directions_world.norm(dim=1), torch.ones(len(term.ends)), atol=1e-5)
    assert (term.residuals_m < 0).all()
    assert float(((term.directions_world * outwards).sum(1) > 0).float().mean()) > 0.95
