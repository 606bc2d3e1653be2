"""Antialiased silhouettes: coverage, gradients, and what must stay untouched."""

import math
from dataclasses import replace

import pytest
import torch

import meshes
from raster_scenes import camera_below, cameras_around, disc, joined, square, uv_sphere
from recon.raster.silhouettes import EdgeCache, blend_pairs, edge_table, find_pairs, silhouette_sides
from recon.raster.torch_raster import TorchRasterizer
from recon.scene import CameraBatch, TriangleMesh

RASTER = TorchRasterizer()


def coverage(positions_world: torch.Tensor, faces: torch.Tensor, cameras: CameraBatch) -> torch.Tensor:
    """Antialiased silhouettes, (k, h, w)."""
    fragments = RASTER.rasterize(positions_world, faces, cameras)
    hits = fragments.hit_mask[..., None].to(positions_world.dtype)
    return RASTER.antialias(hits, fragments, positions_world, faces, cameras)[..., 0]


def supersampled(mesh: TriangleMesh, cameras: CameraBatch, factor: int) -> torch.Tensor:
    """Coverage by counting samples, (k, h, w)."""
    fine = CameraBatch(
        cameras.camera_from_world,
        cameras.focal_px * factor,
        cameras.principal_px * factor,
        cameras.height_px * factor,
        cameras.width_px * factor,
    )
    hits = RASTER.rasterize(mesh.positions_world, mesh.faces, fine).hit_mask.to(mesh.positions_world.dtype)
    return hits.view(cameras.count, cameras.height_px, factor, cameras.width_px, factor).mean((2, 4))


@pytest.mark.parametrize("shift_px", [0.0, 0.2, 0.45, 0.8])
def test_straight_edges_get_their_exact_coverage(shift_px: float) -> None:
    """A pixel cut by an upright edge gets the covered share of its area."""
    cameras = camera_below(3.0, 16, focal_px=12.0)  # the square covers pixels 4 to 12
    cameras = replace(cameras, principal_px=cameras.principal_px + torch.tensor([shift_px, 0.0]))
    plane = square(1.0)
    row = coverage(plane.positions_world, plane.faces, cameras)[0, 8]
    expected = torch.zeros(16, dtype=torch.float64)
    expected[4:12] = 1
    expected[4], expected[12] = 1 - shift_px, shift_px
    torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("shift_px", [0.46, 0.5, 0.54])
def test_a_rasteriser_that_snaps_vertices_changes_no_coverage(shift_px: float) -> None:
    """Where an edge nearly touches a pixel's centre, it does not matter which side the rasteriser takes it for."""
    cameras = camera_below(3.0, 16, focal_px=12.0)
    cameras = replace(cameras, principal_px=cameras.principal_px + torch.tensor([shift_px, 0.0]))
    plane = square(1.0)
    edges = EdgeCache().of(plane.faces)
    pixels_px, depth_z_m = cameras.project(plane.positions_world)
    rows = []
    for snapped_px in (0.45, 0.55):
        snapped = replace(cameras, principal_px=cameras.principal_px + torch.tensor([snapped_px - shift_px, 0.0]))
        fragments = RASTER.rasterize(plane.positions_world, plane.faces, snapped)
        pairs = find_pairs(edges, fragments, pixels_px, depth_z_m, plane.faces)
        hits = fragments.hit_mask[..., None].double()
        rows.append(blend_pairs(hits, pairs, plane.positions_world, cameras)[0, 8, :, 0])
    torch.testing.assert_close(rows[0], rows[1])
    assert rows[0][4].item() == pytest.approx(1 - shift_px)


def test_area_of_a_disc_and_its_gradient() -> None:
    """The covered area is pi r^2, and its derivative by the radius 2 pi r."""
    cameras, fan = camera_below(3.0, 256), disc(200)
    for radius_m in (0.61, 0.7, 0.833):
        radius = torch.tensor(radius_m, dtype=torch.float64, requires_grad=True)
        area_px = coverage(fan.positions_world * radius, fan.faces, cameras).sum()
        area_px.backward()
        radius_px = radius_m * 256 / 3
        assert area_px.item() == pytest.approx(math.pi * radius_px**2, rel=2e-4)
        assert radius.grad is not None
        assert radius.grad.item() == pytest.approx(2 * math.pi * radius_px * 256 / 3, rel=1e-2)


