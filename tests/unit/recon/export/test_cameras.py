"""cameras.json says the same as the capture, in the convention of nerfstudio and instant-ngp."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import meshes
from job_folders import write_flat_pairs
from recon import load_capture
from recon.errors import DiskFull
from recon.export import write_cameras_json
from recon.settings import Settings
from scenes import make_capture, orbit6_cameras, toy


def test_points_project_as_before(tmp_path: Path) -> None:
    """A point seen through a written OpenGL camera lands on the pixel that the capture's camera gives."""
    capture = meshes.box_capture()
    write_cameras_json(capture, tmp_path / "cameras.json")
    document = json.loads((tmp_path / "cameras.json").read_text())
    point_world = np.array([0.3, 0.2, 0.4, 1.0])
    for view, frame in zip(capture.views, document["frames"], strict=True):
        x, y, z, _ = np.linalg.inv(np.array(frame["transform_matrix"])) @ point_world
        written_px = frame["cx"] + frame["fl_x"] * x / -z, frame["cy"] - frame["fl_y"] * y / -z
        camera = view.posed_camera
        a, b, c, _ = np.linalg.inv(camera.world_from_camera.numpy()) @ point_world
        own = camera.intrinsics
        expected_px = own.principal_x_px + own.focal_x_px * a / c, own.principal_y_px + own.focal_y_px * b / c
        assert written_px == pytest.approx(expected_px, abs=1e-9)
        assert frame["file_path"] == view.name
        assert (frame["w"], frame["h"]) == (64, 64)


def test_frame_and_scale_are_on_record(tmp_path: Path) -> None:
    """The file says which way is up, whether lengths are metres, and where the cameras came from."""
    write_cameras_json(meshes.box_capture(is_metric=False), tmp_path / "cameras.json")
    document = json.loads((tmp_path / "cameras.json").read_text())
    assert (document["up_world"], document["is_metric"], document["cameras_source"]) == ("z", False, "given")


def test_full_disk_is_reported_as_such(tmp_path: Path) -> None:
    """A refused write raises DiskFull with the file's name."""
    (tmp_path / "cameras.json").symlink_to("/dev/full")
    with pytest.raises(DiskFull) as caught:
        write_cameras_json(meshes.box_capture(), tmp_path / "cameras.json")
    assert caught.value.file == "cameras.json"


def test_the_file_serves_as_transforms_json_beside_the_photographs(tmp_path: Path) -> None:
    """Under the name transforms.json in the job folder it is read back as the cameras that were written."""
    scene = toy()
    capture = make_capture(scene, orbit6_cameras(scene, 64), supersample=1)
    write_flat_pairs(capture, tmp_path)
    views = tuple(replace(view, photo_path=f"view_{index:02d}.png") for index, view in enumerate(capture.views))
    write_cameras_json(replace(capture, views=views), tmp_path / "transforms.json")
    again = load_capture(tmp_path, Settings())
    assert again.layout == "transforms_json"
    for view, expected in zip(again.views, capture.views, strict=True):
        camera = view.posed_camera
        assert camera.intrinsics == expected.posed_camera.intrinsics
        assert np.allclose(camera.world_from_camera, expected.posed_camera.world_from_camera, atol=1e-12)


def test_photographs_that_disagree_come_with_their_own_cameras(tmp_path: Path) -> None:
    """A photograph shifted against its depth is written with the principal point that the photograph has."""
    capture = meshes.box_capture()
    shift = torch.tensor([[1.0, 0, 3], [0, 1, -2]], dtype=torch.float64)
    moved = replace(capture, views=(replace(capture.views[0], image_from_camera=shift), *capture.views[1:]))
    write_cameras_json(moved.photographed(), tmp_path / "cameras.json")
    frame = json.loads((tmp_path / "cameras.json").read_text())["frames"][0]
    own = capture.views[0].posed_camera.intrinsics
    assert (frame["cx"], frame["cy"]) == pytest.approx((own.principal_x_px + 3, own.principal_y_px - 2))
