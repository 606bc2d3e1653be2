"""recon.capture's readers for BOP, COLMAP, Record3D and Polycam: round trips and malformed fields."""

import json
import math

import numpy as np
import OpenEXR
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation

from recon.capture.layout import find_layout, find_manifest
from recon.capture.listing import Listing
from recon.capture.posing import world_from_camera
from recon.capture.reading import read_capture
from recon.errors import InvalidCameras
from recon.frames import CAMERA_GL_FROM_CAMERA
from recon.settings import Settings

WIDTH_PX, HEIGHT_PX, FOCAL_X_PX, FOCAL_Y_PX, PRINCIPAL_X_PX, PRINCIPAL_Y_PX = 640, 480, 500.0, 505.0, 322.5, 238.25

finite = st.floats(-5, 5)
rotations = st.tuples(finite, finite, finite).map(lambda vector: Rotation.from_rotvec(vector).as_matrix())
poses = st.tuples(rotations, st.tuples(finite, finite, finite)).map(lambda pair: rigid(*pair))
pose_lists = st.lists(poses, min_size=2, max_size=4)


def rigid(rotation, translation):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def manifest_of(files, view_count=None):
    """The manifest of a folder given as paths and contents."""
    return find_manifest(Listing(list(files)), lambda name: files[name], view_count)


def bop_files(world_from_cameras, with_objects=False, **changes):
    cameras, objects, files = {}, {}, {}
    for index, matrix in enumerate(world_from_cameras):
        camera_from_world = np.linalg.inv(matrix)
        rotation, translation_mm = (
            camera_from_world[:3, :3].ravel().tolist(),
            (1000 * camera_from_world[:3, 3]).tolist(),
        )
        k = [FOCAL_X_PX, 0, PRINCIPAL_X_PX - 0.5, 0, FOCAL_Y_PX, PRINCIPAL_Y_PX - 0.5, 0, 0, 1]
        cameras[str(index)] = {"cam_K": k, "depth_scale": 0.1}
        if with_objects:
            entry = {"obj_id": 4, "cam_R_m2c": rotation, "cam_t_m2c": translation_mm}
            objects[str(index)] = [{**entry, "obj_id": 9}] * (index % 2) + [entry]
        else:
            cameras[str(index)] |= {"cam_R_w2c": rotation, "cam_t_w2c": translation_mm}
        cameras[str(index)] |= changes
        files |= {f"rgb/{index:06d}.png": b"", f"depth/{index:06d}.png": b""}
        files |= {f"mask_visib/{index:06d}_{instance:06d}.png": b"" for instance in range(2)}
    files["scene_camera.json"] = json.dumps(cameras).encode()
    if with_objects:
        files["scene_gt.json"] = json.dumps(objects).encode()
    return files


def colmap_files(world_from_cameras, model="PINHOLE", parameters=None, header="# comment\n"):
    parameters = parameters or (FOCAL_X_PX, FOCAL_Y_PX, PRINCIPAL_X_PX, PRINCIPAL_Y_PX)
    numbers = " ".join(map(repr, parameters))
    lines, files = [], {"sparse/0/cameras.txt": f"{header}7 {model} {WIDTH_PX} {HEIGHT_PX} {numbers}\n".encode()}
    for index, matrix in enumerate(world_from_cameras):
        camera_from_world = np.linalg.inv(matrix)
        x, y, z, w = Rotation.from_matrix(camera_from_world[:3, :3]).as_quat()
        values = " ".join(repr(float(value)) for value in (w, x, y, z, *camera_from_world[:3, 3]))
        lines += [f"{index + 1} {values} 7 shot {index}.jpg", "12.5 30.25 -1 100.0 200.0 5"]
        files |= {f"images/shot {index}.jpg": b"", f"depth/shot {index}.png": b""}
    files["sparse/0/images.txt"] = (header + "\n".join(lines) + "\n").encode()
    return files


def record3d_files(world_from_cameras, **changes):
    poses = []
    for matrix in world_from_cameras:
        world_from_gl = matrix @ CAMERA_GL_FROM_CAMERA.numpy()
        poses.append([*Rotation.from_matrix(world_from_gl[:3, :3]).as_quat().tolist(), *world_from_gl[:3, 3].tolist()])
    k = [FOCAL_X_PX, 0, 0, 0, FOCAL_Y_PX, 0, PRINCIPAL_X_PX, PRINCIPAL_Y_PX, 1]
    record = {"w": WIDTH_PX, "h": HEIGHT_PX, "K": k, "poses": poses, "fps": 60} | changes
    files = {f"{folder}": b"" for i in range(len(poses)) for folder in (f"rgb/{i}.jpg", f"depth/{i}.exr")}
    return files | {"metadata.json": json.dumps(record).encode()}


