"""What takes another way on a GPU ends where the CPU does."""

import pytest
import torch

import geometry_scenes
import scenes
import texture_scenes
from recon.cameras import solve_cameras
from recon.geometry.fill import fill_unknown
from recon.geometry.fusion import object_bounds_world
from recon.geometry.hollows import enclosed
from recon.observations import observe
from recon.optimise import find_holes
from recon.raster import select_rasterizer
from recon.remesh import face_components
from recon.replay import repeat
from recon.scene import TriangleMesh
from recon.settings import Settings

pytestmark = pytest.mark.gpu


def test_a_recorded_step_is_taken_so_often() -> None:
    """Once, twice and ten times, also when the tensors are used right before and after."""
    for count in (1, 2, 10):
        value = torch.ones(1000, device="cuda")

        def iterate(value: torch.Tensor = value) -> None:
            value.mul_(0.5).add_(1)

        repeat(iterate, count, value.device)
        assert (value == 2 - 0.5**count).all()


def test_hollows_are_the_same() -> None:
    """Of random samples within a border, at every share of outside."""
    generator = torch.Generator().manual_seed(0)
    for inside_share in (0.3, 0.6, 0.7, 0.8):
        is_outside = torch.ones(40, 30, 50, dtype=torch.bool)
        is_outside[1:-1, 1:-1, 1:-1] = torch.rand(38, 28, 48, generator=generator) > inside_share
        assert torch.equal(enclosed(is_outside.cuda()).cpu(), enclosed(is_outside))


def test_pieces_are_the_same() -> None:
    """Of random triangles."""
    faces = torch.randint(0, 5000, (2000, 3), generator=torch.Generator().manual_seed(0))
    assert torch.equal(face_components(faces.cuda(), 5000).cpu(), face_components(faces, 5000))


def test_the_fill_is_the_same_to_a_thousandth_of_a_sample() -> None:
    """A ball that is measured on one side only."""
    axis = torch.linspace(-1.5, 1.5, 48)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    distance = ((x**2 + y**2 + z**2).sqrt() - 1) * 16
    is_measured = (distance.abs() < 2) & (z > -0.5)
    distance = torch.where(is_measured | (distance > 2), distance, -torch.inf)
    on_gpu = fill_unknown(distance.cuda(), is_measured.cuda()).cpu()
    assert (on_gpu - fill_unknown(distance, is_measured)).abs().max() < 1e-3


def test_focal_lengths_are_corrected_alike() -> None:
    """Of a toy whose lenses were stated 2 % too long: to a ten-thousandth."""
    solid = geometry_scenes.SOLIDS["toy"]
    faults = scenes.Faults(focal_factors=(1.02,))
    capture = scenes.make_capture(solid, scenes.orbit6_cameras(solid, 160), faults, supersample=1)
    solved = [solve_cameras(capture, Settings(), torch.device(device)) for device in ("cuda", "cpu")]
    assert [item.cameras_source for item in solved] == ["refined", "refined"]
    on_gpu, on_cpu = (item.views[0].posed_camera.intrinsics.focal_x_px for item in solved)
    assert abs(on_gpu / on_cpu - 1) < 1e-4


def test_holes_are_found_alike() -> None:
    """What no depth image shows of a ball: its share and its vertices, and the box around both, to a pixel."""
    solid, mesh = geometry_scenes.SOLIDS["sphere"], texture_scenes.ball(4)
    faults = scenes.Faults(unmeasured_radius=0.15)
    capture = scenes.make_capture(solid, scenes.orbit6_cameras(solid, 160), faults, supersample=1)
    found = []
    for device in (torch.device("cuda"), torch.device("cpu")):
        seen = observe(capture, device)
        drawn = TriangleMesh(mesh.positions_world.to(device), mesh.faces.to(device))
        holes = find_holes(drawn, seen, select_rasterizer("torch", device))
        found.append((holes.share, holes.is_measured.cpu(), torch.stack(object_bounds_world(seen)).cpu()))
    (share, is_measured, bounds), (cpu_share, cpu_is_measured, cpu_bounds) = found
    assert cpu_share > 0.03
    assert abs(share - cpu_share) < 1e-3
    assert (is_measured == cpu_is_measured).float().mean() > 0.999
    assert (bounds - cpu_bounds).abs().max() < seen.pixel_m
