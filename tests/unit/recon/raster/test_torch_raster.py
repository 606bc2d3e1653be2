"""The reference rasteriser against geometry that can be computed by hand."""

from dataclasses import replace

import pytest
import torch

from raster_scenes import camera_below, cameras_around, joined, square, uv_sphere
from recon.raster import Rasterizer
from recon.raster.torch_raster import TorchRasterizer
from recon.scene import CameraBatch, TriangleMesh

RASTER = TorchRasterizer()


def test_obeys_the_interface() -> None:
    """The class offers everything that stages ask of a rasteriser."""
    assert isinstance(RASTER, Rasterizer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rasterised_equals_projected(dtype: torch.dtype) -> None:
    """What a pixel sees projects onto that pixel's centre, also with an off-centre principal point."""
    mesh = uv_sphere(12, 16)
    cameras = cameras_around(5, 60, 90, dtype=dtype)
    positions = mesh.positions_world.to(dtype)
    fragments = RASTER.rasterize(positions, mesh.faces, cameras)
    seen_world = RASTER.interpolate(positions, mesh.faces, fragments)
    view, row, column = torch.nonzero(fragments.hit_mask, as_tuple=True)
    # The pinhole equation, spelled out: u = f X / Z + c.
    pose = cameras.camera_from_world[view]
    x, y, z = ((pose[:, :3, :3] @ seen_world[fragments.hit_mask][:, :, None])[:, :, 0] + pose[:, :3, 3]).unbind(1)
    u_px = 1.1 * 90 * x / z + 0.43 * 90
    v_px = 1.3 * 90 * y / z + 0.58 * 60
    tolerance_px = 1e-3 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(u_px, column + 0.5, atol=tolerance_px, rtol=0, check_dtype=False)
    torch.testing.assert_close(v_px, row + 0.5, atol=tolerance_px, rtol=0, check_dtype=False)
    assert fragments.hit_mask.flatten(1).any(1).all()


def test_sphere_is_hit_where_its_outline_says() -> None:
    """Pixels well inside the outline of a fine sphere see it, pixels well outside do not."""
    cameras = camera_below(3.0, 64)
    mesh = uv_sphere(60, 80)
    hits = RASTER.rasterize(mesh.positions_world, mesh.faces, cameras).hit_mask[0]
    outline_px = 64 * 1 / (3.0**2 - 1) ** 0.5
    radius_px = (torch.stack(torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")) - 31.5).norm(dim=0)
    assert hits[radius_px < outline_px - 0.1].all()
    assert not hits[radius_px > outline_px].any()


def test_depth_of_a_tilted_plane_is_exact() -> None:
    """Interpolated depth is that of the ray's intersection with the plane, not of a blend on the screen."""
    cameras = camera_below(3.0, 32)
    plane = square(1.0)
    x, y, _ = plane.positions_world.unbind(1)
    tilted = TriangleMesh(torch.stack([x, y, 0.7 * x - 0.4 * y], 1), plane.faces)
    fragments = RASTER.rasterize(tilted.positions_world, tilted.faces, cameras)
    depth_z_m = RASTER.interpolate(tilted.positions_world[:, 2:] + 3, tilted.faces, fragments)[0, ..., 0]
    slope = (torch.arange(32) + 0.5 - 16).double() / 32
    expected_z_m = 3 / (1 - 0.7 * slope[None, :] + 0.4 * slope[:, None])
    hits = fragments.hit_mask[0]
    torch.testing.assert_close(depth_z_m[hits], expected_z_m[hits], atol=1e-12, rtol=0)
    assert hits.sum() > 300
    assert (depth_z_m[~hits] == 0).all()


def test_barycentrics_are_perspective_correct() -> None:
    """Weights sum to one, lie in 0..1, and place the seen point on the pixel's ray."""
    mesh, cameras = uv_sphere(6, 8), cameras_around(3, 40, 40)
    fragments = RASTER.rasterize(mesh.positions_world, mesh.faces, cameras)
    weights = fragments.barycentrics[fragments.hit_mask]
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights), dtype=torch.float64))
    assert weights.min() > -1e-9
    assert weights.max() < 1 + 1e-9
    assert (fragments.barycentrics[~fragments.hit_mask] == 0).all()


