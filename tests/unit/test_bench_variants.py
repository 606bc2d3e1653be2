"""The comparison of a capture's variants with its clean one."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from variants import camera_errors, lowest_mask_iou

from scenes import orbit6_cameras, toy


def write_cameras(path: Path, change: np.ndarray | None = None) -> Path:
    """Six cameras around the toy as transforms.json; ``change`` moves the third in its own frame."""
    frames = []
    for index, camera in enumerate(orbit6_cameras(toy(), 32)):
        pose = camera.world_from_camera.numpy()
        matrix = pose @ change if index == 2 and change is not None else pose
        frames.append({"file_path": f"view_{index:02d}.png", "transform_matrix": matrix.tolist()})
    path.write_text(json.dumps({"frames": frames[::-1]}))
    return path


def moved(turn_deg: float, shift_m: float) -> np.ndarray:
    change = np.eye(4)
    cosine, sine = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    change[:2, :2] = [[cosine, -sine], [sine, cosine]]
    change[0, 3] = shift_m
    return change


def test_equal_cameras_have_no_error(tmp_path: Path) -> None:
    """The order of the frames does not matter."""
    assert camera_errors(write_cameras(tmp_path / "a.json"), write_cameras(tmp_path / "b.json")) == pytest.approx(
        (0, 0), abs=1e-4
    )


def test_one_wrong_camera_is_measured(tmp_path: Path) -> None:
    """A camera turned by 3 degrees and shifted by 10 mm shows, less what the common alignment takes."""
    turn_deg, shift_mm = camera_errors(
        write_cameras(tmp_path / "a.json", moved(3.0, 0.01)), write_cameras(tmp_path / "b.json")
    )
    assert 2.0 < turn_deg <= 3.1
    assert 6.0 < shift_mm <= 10.5


def test_without_true_masks_there_is_no_overlap(tmp_path: Path) -> None:
    """Only variants with a background have true masks beside them."""
    assert lowest_mask_iou(tmp_path / "clean", tmp_path / "truth") is None
