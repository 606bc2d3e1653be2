"""The example capture is what its script makes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import make_capture
import recon
import teapot
from repository import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "captures" / "teapot"
STRIDE_PX = 13
"""One pixel in so many, along both axes, is photographed again."""


@pytest.mark.parametrize("index", range(6))
def test_pictures_repeat(index: int) -> None:
    """Photographing the formulas again gives the stored colours and depths, pixel by pixel, to one step."""
    rgba = np.asarray(Image.open(EXAMPLE / f"view_{index:02}.png")).astype(int)
    depth = np.asarray(Image.open(EXAMPLE / f"depth_{index:02}.png")).astype(int)
    size_px = len(rgba)
    sampled = np.arange(STRIDE_PX // 2, size_px, STRIDE_PX)
    pixels = np.stack(np.meshgrid(sampled, sampled), -1).reshape(-1, 2)
    shot = make_capture.place_shot(size_px, make_capture.AZIMUTHS_DEG[index], make_capture.ELEVATIONS_DEG[index])
    rgba_again, depth_again = make_capture.photograph(shot, pixels)
    assert np.abs(rgba[pixels[:, 1], pixels[:, 0]] - rgba_again).max() <= 1
    assert np.abs(depth[pixels[:, 1], pixels[:, 0]] - depth_again.astype(int)).max() <= 1
    assert 0.2 < np.mean(depth_again > 0) < 0.6


def test_depth_lies_on_the_surface() -> None:
    """A stored depth, taken through the stored camera by OpenCV's conventions, is a point of the teapot."""
    manifest = json.loads((EXAMPLE / "transforms.json").read_text("utf-8"))
    for frame in manifest["frames"]:
        depth_z_m = np.asarray(Image.open(EXAMPLE / frame["depth_file_path"])) * manifest["depth_unit_scale_factor"]
        row, column = (index[::50] for index in np.nonzero(depth_z_m))
        z = depth_z_m[row, column]
        x = (column + 0.5 - manifest["cx"]) / manifest["fl_x"] * z
        y = (row + 0.5 - manifest["cy"]) / manifest["fl_y"] * z
        world_from_camera = np.array(frame["transform_matrix"]) @ np.diag([1.0, -1.0, -1.0, 1.0])
        points = np.stack([x, y, z], 1) @ world_from_camera[:3, :3].T + world_from_camera[:3, 3]
        assert len(points) > 500
        assert np.abs(teapot.signed_distance_m(points)).max() < manifest["depth_unit_scale_factor"]


def test_object_is_whole_in_every_view() -> None:
    """No view cuts the teapot off at its border."""
    for path in sorted(EXAMPLE.glob("view_*.png")):
        alpha = np.asarray(Image.open(path))[..., 3]
        border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
        assert not border.any(), path.name


def test_examples_are_small() -> None:
    """All example captures together stay below 2 MB."""
    files = [path for path in (REPOSITORY / "examples" / "captures").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000


def test_script_writes_a_capture(tmp_path: Path) -> None:
    """The script makes a folder that recon reads as six posed RGB-D views in metres."""
    make_capture.make_capture(tmp_path, size_px=16)
    capture = recon.load_capture(tmp_path)
    assert (capture.layout, capture.cameras_source, capture.is_metric) == ("transforms_json", "given", True)
    assert len(capture.views) == 6
    assert all(view.mask_source == "alpha" and view.depth is not None for view in capture.views)