def test_single_precision_is_enough_for_tiny_faces() -> None:
    """On faces of a pixel's size, single precision finds the double-precision weights to a thousandth."""
    mesh, cameras = uv_sphere(150, 200), cameras_around(2, 128, 128)
    exact = RASTER.rasterize(mesh.positions_world, mesh.faces, cameras)
    poses, focal_px, principal_px = (value.float() for value in tensors(cameras))
    single = CameraBatch(poses, focal_px, principal_px, 128, 128)
    rounded = RASTER.rasterize(mesh.positions_world.float(), mesh.faces, single)
    agrees = exact.face_index == rounded.face_index
    assert agrees.double().mean() > 0.998
    error = (exact.barycentrics - rounded.barycentrics)[agrees].abs()
    assert error.max() < 5e-2
    assert error.mean() < 2e-4


def tensors(cameras: CameraBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return cameras.camera_from_world, cameras.focal_px, cameras.principal_px


@pytest.mark.parametrize("argument", ["positions", "camera_from_world", "focal_px", "principal_px", "attributes"])
def test_gradients_equal_finite_differences(argument: str) -> None:
    """Interpolated values are differentiable in the positions, the cameras and the attributes."""
    mesh, cameras = uv_sphere(3, 4), cameras_around(2, 7, 8)
    given = {
        "positions": mesh.positions_world,
        **dict(zip(["camera_from_world", "focal_px", "principal_px"], tensors(cameras), strict=True)),
        "attributes": torch.rand(mesh.positions_world.shape[0], 2, generator=torch.Generator().manual_seed(3)).double(),
    }

    def draw(value: torch.Tensor) -> torch.Tensor:
        named = {**given, argument: value}
        moved = CameraBatch(named["camera_from_world"], named["focal_px"], named["principal_px"], 7, 8)
        fragments = RASTER.rasterize(named["positions"], mesh.faces, moved)
        return RASTER.interpolate(named["attributes"], mesh.faces, fragments)

    assert torch.autograd.gradcheck(draw, given[argument].clone().requires_grad_(), eps=1e-7, atol=1e-5)


def test_gradients_on_a_processor_are_repeatable() -> None:
    """The same input gives the same gradient bit for bit."""
    mesh, cameras = uv_sphere(40, 60), cameras_around(3, 96, 96, dtype=torch.float32)
    gradients: list[torch.Tensor] = []
    for _ in range(2):
        positions = mesh.positions_world.float().requires_grad_()
        fragments = RASTER.rasterize(positions, mesh.faces, cameras)
        picture = RASTER.interpolate(positions, mesh.faces, fragments)
        loss = RASTER.antialias(picture, fragments, positions, mesh.faces, cameras).square().sum()
        gradients.extend(torch.autograd.grad(loss, positions))
    assert torch.equal(gradients[0], gradients[1])


def test_attributes_may_have_their_own_corners() -> None:
    """Texture coordinates, which are cut at seams, are interpolated with their own index."""
    plane = square(1.0)
    attributes = torch.tensor([[0.0], [1], [1], [0], [5], [7], [9]], dtype=torch.float64)
    corners = torch.tensor([[0, 1, 2], [4, 5, 6]])
    fragments = RASTER.rasterize(plane.positions_world, plane.faces, camera_below(3.0, 32))
    picture = RASTER.interpolate(attributes, corners, fragments)[0, ..., 0]
    face = fragments.face_index[0]
    assert picture[face == 0].max() <= 1
    assert picture[face == 1].min() >= 5


def test_derivatives_equal_differences_between_subpixels() -> None:
    """The change per pixel is what shifting the principal point by a fraction of a pixel shows."""
    mesh, cameras = uv_sphere(4, 5), cameras_around(3, 20, 24)
    fragments = RASTER.rasterize(mesh.positions_world, mesh.faces, cameras)
    found = RASTER.differentiate(mesh.positions_world, mesh.faces, fragments)
    step_px = 1e-5
    for axis in range(2):
        pictures, faces = [], []
        for sign in (-1, 1):
            # A principal point further left shows, at every pixel, what lies further right.
            moved = cameras.principal_px.clone()
            moved[:, axis] -= sign * step_px
            shifted = RASTER.rasterize(mesh.positions_world, mesh.faces, replace(cameras, principal_px=moved))
            pictures.append(RASTER.interpolate(mesh.positions_world, mesh.faces, shifted))
            faces.append(shifted.face_index)
        difference = (pictures[1] - pictures[0]) / (2 * step_px)
        same = fragments.hit_mask & (faces[0] == fragments.face_index) & (faces[1] == fragments.face_index)
        torch.testing.assert_close(found[same][..., axis], difference[same], atol=1e-7, rtol=1e-5)
        assert same.sum() > 100
    assert (found[~fragments.hit_mask] == 0).all()


def test_texture_is_looked_up_where_something_is_hit() -> None:
    """A textured square shows the texture upright: the top row of the texture at the top (v = 1)."""
    plane = square(1.0)
    uv = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]], dtype=torch.float64)  # y points down in this camera
    texture = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(0)).double()
    fragments = RASTER.rasterize(plane.positions_world, plane.faces, camera_below(3.0, 16, focal_px=12.0))
    uv_picture = RASTER.interpolate(uv, plane.faces, fragments)
    picture = RASTER.sample_texture(texture, uv_picture, fragments.hit_mask)[0]
    torch.testing.assert_close(picture[4:12, 4:12], texture)
    assert (picture[~fragments.hit_mask[0]] == 0).all()
    per_px = RASTER.differentiate(uv, plane.faces, fragments)
    torch.testing.assert_close(RASTER.sample_texture(texture, uv_picture, fragments.hit_mask, per_px)[0], picture)