def polycam_files(world_from_cameras, prefix="corrected_", **changes):
    files = {}
    for index, matrix in enumerate(world_from_cameras):
        world_from_gl = matrix @ CAMERA_GL_FROM_CAMERA.numpy()
        record = {f"t_{row}{column}": world_from_gl[row, column] for row in range(3) for column in range(4)}
        record |= {"fx": FOCAL_X_PX, "fy": FOCAL_Y_PX, "cx": PRINCIPAL_X_PX, "cy": PRINCIPAL_Y_PX}
        record |= {"width": WIDTH_PX, "height": HEIGHT_PX, "blur_score": 90.0} | changes
        files[f"keyframes/{prefix}cameras/{1000 + index}.json"] = json.dumps(record).encode()
        files |= {f"keyframes/{prefix}images/{1000 + index}.jpg": b"", f"keyframes/depth/{1000 + index}.png": b""}
    return files


WRITERS = {
    "bop_scene": bop_files,
    "colmap_text": colmap_files,
    "record3d": record3d_files,
    "polycam_raw": polycam_files,
}


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=25, deadline=None)
@given(world_from_cameras=pose_lists)
def test_poses_survive_the_round_trip(kind, world_from_cameras):
    """Cameras written in a format come back in our axes to 1e-9, with their intrinsics, files and nothing missing."""
    manifest = manifest_of(WRITERS[kind](world_from_cameras))
    assert (manifest.kind, manifest.missing) == (kind, ())
    assert len(manifest.views) == len(world_from_cameras)
    for view, expected in zip(manifest.views, world_from_cameras, strict=True):
        torch.testing.assert_close(world_from_camera(view.camera), torch.from_numpy(expected), atol=1e-9, rtol=1e-9)
        assert view.camera.focal_px == (FOCAL_X_PX, FOCAL_Y_PX)
        assert view.camera.principal_px == (PRINCIPAL_X_PX, PRINCIPAL_Y_PX)
        assert view.files.depth is not None


@settings(max_examples=15, deadline=None)
@given(world_from_cameras=pose_lists)
def test_bop_objects_define_the_world_where_no_world_is_stated(world_from_cameras):
    """Without cam_R_w2c the world is the object's frame, and the mask follows the object's place in each image."""
    manifest = manifest_of(bop_files(world_from_cameras, with_objects=True))
    for index, (view, expected) in enumerate(zip(manifest.views, world_from_cameras, strict=True)):
        if index % 2 == 0:
            torch.testing.assert_close(world_from_camera(view.camera), torch.from_numpy(expected), atol=1e-9, rtol=1e-9)
        assert view.files.mask == f"mask_visib/{index:06d}_{index % 2:06d}.png"


def test_bop_depth_scale_is_per_millimetre():
    """A depth_scale of 0.1 means tenths of a millimetre."""
    assert manifest_of(bop_files([np.eye(4)] * 2)).views[0].depth_unit_m == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("model", "parameters", "focal_px", "k1"),
    [
        ("SIMPLE_PINHOLE", (400.0, 320.0, 240.0), (400.0, 400.0), 0.0),
        ("SIMPLE_RADIAL", (400.0, 320.0, 240.0, 0.05), (400.0, 400.0), 0.05),
        ("RADIAL", (400.0, 320.0, 240.0, 0.05, 0.01), (400.0, 400.0), 0.05),
        ("OPENCV", (400.0, 410.0, 320.0, 240.0, 0.05, 0.01, 0.001, 0.002), (400.0, 410.0), 0.05),
    ],
)
def test_colmap_camera_models(model, parameters, focal_px, k1):
    """Every model without a fisheye lens is read with its distortion."""
    camera = manifest_of(colmap_files([np.eye(4)] * 2, model, parameters)).views[0].camera
    assert (camera.focal_px, camera.lens.k1) == (focal_px, k1)


def test_colmap_images_without_points_are_read():
    """An image whose line of 2D points is empty does not swallow the next image."""
    files = colmap_files([np.eye(4)] * 3)
    files["sparse/0/images.txt"] = files["sparse/0/images.txt"].replace(b"12.5 30.25 -1 100.0 200.0 5", b"")
    assert len(manifest_of(files).views) == 3


