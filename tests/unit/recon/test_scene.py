"""Values between stages: what they refuse, and the geometry they answer for."""

import math
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

import meshes
from raster_scenes import cameras_around, uv_sphere
from recon import frames
from recon.scene import Camera, Capture, DepthMap, Inference, Intrinsics, TriangleMesh, View, batch_cameras


def camera(width_px: int = 40, height_px: int = 30) -> Camera:
    position, target = torch.tensor([1.0, 2, 3]).double(), torch.zeros(3).double()
    pose = frames.look_at(position, target, torch.tensor([0.0, 0, 1]).double())
    return Camera(Intrinsics(width_px, height_px, 50.0, 55.0, 18.0, 16.5), pose)


@pytest.mark.parametrize(
    "wrong",
    [{"width_px": 0}, {"height_px": -1}, {"focal_x_px": 0.0}, {"focal_y_px": -3.0}, {"focal_x_px": math.nan}],
)
def test_impossible_intrinsics_are_refused(wrong: dict[str, float]) -> None:
    """A camera has a size and a positive focal length."""
    with pytest.raises(ValueError, match="positive size and focal length"):
        replace(camera().intrinsics, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [1.001, -1.0, math.nan])
def test_poses_that_are_not_rigid_are_refused(factor: float) -> None:
    """Scaled, mirrored and broken poses do not become cameras."""
    pose = camera().world_from_camera.clone()
    pose[:3, :3] *= factor
    with pytest.raises(ValueError, match="not a rotation"):
        Camera(camera().intrinsics, pose)


def test_resized_intrinsics_see_the_same() -> None:
    """On another pixel grid every point keeps its place relative to the picture."""
    full, half = camera(), camera()
    half = Camera(full.intrinsics.resized(20, 10), full.world_from_camera)
    points = torch.rand(10, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    big, _ = batch_cameras([full], 30, 40, "cpu").project(points)
    small, _ = batch_cameras([half], 10, 20, "cpu").project(points)
    torch.testing.assert_close(big / torch.tensor([40.0, 30]), small / torch.tensor([20.0, 10]))
    torch.testing.assert_close(batch_cameras([full], 10, 20, "cpu").project(points)[0], small)


def test_projection_is_the_pinhole_equation() -> None:
    """u = f X / Z + c, with x right, y down and z the depth."""
    cameras = replace(cameras_around(1, 30, 40), camera_from_world=torch.eye(4).double()[None])
    pixels_px, depth_z_m = cameras.project(torch.tensor([[0.2, -0.1, 2.0]]).double())
    assert pixels_px[0, 0].tolist() == pytest.approx([44.0 * 0.1 + 17.2, 52.0 * -0.05 + 17.4])
    assert depth_z_m.item() == 2.0


def test_unproject_inverts_project() -> None:
    """A pixel centre with a depth becomes a world point that projects back there."""
    cameras = cameras_around(3, 5, 7)
    depth_z_m = 1 + torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(1)).double()
    points_world = cameras.unproject(depth_z_m)
    for view in range(3):
        pixels_px, found_z_m = cameras.project(points_world[view].view(-1, 3))
        centres_px = frames.pixel_centres_px(5, 7, dtype=torch.float64).view(-1, 2)
        torch.testing.assert_close(pixels_px[view], centres_px)
        torch.testing.assert_close(found_z_m[view], depth_z_m[view].flatten())


def test_points_on_the_camera_plane_project_finitely() -> None:
    """Depth zero gives a far pixel, not a NaN that would poison gradients."""
    pixels_px, _ = cameras_around(2, 8, 8).project(cameras_around(2, 8, 8).positions_world)
    assert pixels_px.isfinite().all()


def test_batched_cameras_know_where_they_are() -> None:
    """Positions come back out of the inverted poses, in the asked precision."""
    cameras = batch_cameras([camera(), camera()], 30, 40, "cpu", torch.float64)
    torch.testing.assert_close(cameras.positions_world, torch.tensor([[1.0, 2, 3]]).double().expand(2, 3))
    assert cameras.count == 2
    assert cameras.device.type == "cpu"
    torch.testing.assert_close(camera().position_world, cameras.positions_world[0])


def test_view_without_a_camera_says_so() -> None:
    """Stages that need a solved camera get an error that names the view."""
    view = View(
        "front", torch.zeros(3, 4, 3), torch.ones(3, 4), "alpha", DepthMap(torch.ones(3, 4), torch.ones(3, 4) > 0)
    )
    assert (view.width_px, view.height_px) == (4, 3)
    with pytest.raises(ValueError, match="front"):
        _ = view.posed_camera
    assert replace(view, camera=camera()).posed_camera.intrinsics.width_px == 40