def test_far_texture_is_averaged() -> None:
    """With derivatives a distant checkerboard is grey; without them it is aliased to black and white."""
    plane = square(1.0)
    uv = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]], dtype=torch.float64)
    board = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).double()[..., None]
    fragments = RASTER.rasterize(plane.positions_world, plane.faces, camera_below(3.0, 16, focal_px=11.7))
    uv_picture = RASTER.interpolate(uv, plane.faces, fragments)
    per_px = RASTER.differentiate(uv, plane.faces, fragments)
    hits = fragments.hit_mask
    grey = RASTER.sample_texture(board, uv_picture, hits, per_px)[hits]
    torch.testing.assert_close(grey, torch.full_like(grey, 0.5), atol=1e-6, rtol=0)
    assert RASTER.sample_texture(board, uv_picture, hits)[hits].std() > 0.1


def test_fragments_of_another_backend_are_refused() -> None:
    """Private data of one backend never reaches the other unnoticed."""
    plane = square(1.0)
    fragments = RASTER.rasterize(plane.positions_world, plane.faces, camera_below(3.0, 8))
    with pytest.raises(TypeError, match="another rasteriser"):
        RASTER.interpolate(plane.positions_world, plane.faces, replace(fragments, backend="foreign"))


def test_views_do_not_disturb_one_another() -> None:
    """Several views at once give what each gives alone."""
    mesh = joined(uv_sphere(5, 7), square(1.5, 0.3))
    cameras = cameras_around(3, 30, 20)
    together = RASTER.rasterize(mesh.positions_world, mesh.faces, cameras)
    for view in range(3):
        pose, focal_px, principal_px = (value[view : view + 1] for value in tensors(cameras))
        alone = CameraBatch(pose, focal_px, principal_px, 30, 20)
        single = RASTER.rasterize(mesh.positions_world, mesh.faces, alone)
        assert torch.equal(single.face_index[0], together.face_index[view])
        torch.testing.assert_close(single.barycentrics[0], together.barycentrics[view])