@pytest.mark.parametrize("cut_name", ["sparse/0/cameras.txt", "sparse/0/images.txt"])
def test_a_half_written_colmap_file_is_waited_for(cut_name):
    """A model whose last line is not ended is still arriving."""
    files = colmap_files([np.eye(4)] * 2)
    files[cut_name] = files[cut_name][:-9]
    assert manifest_of(files).missing == (cut_name,)


def test_colmap_without_cameras_txt_waits_for_it():
    """images.txt alone asks for cameras.txt beside it."""
    files = colmap_files([np.eye(4)] * 2)
    del files["sparse/0/cameras.txt"]
    assert find_layout(list(files), files.__getitem__, None).missing == ("sparse/0/cameras.txt",)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        (b"7 PINHOLE 640", b"8 PINHOLE 640", "CAMERA_ID"),
        (b"PINHOLE", b"OPENCV_FISHEYE", "MODEL"),
        (b"640 480", b"0 480", "w"),
        (b"640 480", b"640 tall", "h"),
        (b"500.0 505.0", b"-500.0 505.0", "fl_x"),
        (b"500.0 505.0", b"500.0 nan", "fl_y"),
        (b"322.5 238.25", b"322.5", "PARAMS"),
        (b"322.5 238.25", b"left 238.25", "cx"),
        (b"322.5 238.25", b"322.5 inf", "cy"),
        (b" PINHOLE 640 480 500.0 505.0 322.5 238.25", b" PINHOLE 640", "MODEL"),
        (b"PINHOLE 640 480 500.0 505.0 322.5 238.25", b"RADIAL 640 480 0 322.5 238.25 0 0", "f"),
        (b"PINHOLE 640 480 500.0 505.0 322.5 238.25", b"RADIAL 640 480 500.0 322.5 238.25 x 0", "k1"),
        (b"PINHOLE 640 480 500.0 505.0 322.5 238.25", b"RADIAL 640 480 500.0 322.5 238.25 0 nan", "k2"),
        (b"PINHOLE 640 480 500.0 505.0 322.5 238.25", b"OPENCV 640 480 500 505 322 238 0 0 x 0", "p1"),
        (b"PINHOLE 640 480 500.0 505.0 322.5 238.25", b"OPENCV 640 480 500 505 322 238 0 0 0 inf", "p2"),
    ],
)
def test_each_wrong_colmap_camera_field_is_named(old, new, key):
    """A camera line that cannot be used is refused with its key."""
    files = colmap_files([np.eye(4)] * 2)
    assert old in files["sparse/0/cameras.txt"]
    files["sparse/0/cameras.txt"] = files["sparse/0/cameras.txt"].replace(old, new)
    with pytest.raises(InvalidCameras) as caught:
        manifest_of(files)
    assert caught.value.details["key"] == key


POSE_KEYS = ("QW", "QX", "QY", "QZ", "TX", "TY", "TZ")


@pytest.mark.parametrize(
    ("place", "key", "word"),
    [
        *[(place, key, word) for place, key in enumerate(POSE_KEYS, 1) for word in ("x", "inf")],
        (1, "QW", "2.0"),
        (8, "CAMERA_ID", "12"),
        (9, "NAME", "../0.jpg"),
        (9, "NAME", "/etc/0.jpg"),
    ],
)
def test_each_wrong_colmap_image_field_is_named(place, key, word):
    """A pose that is no pose, a camera that is not there and a path that leads outside: the line and the key."""
    files = colmap_files([np.eye(4)] * 2)
    lines = files["sparse/0/images.txt"].decode().split("\n")
    words = lines[1].split(" ", 9)
    words[place] = word
    lines[1] = " ".join(words)
    files["sparse/0/images.txt"] = "\n".join(lines).encode()
    with pytest.raises(InvalidCameras) as caught:
        manifest_of(files)
    assert caught.value.details == {"entry": "line 2", "key": key}


@pytest.mark.parametrize(
    "change",
    [
        {"cam_K": [1.0] * 8}, {"cam_K": [-1.0, 0, 0, 0, 1, 0, 0, 0, 1]}, {"cam_K": None}, {"depth_scale": 0},
        {"cam_R_w2c": [1.0] * 9}, {"cam_R_w2c": [math.nan] * 9}, {"cam_t_w2c": [0, 0]}, {"cam_t_w2c": None},
    ],
)  # fmt: skip
def test_each_wrong_bop_field_is_named(change):
    """A wrong entry of scene_camera.json is refused with the image and the key."""
    with pytest.raises(InvalidCameras) as caught:
        manifest_of(bop_files([np.eye(4)] * 2, **change))
    assert caught.value.details == {"entry": "image 0", "key": next(iter(change))}


