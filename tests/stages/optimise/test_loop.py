"""The refinement loop on analytic solids."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import torch

import geometry_scenes
import texture_scenes
from recon.errors import Diverged
from recon.geometry import build_geometry
from recon.optimise import OptimisedMesh, loop, optimise_mesh
from recon.remesh import folded_faces
from recon.scene import TriangleMesh
from recon.settings import FusionSettings, OptimiseSettings

RASTER = texture_scenes.rasterizer()


def ball(scale: float) -> TriangleMesh:
    """The sphere's mesh (1280 faces) with a wrong radius."""
    mesh = texture_scenes.ball(3)
    centre = torch.from_numpy(geometry_scenes.SOLIDS["sphere"].centre_world).float()
    return TriangleMesh((mesh.positions_world - centre) * scale + centre, mesh.faces)


def refined(mesh: TriangleMesh, name: str = "sphere", step_count: int | None = None) -> OptimisedMesh:
    observations = geometry_scenes.observed(name, size_px=128 if name == "sphere" else 96)
    return optimise_mesh(mesh, observations, OptimiseSettings(step_count=step_count), RASTER, lambda fraction: None)


@pytest.mark.parametrize("scale", [1.01, 0.99])
def test_a_wrong_radius_is_put_right(scale: float) -> None:
    """A ball 1 % too large or small (1 mm) comes to 0.3 mm, a twelfth of a pixel; its faces stay as they were."""
    start = ball(scale)
    result = refined(start)
    error_m = geometry_scenes.error_m("sphere", result.mesh)
    assert error_m.mean() < 3e-4
    assert error_m.max() < 1e-3
    assert torch.equal(result.mesh.faces, start.faces)
    assert result.history[-1].depth_m < result.history[0].depth_m / 2


def test_the_truth_stays_where_it_is() -> None:
    """A cube that is right already moves by less than a fifth of a pixel anywhere, outlines included."""
    start = texture_scenes.box(subdivisions=3)
    result = refined(start, "cube")
    moved_m = (result.mesh.positions_world - start.positions_world).norm(dim=1)
    assert moved_m.max() < 0.2 * geometry_scenes.observed("cube").pixel_m
    assert geometry_scenes.error_m("cube", result.mesh).mean() < 2e-4


def test_refining_twice_gives_the_same_bits() -> None:
    """Same mesh and views, same result, bit for bit."""
    one, two = refined(ball(1.01), step_count=3), refined(ball(1.01), step_count=3)
    assert torch.equal(one.mesh.positions_world, two.mesh.positions_world)
    assert one.history == two.history


@contextmanager
def sums_in_any_order(seed: int) -> Iterator[None]:
    """As devices do, and a GPU every time anew where nothing orders them."""
    generator = torch.Generator().manual_seed(seed)
    in_order = torch.Tensor.index_add_

    def shuffled(total: torch.Tensor, dim: int, index: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        order = torch.randperm(len(index), generator=generator)
        return in_order(total, dim, index[order], rows[order])

    with patch.object(torch.Tensor, "index_add_", shuffled):
        yield


def test_the_order_of_sums_moves_no_vertex_by_more_than_a_twentieth_of_a_pixel() -> None:
    """What devices differ by; with a cavity, where few vertices have depth to hold them."""
    seen = geometry_scenes.observed("mug", "orbit6", 96, 1)
    mesh, settings = geometry_scenes.built(seen, 2000, 64), OptimiseSettings(step_count=3)
    once = optimise_mesh(mesh, seen, settings, RASTER, lambda fraction: None).mesh
    with sums_in_any_order(seed=1):
        again = optimise_mesh(mesh, seen, settings, RASTER, lambda fraction: None).mesh
    assert not torch.equal(once.positions_world, again.positions_world)
    assert torch.equal(once.faces, again.faces)
    assert (once.positions_world - again.positions_world).norm(dim=1).max() < 0.05 * seen.pixel_m


def test_noise_folds_no_face() -> None:
    """Of a noisy ring's faces none points against those around it (before they are turned back dozens do)."""
    observations = geometry_scenes.observed_noisy("torus", 128)
    first = geometry_scenes.built(observations, 8000, 64)
    result = optimise_mesh(first, observations, OptimiseSettings(), RASTER, lambda fraction: None)
    assert not folded_faces(result.mesh).any()
    assert (result.mesh.positions_world - first.positions_world).norm(dim=1).max() > observations.pixel_m / 4


def test_a_thin_leg_keeps_its_outline_and_its_width_under_noise() -> None:
    """A shaft of 6 mm, five pixels: it fills its outlines, is in one piece, and nowhere swells to fill more of them."""
    observations = geometry_scenes.observed_noisy("shaft", 256)
    first = build_geometry(observations, FusionSettings(), 8000).mesh
    mesh = optimise_mesh(first, observations, OptimiseSettings(), RASTER, lambda fraction: None).mesh
    geometry_scenes.assert_closed_manifold(mesh)
    assert geometry_scenes.as_trimesh(mesh).euler_number == 2
    drawn = RASTER.rasterize(mesh.positions_world, mesh.faces, observations.cameras).hit_mask
    inside = observations.silhouette_px < 0
    assert (drawn & inside).sum() / (drawn | inside).sum() > 0.985
    positions = mesh.positions_world.double().numpy()
    outside_m = torch.from_numpy(geometry_scenes.SOLIDS["shaft"].signed_distance_m(positions))
    assert abs(outside_m.median()) < 0.00015


def test_no_steps_leave_the_mesh_alone() -> None:
    """With step_count = 0 the very same positions come back and nothing is on record."""
    start = ball(1.01)
    result = refined(start, step_count=0)
    assert torch.equal(result.mesh.positions_world, start.positions_world)
    assert result.history == ()


def test_progress_rises_and_can_stop_the_work() -> None:
    """Fractions grow from zero; what the callback raises ends the stage."""
    fractions: list[float] = []
    observations = geometry_scenes.observed("sphere", size_px=128)
    optimise_mesh(ball(1.01), observations, OptimiseSettings(step_count=3), RASTER, fractions.append)
    assert fractions == [0, 1 / 3, 2 / 3]

    class Stopped(Exception):
        pass

    def stop(fraction: float) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        optimise_mesh(ball(1.01), observations, OptimiseSettings(step_count=3), RASTER, stop)


def test_positions_that_are_not_finite_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of NaN is never applied: MODEL_DIVERGED."""
    monkeypatch.setattr(loop, "solve_step", lambda mesh, *_: torch.full_like(mesh.positions_world, torch.nan))
    with pytest.raises(Diverged, match="not finite"):
        refined(ball(1.01), step_count=1)
