"""recon.load_capture: whole folders on disk to captures, and every fault to its own error."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import job_folders
import recon
import scenes
from recon.errors import (
    CorruptInput,
    IncompleteInput,
    InvalidCameras,
    InvalidDepth,
    InvalidOptions,
    NotAnImage,
    ObjectNotFound,
    SizeMismatch,
    TooManyPixels,
    WrongViewCount,
)
from recon.scene import batch_cameras
from recon.settings import DepthSettings, Settings

SCENE = scenes.toy()
SIZE_PX = 64
ANALYTIC = scenes.make_capture(SCENE, scenes.orbit6_cameras(SCENE, SIZE_PX))
CUBE = scenes.make_capture(SCENE, scenes.cube6_cameras(SCENE, SIZE_PX), names=scenes.CUBE6_NAMES)


@pytest.fixture
def posed(tmp_path):
    """A job folder with cameras."""
    return job_folders.write_transforms_json(ANALYTIC, tmp_path / "job")


@pytest.fixture
def unposed(tmp_path):
    """A job folder of flat pairs without cameras."""
    return job_folders.write_flat_pairs(ANALYTIC, tmp_path / "job")


def edit_json(folder, change):
    """Rewrite transforms.json after ``change`` has edited its record in place."""
    path = folder / "transforms.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def surface_error_m(view):
    """Largest distance of a view's measured points from the true surface."""
    batch = batch_cameras([view.posed_camera], *view.depth.depth_z.shape, "cpu", torch.float64)
    points = batch.unproject(view.depth.depth_z.double()[None])[0][view.depth.valid_mask]
    return float(np.abs(SCENE.signed_distance_m(points.numpy())).max())


def test_a_posed_capture_comes_back_as_it_was_made(posed):
    """Colours and alpha to half a step of 8 bits, depth to half a step of 16, cameras to rounding."""
    capture = recon.load_capture(posed)
    assert (capture.layout, capture.up_world, capture.cameras_source) == ("transforms_json", "z", "given")
    assert capture.is_metric
    for view, truth in zip(capture.views, ANALYTIC.views, strict=True):
        assert (view.name, view.mask_source) == (truth.name, "alpha")
        torch.testing.assert_close(view.image_srgb, truth.image_srgb, atol=0.5001 / 255, rtol=0)
        torch.testing.assert_close(view.foreground_alpha, truth.foreground_alpha, atol=0.5001 / 255, rtol=0)
        torch.testing.assert_close(view.camera.world_from_camera, truth.camera.world_from_camera, atol=1e-9, rtol=0)
        assert view.camera.intrinsics == truth.camera.intrinsics
        assert view.depth.valid_mask.sum() > 0.95 * truth.depth.valid_mask.sum()
        assert surface_error_m(view) < 0.6e-4


def test_flat_pairs_have_no_cameras_and_assume_millimetres(unposed):
    """Without a camera file the capture is unposed, its depth unit is inferred, and that is on record."""
    capture = recon.load_capture(unposed)
    assert (capture.layout, capture.cameras_source) == ("flat_pairs", "none")
    assert all(view.camera is None for view in capture.views)
    truth, view = ANALYTIC.views[0], capture.views[0]
    valid = view.depth.valid_mask
    torch.testing.assert_close(view.depth.depth_z[valid], truth.depth.depth_z[valid], atol=0.51e-3, rtol=0)
    assert "depth unit" in {inference.what for inference in capture.inferences}


def test_capture_json_states_the_depth_unit(unposed, tmp_path):
    """A stated unit beside flat pairs is used instead of a guess."""
    folder = job_folders.write_flat_pairs(ANALYTIC, tmp_path / "other", unit_m=2e-4)
    (folder / "capture.json").write_text('{"depth_unit_scale_factor": 0.0002}')
    capture = recon.load_capture(folder)
    valid = capture.views[0].depth.valid_mask
    torch.testing.assert_close(
        capture.views[0].depth.depth_z[valid], ANALYTIC.views[0].depth.depth_z[valid], atol=1.1e-4, rtol=0
    )
    assert capture.inferences == ()


@pytest.mark.parametrize("is_studio", [True, False])
def test_cube_folders_keep_relative_depth(tmp_path, is_studio):
    """8-bit depth stays relative, in proportion to the true depth; its silhouette or the alpha masks the view."""
    capture = recon.load_capture(job_folders.write_cube_folders(CUBE, tmp_path / "job", is_studio))
    assert (capture.layout, capture.is_metric) == ("cube_folders", False)
    by_name = {view.name: view for view in CUBE.views}
    for view in capture.views:
        truth = by_name[view.name]
        assert view.mask_source == ("depth" if is_studio else "alpha")
        valid = view.depth.valid_mask
        ratio = truth.depth.depth_z[valid] / view.depth.depth_z[valid]
        assert float(ratio.max() / ratio.min()) < 1.01
        agreement = ((view.foreground_alpha > 0.5) == (truth.foreground_alpha > 0.5)).float().mean()
        assert float(agreement) > 0.98