@pytest.mark.parametrize(
    "change",
    [
        {"obj_id": None}, {"obj_id": "cat"}, {"cam_R_m2c": [0.0] * 9}, {"cam_R_m2c": [1.0] * 8}, {"cam_R_m2c": None},
        {"cam_t_m2c": [0.0, 0.0]}, {"cam_t_m2c": [0.0, math.inf, 0.0]}, {"cam_t_m2c": None},
    ],
)  # fmt: skip
def test_each_wrong_bop_object_field_is_named(change):
    """A wrong entry of scene_gt.json is refused with its key, where the object is the world."""
    files = bop_files([np.eye(4)] * 2, with_objects=True)
    objects = json.loads(files["scene_gt.json"])
    objects["0"][0] |= change
    files["scene_gt.json"] = json.dumps(objects).encode()
    with pytest.raises(InvalidCameras) as caught:
        manifest_of(files)
    assert caught.value.details["key"] == next(iter(change))
    assert caught.value.file == "scene_gt.json"


@pytest.mark.parametrize(
    ("name", "content", "key"),
    [
        ("scene_camera.json", {"first": {}}, "first"),
        ("scene_camera.json", {"0": [1]}, "0"),
        ("scene_gt.json", {"0": 5, "1": []}, "0"),
        ("scene_gt.json", {"0": [{"obj_id": 4}], "1": [{"obj_id": 9}]}, "0"),
    ],
)
def test_a_bop_file_of_another_shape_is_named(name, content, key):
    """Images without numbers, records that are none, and poses that are missing are refused with their place."""
    files = bop_files([np.eye(4)] * 2, with_objects=True) | {name: json.dumps(content).encode()}
    with pytest.raises(InvalidCameras) as caught:
        manifest_of(files)
    assert caught.value.file == name
    assert key in caught.value.message


@pytest.mark.parametrize(
    "change",
    [
        {"K": [500.0, 0, 320, 0, 500, 240, 0, 0, 1]}, {"K": 5}, {"w": 0}, {"h": None},
        {"poses": [[0, 0, 0, 1, 0, 0]] * 2},
        {"poses": [[0, 0, 0, 2, 0, 0, 0]] * 2}, {"poses": "none"}, {"poses": [[0, 0, 0, 1, 0, 0, math.nan]] * 2},
        {"K": [500.0] * 8}, {"K": [0, 0, 0, 0, 500, 0, 320, 240, 1]}, {"w": "wide"}, {"h": 1.5},
        {"perFrameIntrinsicCoeffs": [[1, 2]] * 2},
    ],
)  # fmt: skip
def test_each_wrong_record3d_field_is_named(change):
    """A wrong entry of metadata.json is refused with its key."""
    with pytest.raises(InvalidCameras) as caught:
        manifest_of(record3d_files([np.eye(4)] * 2, **change))
    assert caught.value.details["key"] == next(iter(change))


@pytest.mark.parametrize(
    "change",
    [
        {"t_00": 3.0}, {"fx": 0}, {"fy": -1}, {"cx": None}, {"cy": "x"}, {"width": 0}, {"height": 1.5},
        *({f"t_{row}{column}": value} for row in range(3) for column in range(4) for value in ("x", None)),
    ],
)  # fmt: skip
def test_each_wrong_polycam_field_is_named(change):
    """A wrong entry of a keyframe's camera is refused with its file and key."""
    with pytest.raises(InvalidCameras) as caught:
        manifest_of(polycam_files([np.eye(4)] * 2, **change))
    assert caught.value.details["key"] == next(iter(change))
    assert caught.value.file == "keyframes/corrected_cameras/1000.json"


def test_corrected_polycam_cameras_are_preferred():
    """Where Polycam refined its cameras, its undistorted photographs go with them."""
    files = polycam_files([np.eye(4)] * 2, "") | polycam_files([np.eye(4)] * 2, "corrected_")
    assert manifest_of(files).views[0].files.colour == "keyframes/corrected_images/1000.jpg"
    assert manifest_of(polycam_files([np.eye(4)] * 2, "")).views[0].files.colour == "keyframes/images/1000.jpg"