@pytest.mark.parametrize(
    "mesh",
    [
        pytest.param(uv_sphere(12, 16), id="sphere"),
        pytest.param(uv_sphere(90, 120), id="sphere of faces smaller than a pixel"),
        pytest.param(meshes.box_mesh(0.6), id="cube"),
    ],
)
def test_coverage_equals_supersampling(mesh: TriangleMesh) -> None:
    """Antialiased silhouettes are ten times nearer to the supersampled ones than the bare ones are."""
    mesh = TriangleMesh(mesh.positions_world.double(), mesh.faces)
    cameras = cameras_around(3, 48, 48)
    truth = supersampled(mesh, cameras, 16)
    smooth = coverage(mesh.positions_world, mesh.faces, cameras)
    bare = RASTER.rasterize(mesh.positions_world, mesh.faces, cameras).hit_mask.double()
    assert (smooth - truth).abs().mean() < 0.13 * (bare - truth).abs().mean()
    assert smooth.sum().item() == pytest.approx(truth.sum().item(), rel=1e-3)
    assert smooth.min() >= -1e-9
    assert smooth.max() <= 1 + 1e-9


def moved(
    mesh: TriangleMesh, cameras: CameraBatch, motion: str, amount: torch.Tensor
) -> tuple[TriangleMesh, CameraBatch]:
    """The scene after a small motion of the mesh along an axis, of its scale, or of the cameras sideways."""
    if motion == "camera":
        sideways = torch.zeros(4, 4, dtype=torch.float64)
        sideways[0, 3] = 1
        return mesh, replace(cameras, camera_from_world=cameras.camera_from_world + amount * sideways)
    if motion == "scale":
        return TriangleMesh(mesh.positions_world * (1 + amount), mesh.faces), cameras
    axis = torch.eye(3, dtype=torch.float64)["xyz".index(motion)]
    return TriangleMesh(mesh.positions_world + amount * axis, mesh.faces), cameras


@pytest.mark.parametrize("rings", [12, 90])
def test_silhouette_gradients_equal_supersampled_differences(rings: int) -> None:
    """Moving the mesh or the camera changes a weighted silhouette as counting samples says.

    The tolerance is one hundredth of what growing the whole outline does: opposite sides of a shifted outline
    nearly cancel, so a share of the sum itself would measure the cancellation.
    """
    mesh, cameras = uv_sphere(rings, rings + 7), cameras_around(2, 80, 80)
    ramp = torch.linspace(0, 1, 80, dtype=torch.float64)
    weight = 0.7 * ramp[None, :] + ramp[:, None] ** 2
    step = torch.tensor(0.05, dtype=torch.float64)
    found, expected = {}, {}
    for motion in ("scale", "x", "y", "z", "camera"):
        amount = torch.zeros((), dtype=torch.float64, requires_grad=True)
        changed, seen_by = moved(mesh, cameras, motion, amount)
        loss = (coverage(changed.positions_world, changed.faces, seen_by) * weight).sum()
        (gradient,) = torch.autograd.grad(loss, amount)
        found[motion] = gradient.item()
        ahead, behind = ((supersampled(*moved(mesh, cameras, motion, s), 6) * weight).sum() for s in (step, -step))
        expected[motion] = ((ahead - behind) / (2 * step)).item()
    assert found == pytest.approx(expected, abs=0.01 * expected["scale"])


def test_colours_and_positions_pass_a_gradient_check() -> None:
    """The blend's own derivative is exact in colours, positions, poses and focal lengths."""
    mesh, cameras = uv_sphere(3, 4), cameras_around(1, 6, 7)
    colours = torch.rand(1, 6, 7, 1, generator=torch.Generator().manual_seed(1)).double()

    def blend(*values: torch.Tensor) -> torch.Tensor:
        colours, positions, camera_from_world, focal_px = values
        moved = replace(cameras, camera_from_world=camera_from_world, focal_px=focal_px)
        fragments = RASTER.rasterize(positions.detach(), mesh.faces, moved)
        return RASTER.antialias(colours, fragments, positions, mesh.faces, moved)

    values = (colours, mesh.positions_world, cameras.camera_from_world, cameras.focal_px)
    assert torch.autograd.gradcheck(blend, [value.clone().requires_grad_() for value in values], eps=1e-7, atol=1e-5)