def test_capture_keeps_its_record() -> None:
    """Noting adds to what is on record and changes no earlier capture."""
    first = Capture((), "flat_pairs")
    second = first.noting(Inference("depth unit", "1 mm", "16-bit PNG"), warnings=("Check the scale.",))
    third = second.noting(Inference("cameras", "cube", "names"))
    assert [item.what for item in third.inferences] == ["depth unit", "cameras"]
    assert third.warnings == ("Check the scale.",)
    assert first.inferences == ()
    with pytest.raises(FrozenInstanceError):
        first.layout = "other"  # type: ignore[misc]


def test_face_that_names_a_missing_vertex_is_refused() -> None:
    """A mesh is checked when it is made."""
    with pytest.raises(ValueError, match="does not exist"):
        TriangleMesh(torch.zeros(2, 3), torch.tensor([[0, 1, 2]]))
    assert TriangleMesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)).faces.numel() == 0


def test_normals_of_a_box() -> None:
    """Faces point along their side's normal, scaled by twice the area; corners point outwards."""
    box = meshes.box_mesh(0.5)
    expected = torch.tensor(meshes.SIDES, dtype=torch.float32).repeat_interleave(2, 0)
    torch.testing.assert_close(box.face_normals(), expected)
    torch.testing.assert_close(box.scaled_face_normals(), expected)
    outward = torch.nn.functional.normalize(box.positions_world, dim=1)
    assert ((box.vertex_normals() * outward).sum(1) > 0.9).all()
    assert box.diagonal_m() == pytest.approx(3**0.5)


def test_vertex_normals_of_a_sphere() -> None:
    """On a fine sphere they are the radii."""
    sphere = uv_sphere(40, 60)
    assert ((sphere.vertex_normals() * sphere.positions_world).sum(1) > 0.999).all()
    low, high = sphere.bounds_world()
    torch.testing.assert_close(low[2], -torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(high[2], torch.ones((), dtype=torch.float64))


def test_faces_without_area_have_zero_normals() -> None:
    """A degenerate face contributes nothing instead of NaN."""
    mesh = TriangleMesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
    assert (mesh.face_normals() == 0).all()
    assert (mesh.vertex_normals() == 0).all()


@pytest.mark.parametrize("scale", [0.97, 1.0, 1.04])
@pytest.mark.parametrize("turn_rad", [-0.1, 0.0, 0.3])
def test_camera_seen_through_a_similarity_moves_every_pixel_by_it(scale: float, turn_rad: float) -> None:
    """What the new camera projects is the similarity of what the old one projected, at any depth."""
    own = Camera(Intrinsics(40, 30, 50.0, 50.0, 18.0, 16.5), camera().world_from_camera)
    linear = scale * torch.tensor(
        [[math.cos(turn_rad), -math.sin(turn_rad)], [math.sin(turn_rad), math.cos(turn_rad)]], dtype=torch.float64
    )
    similarity = torch.cat([linear, torch.tensor([[3.0], [-2.0]], dtype=torch.float64)], 1)
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.4
    before_px, after_px = (
        batch_cameras([item], 30, 40, "cpu", torch.float64).project(points)[0][0]
        for item in (own, own.seen_through(similarity))
    )
    assert torch.allclose(after_px, before_px @ linear.T + similarity[:, 2], atol=1e-4)


def test_photographed_view_has_the_photographs_own_outline_and_camera() -> None:
    """Outline and similarity of the photograph replace the depth's, which then no longer belongs to the view."""
    box = meshes.box_capture()
    view = box.views[0]
    assert view.photographed() is view
    own = view.foreground_alpha.roll(2, 1)
    shift = torch.tensor([[1.0, 0, 2], [0, 1, 0]], dtype=torch.float64)
    photo = replace(view, mask_source="depth", photo_alpha=own, image_from_camera=shift).photographed()
    assert torch.equal(photo.foreground_alpha, own)
    assert (photo.mask_source, photo.depth, photo.photo_alpha, photo.image_from_camera) == ("plain", None, None, None)
    intrinsics = view.posed_camera.intrinsics
    assert photo.posed_camera.intrinsics.principal_x_px == pytest.approx(intrinsics.principal_x_px + 2)
    assert torch.allclose(photo.posed_camera.world_from_camera, view.posed_camera.world_from_camera)