@pytest.mark.parametrize("kind", ["record3d", "polycam_raw"])
def test_long_recordings_are_thinned_evenly(kind):
    """Of 200 frames views = 5 takes five from the first to the last; without it a fixed small number is taken."""
    files = WRITERS[kind]([np.eye(4)] * 200)
    first = 0 if kind == "record3d" else 1000
    names = [view.name for view in find_layout(list(files), files.__getitem__, 5).views]
    assert names == [str(first + index) for index in (0, 50, 100, 149, 199)]
    assert len(find_layout(list(files), files.__getitem__, None).views) == 24


@pytest.mark.parametrize("kind", WRITERS)
def test_a_photograph_still_to_come_is_missing(kind):
    """Each reader names the photograph that its manifest promises and the folder lacks."""
    files = WRITERS[kind]([np.eye(4)] * 3)
    layout = find_layout(list(files), files.__getitem__, None)
    gone = layout.views[1].colour
    del files[gone]
    assert find_layout(list(files), files.__getitem__, None).missing[0].rsplit(".", 1)[0] == gone.rsplit(".", 1)[0]


def test_a_foreign_metadata_file_is_no_recording():
    """metadata.json without poses does not make a folder of flat pairs a Record3D export."""
    files = {f"{role}_{i}.png": b"" for role in ("view", "depth") for i in range(6)} | {"metadata.json": b"{}"}
    assert find_layout(list(files), files.__getitem__, None).kind == "flat_pairs"


SHRINK = 10
"""The pictures on disk are this many times smaller than the cameras state: same field of view."""


def write_folder(files, folder, depth_step_m):
    """Real pictures in place of the empty contents: a disc, a metre away, in front of nothing."""
    height, width = HEIGHT_PX // SHRINK, WIDTH_PX // SHRINK
    rows, columns = np.indices((height, width))
    disc = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < 15**2
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        folders = name.split("/")
        if content:
            path.write_bytes(content)
        elif path.suffix == ".exr":
            channels = {"Z": np.where(disc, 1.0, 0.0).astype(np.float32)}
            OpenEXR.File({"type": OpenEXR.scanlineimage}, channels).write(str(path))
        elif "depth" in folders:
            Image.fromarray(np.where(disc, round(1 / depth_step_m), 0).astype(np.uint16)).save(path)
        elif "mask_visib" in folders:
            Image.fromarray((255 * disc).astype(np.uint8)).save(path)
        else:
            Image.fromarray(np.where(disc[..., None], (200, 60, 30), (90, 120, 90)).astype(np.uint8)).save(path)
    return disc


@pytest.mark.parametrize(
    ("kind", "depth_step_m"), [("bop_scene", 1e-4), ("colmap_text", 1e-3), ("polycam_raw", 1e-3), ("record3d", 1.0)]
)
def test_a_folder_of_each_format_becomes_a_capture(kind, depth_step_m, tmp_path):
    """Real files of every format: cameras at the pictures' size, depth in metres, the object cut out."""
    poses_m = [rigid(Rotation.from_rotvec([0.1 * i, 0.4 * i, 0]).as_matrix(), (0.3 * i, 0, -1)) for i in range(3)]
    disc = write_folder(WRITERS[kind](poses_m), tmp_path, depth_step_m)
    capture = read_capture(tmp_path, Settings())
    assert (capture.layout, capture.cameras_source, capture.is_metric) == (kind, "given", True)
    shrink = 1 if kind == "bop_scene" else SHRINK  # BOP states no size: its numbers are the picture's own
    for view, expected in zip(capture.views, poses_m, strict=True):
        intrinsics = view.posed_camera.intrinsics
        assert (intrinsics.width_px, intrinsics.height_px) == (WIDTH_PX // SHRINK, HEIGHT_PX // SHRINK)
        assert intrinsics.focal_x_px == pytest.approx(FOCAL_X_PX / shrink)
        assert intrinsics.principal_y_px == pytest.approx(PRINCIPAL_Y_PX / shrink)
        torch.testing.assert_close(view.posed_camera.world_from_camera, torch.from_numpy(expected), atol=1e-9, rtol=0)
        assert torch.equal(view.depth.valid_mask, torch.from_numpy(disc))
        assert view.depth.depth_z[view.depth.valid_mask].min() == pytest.approx(1.0, abs=1e-3)
        assert torch.equal(view.foreground_alpha > 0.5, torch.from_numpy(disc))
        assert view.photo_path.endswith((".png", ".jpg"))