def test_only_silhouettes_are_blended() -> None:
    """Edges between two faces that both face the camera keep their colours sharp."""
    mesh, cameras = meshes.box_mesh(0.6), cameras_around(4, 64, 64)
    positions = mesh.positions_world.double()
    fragments = RASTER.rasterize(positions, mesh.faces, cameras)
    colours = (fragments.face_index[..., None] + 1.0).double()
    changed = (RASTER.antialias(colours, fragments, positions, mesh.faces, cameras) - colours)[..., 0].abs() > 1e-9
    background = (~fragments.hit_mask).double()
    near_background = torch.nn.functional.max_pool2d(background, 3, 1, 1) > 0
    assert changed.any()
    assert not (changed & ~near_background).any()
    pixels_px, depth_z_m = cameras.project(positions)
    sides = silhouette_sides(edge_table(mesh.faces), pixels_px, depth_z_m, mesh.faces)
    assert ((sides != 0).sum(1) >= 4).all()
    assert ((sides != 0).sum(1) <= 6).all()  # the outline of a convex box in a perspective view


def test_nearer_surface_covers_a_farther_one() -> None:
    """In front of another surface a silhouette blends with that surface's colour."""
    cameras = replace(camera_below(3.0, 16, focal_px=12.0), principal_px=torch.tensor([[8.25, 8.0]]).double())
    mesh = joined(square(1.0), square(8.0, 4.0))
    fragments = RASTER.rasterize(mesh.positions_world, mesh.faces, cameras)
    colours = torch.where(fragments.face_index < 2, 1.0, 0.2).double()[..., None]
    row = RASTER.antialias(colours, fragments, mesh.positions_world, mesh.faces, cameras)[0, 8, :, 0]
    torch.testing.assert_close(row[[3, 4, 5, 11, 12, 13]], torch.tensor([0.2, 0.8, 1, 1, 0.4, 0.2]).double())


def test_hidden_silhouettes_change_nothing() -> None:
    """The outline of something behind a wall is not seen."""
    cameras = camera_below(3.0, 32)
    wall, hidden = square(4.0, -1.0), uv_sphere(8, 10, 0.5)
    mesh = joined(wall, hidden)
    fragments = RASTER.rasterize(mesh.positions_world, mesh.faces, cameras)
    colours = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(2)).double()
    assert torch.equal(RASTER.antialias(colours, fragments, mesh.positions_world, mesh.faces, cameras), colours)


def test_edges_of_a_closed_and_an_open_mesh() -> None:
    """A closed mesh has two faces at every edge, and Euler's count of edges; a fan has a boundary."""
    sphere = uv_sphere(6, 9)
    table = edge_table(sphere.faces)
    assert (table.face_count == 2).all()
    assert len(table.vertices) == sphere.positions_world.shape[0] + len(sphere.faces) - 2
    assert (table.vertices[:, 0] < table.vertices[:, 1]).all()
    ends = torch.stack([sphere.faces, sphere.faces.roll(-1, 1)], -1)
    assert torch.equal(table.vertices[table.edge_of_side], ends.sort(-1).values)
    assert (edge_table(disc(9).faces).face_count == 1).sum() == 9
    assert len(edge_table(torch.zeros(0, 3, dtype=torch.int64)).vertices) == 0


def test_edge_cache_notices_changes() -> None:
    """The table is built once per tensor and again after the tensor was written to."""
    cache, faces = EdgeCache(), uv_sphere(4, 5).faces
    first = cache.of(faces)
    assert cache.of(faces) is first
    faces[0] = faces[0].roll(1)
    second = cache.of(faces)
    assert second is not first
    assert cache.of(faces.clone()) is not second


def test_picture_without_silhouettes_is_returned_unchanged() -> None:
    """Where nothing is drawn there is nothing to blend."""
    plane, cameras = square(1.0, -5.0), camera_below(3.0, 8)
    fragments = RASTER.rasterize(plane.positions_world, plane.faces, cameras)
    colours = torch.rand(1, 8, 8, 1).double()
    assert torch.equal(RASTER.antialias(colours, fragments, plane.positions_world, plane.faces, cameras), colours)
