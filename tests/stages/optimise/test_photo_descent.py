"""Descending on the difference between the drawn mesh and its photographs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import geometry_scenes
import texture_scenes
from recon.errors import Diverged
from recon.optimise.photo_descent import DescentOptions, descend_to_photographs, factorised_spread, iterated_spread
from recon.quality.comparison import picture_scores
from recon.quality.rendering import photograph, surface_on
from recon.scene import Capture, TexturedMesh, TriangleMesh

RASTER = texture_scenes.rasterizer()
SIZE_PX = 96
CAPTURE = geometry_scenes.photographed("sphere", "orbit6", SIZE_PX)
PIXEL_M = geometry_scenes.observed("sphere", "orbit6", SIZE_PX).pixel_m


def grown(share: float, capture: Capture = CAPTURE) -> TexturedMesh:
    """The sphere, larger than its photographs show it, coloured from them."""
    mesh = texture_scenes.ball(3)
    centre = mesh.positions_world.mean(0)
    return texture_scenes.painted(
        TriangleMesh((mesh.positions_world - centre) * (1 + share) + centre, mesh.faces), capture
    )


def descended(textured: TexturedMesh, step_count: int = 40) -> TriangleMesh:
    return descend_to_photographs(textured, CAPTURE.views, RASTER, lambda share: None, DescentOptions(step_count)).mesh


def psnr_db(mesh: TriangleMesh) -> float:
    """How well the mesh, coloured anew, repeats its photographs."""
    surface = surface_on(texture_scenes.painted(mesh, CAPTURE), texture_scenes.CPU)
    return float(
        np.mean([picture_scores(photograph(surface, v.posed_camera, RASTER), v)["psnr_db"] for v in CAPTURE.views])
    )


def test_outlines_bring_a_mesh_that_is_too_large_back() -> None:
    """A sphere two pixels too large comes within a third of that; its pictures improve; its faces stay."""
    start = grown(2 * PIXEL_M / 0.1)
    end = descended(start)
    before, after = (geometry_scenes.error_m("sphere", mesh).abs().mean() for mesh in (start.mesh, end))
    assert after < before / 3
    assert psnr_db(end) > psnr_db(start.mesh) + 2
    assert torch.equal(end.faces, start.mesh.faces)


def test_a_right_shape_is_left_alone() -> None:
    """Photographs of the mesh itself leave its surface within an eighth of a pixel on average."""
    assert geometry_scenes.error_m("sphere", descended(grown(0.0))).abs().mean() < PIXEL_M / 8


def test_the_difference_is_told_step_by_step() -> None:
    """As many numbers as steps; from the first quarter of the descent to its last the pictures come nearer."""
    differences = descend_to_photographs(
        grown(2 * PIXEL_M / 0.1), CAPTURE.views, RASTER, lambda share: None, DescentOptions(24)
    ).colour_differences
    assert len(differences) == 24
    assert all(0 < difference < 1 for difference in differences)
    assert np.mean(differences[-6:]) < 0.7 * np.mean(differences[:6])


def test_a_spot_in_one_photograph_draws_less_where_the_others_agree() -> None:
    """A dark patch, such as a reflection, moves the surface less than half as far as squares would."""
    view = CAPTURE.views[0]
    spotted = view.image_srgb.clone()
    spotted[36:60, 36:60] = 0.0
    views = (replace(view, image_srgb=spotted), *CAPTURE.views[1:])
    moved_m = {}
    for disagree in (False, True):
        options = DescentOptions(photographs_disagree=disagree)
        end = descend_to_photographs(grown(0.0), views, RASTER, lambda share: None, options).mesh
        moved_m[disagree] = geometry_scenes.error_m("sphere", end).amax()
    assert moved_m[False] < 0.5 * moved_m[True]


def test_vertices_that_are_to_stay_do() -> None:
    """Half of a sphere is two pixels too large and kept, half is free: a hundredth of the way, and back, on average."""
    start = grown(2 * PIXEL_M / 0.1)
    heights = start.mesh.positions_world[:, 2] - start.mesh.positions_world[:, 2].mean()
    is_kept, is_free = heights > 0.02, heights < -0.02
    end = descend_to_photographs(start, CAPTURE.views, RASTER, lambda share: None, DescentOptions(40, is_kept)).mesh
    moved_m = (end.positions_world - start.mesh.positions_world).norm(dim=1)
    assert moved_m[is_kept].mean() < 0.05 * PIXEL_M
    before, after = (geometry_scenes.error_m("sphere", mesh)[is_free].mean() for mesh in (start.mesh, end))
    assert after < before / 3


def test_the_same_job_gives_the_same_mesh() -> None:
    """The places inside pixels and the views drawn are random, but the same every time."""
    start = grown(0.03)
    assert torch.equal(descended(start, 5).positions_world, descended(start, 5).positions_world)


def test_many_photographs_take_turns() -> None:
    """Of eighteen photographs every step draws eight; the mesh still comes nearer to all of them."""
    start = grown(0.04)
    views = CAPTURE.views * 3
    end = descend_to_photographs(start, views, RASTER, lambda share: None, DescentOptions(30)).mesh
    before, after = (geometry_scenes.error_m("sphere", mesh).abs().mean() for mesh in (start.mesh, end))
    assert after < before / 2


def test_progress_is_told_and_may_stop() -> None:
    """The share of the work grows from 0, and an exception from the caller ends the work."""
    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        if len(shares) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        descend_to_photographs(grown(0.0), CAPTURE.views, RASTER, stop, DescentOptions(6))
    assert shares == [0, 1 / 6, 2 / 6]


def test_positions_that_are_not_finite_are_refused() -> None:
    """A photograph of NaN ends in MODEL_DIVERGED, not in a broken mesh."""
    view = CAPTURE.views[0]
    broken = replace(view, image_srgb=torch.full_like(view.image_srgb, torch.nan))
    with pytest.raises(Diverged):
        descend_to_photographs(grown(0.0), (broken, *CAPTURE.views[1:]), RASTER, lambda share: None, DescentOptions(2))


def test_both_ways_of_spreading_forces_agree() -> None:
    """Factors on a CPU, iterations on a GPU: to a ten-thousandth of the longest displacement, for every right side."""
    mesh = texture_scenes.ball(4)
    hold = torch.where(mesh.positions_world[:, 0] > 0, 101.0, 1.0)
    factorised, iterated = factorised_spread(mesh, hold), iterated_spread(mesh, hold)
    for seed in (0, 1):
        force = torch.randn(mesh.positions_world.shape, generator=torch.Generator().manual_seed(seed))
        expected = factorised(force)
        assert (iterated(force) - expected).norm(dim=1).max() < 1e-4 * expected.norm(dim=1).max()