def test_photographs_as_jpeg_in_two_folders(tmp_path):
    """images/*.jpg with depth/*.png on a white background: masks come from the depth."""
    folder = tmp_path / "job"
    for name in ("images", "depth"):
        (folder / name).mkdir(parents=True)
    for index, view in enumerate(ANALYTIC.views):
        Image.fromarray(job_folders.on_background(view, (1, 1, 1))).save(folder / f"images/{index}.jpg", quality=95)
        Image.fromarray(job_folders.depth_u16(view, 1e-3)).save(folder / f"depth/{index}.png")
    capture = recon.load_capture(folder)
    assert capture.layout == "two_folders"
    assert {view.mask_source for view in capture.views} == {"depth"}


def test_depth_keeps_its_own_grid(posed):
    """Depth at half the photograph's resolution stays at half, and its points still lie on the surface."""
    half = [scenes.render(SCENE, scenes.orbit6_cameras(SCENE, SIZE_PX // 2)[index], 1).depth_z_m for index in range(6)]
    for index, depth_z_m in enumerate(half):
        Image.fromarray(np.rint(depth_z_m / 1e-4).astype(np.uint16)).save(posed / f"depth_{index:02d}.png")
    view = recon.load_capture(posed).views[3]
    assert view.depth.depth_z.shape == (SIZE_PX // 2, SIZE_PX // 2)
    assert (view.height_px, view.width_px) == (SIZE_PX, SIZE_PX)
    assert surface_error_m(view) < 0.6e-4


def test_distances_along_the_ray_become_depths(posed):
    """With is_distance the files hold ray lengths; the points land on the surface only if they are converted."""
    for index, view in enumerate(ANALYTIC.views):
        batch = batch_cameras([view.camera], SIZE_PX, SIZE_PX, "cpu", torch.float64)
        rays = batch.unproject(torch.ones(1, SIZE_PX, SIZE_PX, dtype=torch.float64))[0] - view.camera.position_world
        distance_m = view.depth.depth_z.double() * rays.norm(dim=-1)
        steps = (distance_m / 1e-4).round().numpy().astype(np.uint16)
        Image.fromarray(steps).save(posed / f"depth_{index:02d}.png")
    assert surface_error_m(recon.load_capture(posed).views[0]) > 5e-4
    capture = recon.load_capture(posed, Settings(depth=DepthSettings(is_distance=True)))
    assert surface_error_m(capture.views[0]) < 0.6e-4


def test_distances_need_a_camera(unposed):
    """Without cameras and without fov_deg ray lengths cannot be converted; with fov_deg they can."""
    settings = Settings(depth=DepthSettings(is_distance=True))
    with pytest.raises(InvalidOptions):
        recon.load_capture(unposed, settings)
    straight = recon.load_capture(unposed).views[0].depth.depth_z
    converted = recon.load_capture(unposed, settings.model_copy(update={"fov_deg": 40.0})).views[0].depth.depth_z
    assert bool((converted <= straight).all())


def test_a_lens_is_undone(posed):
    """A lens stated in transforms.json moves the picture's outer parts and leaves the principal point alone."""
    plain = recon.load_capture(posed).views[0]
    edit_json(posed, lambda record: record.update(k1=0.8))
    bent = recon.load_capture(posed).views[0]
    assert float((bent.foreground_alpha - plain.foreground_alpha).abs().max()) > 0.2
    row, column = int(0.493 * SIZE_PX), int(0.49 * SIZE_PX)
    torch.testing.assert_close(bent.image_srgb[row, column], plain.image_srgb[row, column], atol=0.02, rtol=0)


def test_a_turned_photograph_turns_its_depth(tmp_path):
    """EXIF orientation of a portrait photograph is applied to the depth that was stored like the sensor."""
    folder = tmp_path / "job"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    depth = np.zeros((30, 40), np.uint16)
    depth[5:25, 10:20] = 500 + np.arange(10)
    for index in range(2):
        colours = np.full((30, 40, 3), 250, np.uint8)
        Image.fromarray(colours).save(folder / f"view_{index}.jpg", exif=exif)
        Image.fromarray(depth).save(folder / f"depth_{index}.png")
    view = recon.load_capture(folder, Settings(views=2)).views[0]
    assert (view.height_px, view.width_px) == (40, 30)
    assert view.depth.depth_z[10, 12] == pytest.approx(0.5)
    assert view.depth.depth_z[19, 12] == pytest.approx(0.509)


def test_read_only_arrays_do_not_warn(posed, recwarn):
    """Reading is silent."""
    recon.load_capture(posed)
    assert [str(warning.message) for warning in recwarn.list] == []


@pytest.mark.parametrize("name", ["view_03.png", "depth_03.png"])
def test_a_missing_file_is_named(unposed, name):
    """INPUT_INCOMPLETE names the first missing file."""
    (unposed / name).unlink()
    with pytest.raises(IncompleteInput) as caught:
        recon.load_capture(unposed)
    assert caught.value.file == name


@pytest.mark.parametrize("name", ["view_03.png", "depth_03.png"])
def test_a_truncated_file_is_named(unposed, name):
    """INPUT_CORRUPT names the file that was cut off."""
    content = (unposed / name).read_bytes()
    (unposed / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptInput) as caught:
        recon.load_capture(unposed)
    assert caught.value.file == name


@pytest.mark.parametrize("name", ["view_03.png", "depth_03.png"])
def test_text_renamed_to_png_is_named(unposed, name):
    """INPUT_NOT_AN_IMAGE names the file that is text."""
    (unposed / name).write_text("this is not a picture")
    with pytest.raises(NotAnImage) as caught:
        recon.load_capture(unposed)
    assert caught.value.file == name


def test_eight_bit_depth_where_a_unit_is_stated_is_refused(posed):
    """transforms.json states a depth unit, so 8-bit depth is a failed export."""
    for index, view in enumerate(ANALYTIC.views):
        Image.fromarray(job_folders.normalised_depth_u8(view)).save(posed / f"depth_{index:02d}.png")
    with pytest.raises(InvalidDepth, match="16-bit"):
        recon.load_capture(posed)


def test_empty_depth_is_refused(posed):
    """A depth image of zeros holds no measurement; it is named."""
    Image.fromarray(np.zeros((SIZE_PX, SIZE_PX), np.uint16)).save(posed / "depth_02.png")
    with pytest.raises(InvalidDepth) as caught:
        recon.load_capture(posed)
    assert caught.value.file == "depth_02.png"


@pytest.mark.parametrize(("name", "shape"), [("view_04.png", (32, 32, 4)), ("depth_04.png", (32, 32))])
def test_two_sizes_are_refused(unposed, name, shape):
    """All photographs have one size and all depth images one size; the odd one is named."""
    Image.fromarray(np.full(shape, 200, np.uint8 if len(shape) == 3 else np.uint16)).save(unposed / name)
    with pytest.raises(SizeMismatch) as caught:
        recon.load_capture(unposed)
    assert caught.value.file == name


def test_depth_of_another_aspect_ratio_is_refused(unposed):
    """Depth must show the same field of view as its photograph."""
    for index in range(6):
        Image.fromarray(np.full((48, 64), 500, np.uint16)).save(unposed / f"depth_{index:02d}.png")
    with pytest.raises(SizeMismatch) as caught:
        recon.load_capture(unposed)
    assert caught.value.file == "depth_00.png"


def test_the_pixel_limit_is_a_setting(unposed):
    """A picture over max_image_pixels is refused."""
    for name in ("view_00.png", "depth_00.png"):
        Image.fromarray(np.zeros((65, 64), np.uint8)).save(unposed / name)
        with pytest.raises(TooManyPixels):
            recon.load_capture(unposed, Settings(max_image_pixels=4096))


def test_too_many_views_are_refused(unposed):
    """A seventh view in a folder of six needs views = 7."""
    for role in ("view", "depth"):
        (unposed / f"{role}_06.png").write_bytes((unposed / f"{role}_05.png").read_bytes())
    with pytest.raises(WrongViewCount):
        recon.load_capture(unposed)
    assert len(recon.load_capture(unposed, Settings(views=7)).views) == 7


def test_a_camera_that_is_not_rigid_is_refused(posed):
    """A scaled matrix names its frame and key."""

    def scale(record):
        record["frames"][2]["transform_matrix"][0][0] = 2.0

    edit_json(posed, scale)
    with pytest.raises(InvalidCameras) as caught:
        recon.load_capture(posed)
    assert caught.value.details == {"entry": "frame 2", "key": "transform_matrix"}


def test_cameras_for_another_picture_size_are_refused(posed):
    """Intrinsics of a landscape picture do not fit square photographs."""
    edit_json(posed, lambda record: record.update(w=640, h=480))
    with pytest.raises(InvalidCameras):
        recon.load_capture(posed)


def test_a_cut_camera_file_is_refused_once_reading(posed):
    """A transforms.json that ends in the middle is CAMERAS_INVALID when nobody waits any more."""
    text = (posed / "transforms.json").read_text()
    (posed / "transforms.json").write_text(text[: len(text) // 2])
    with pytest.raises(InvalidCameras) as caught:
        recon.load_capture(posed)
    assert caught.value.file == "transforms.json"


def test_transparent_photographs_hold_no_object(posed):
    """A view whose alpha is empty ends in OBJECT_NOT_FOUND with its name."""
    Image.fromarray(np.zeros((SIZE_PX, SIZE_PX, 4), np.uint8)).save(posed / "view_01.png")
    with pytest.raises(ObjectNotFound) as caught:
        recon.load_capture(posed)
    assert caught.value.file == "view_01"


def test_an_empty_folder_is_incomplete(tmp_path):
    """Nothing at all is reported as missing files."""
    with pytest.raises(IncompleteInput):
        recon.load_capture(tmp_path)
