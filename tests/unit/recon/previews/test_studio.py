"""Where the preview cameras stand."""

import pytest
import torch

from raster_scenes import uv_sphere
from recon.previews.studio import FILLED_SHARE, SIDES_Z_UP, side_cameras, some_cameras, turntable_cameras

LOPSIDED = torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [0, 0.3, 0], [0, 0, 0.9], [0.1, 0.1, -0.2]]) + 5.0
UP = {"z": (0.0, 0.0, 1.0), "y": (0.0, 1.0, 0.0)}
FRONT = {"z": (0.0, -1.0, 0.0), "y": (0.0, 0.0, 1.0)}


@pytest.mark.parametrize("up_world", ["y", "z"])
def test_every_side_frames_the_object(up_world: str) -> None:
    """All vertices are in the picture, the longer side fills it as far as wanted, and the outline is centred."""
    for name, cameras in side_cameras(LOPSIDED, up_world, 200).items():
        pixels_px, depth_z_m = cameras.project(LOPSIDED)
        low, high = pixels_px[0].amin(0), pixels_px[0].amax(0)
        assert depth_z_m.min() > 0, name
        assert low.min() >= 100 * (1 - FILLED_SHARE) - 0.1, name
        assert high.max() <= 100 * (1 + FILLED_SHARE) + 0.1, name
        assert (high - low).max().item() == pytest.approx(200 * FILLED_SHARE, abs=0.1), name


@pytest.mark.parametrize("up_world", ["y", "z"])
def test_sides_are_where_their_names_say(up_world: str) -> None:
    """Front is seen from the front with up at the top; opposite sides look at one another; +x is on the right."""
    sphere = uv_sphere(8, 10).positions_world.float()
    cameras = side_cameras(sphere, up_world, 100)
    assert list(cameras) == list(SIDES_Z_UP) == ["front", "back", "left", "right", "top", "bottom"]
    places = {name: torch.nn.functional.normalize(camera.positions_world[0], dim=0) for name, camera in cameras.items()}
    assert places["front"].tolist() == pytest.approx(FRONT[up_world], abs=1e-4)
    assert places["right"].tolist() == pytest.approx((1, 0, 0), abs=1e-4)
    assert places["top"].tolist() == pytest.approx(UP[up_world], abs=1e-4)
    for one, other in (("front", "back"), ("left", "right"), ("top", "bottom")):
        assert places[one].tolist() == pytest.approx((-places[other]).tolist(), abs=1e-4)
    for name in ("front", "back", "left", "right"):
        top_px, _ = cameras[name].project(torch.tensor([UP[up_world]]))
        assert top_px[0, 0, 1] < 30, name
    for name in ("front", "top"):
        right_px, _ = cameras[name].project(torch.tensor([[1.0, 0, 0]]))
        assert right_px[0, 0, 0] > 70, name


@pytest.mark.parametrize("up_world", ["y", "z"])
def test_turntable_goes_round_once_at_one_distance(up_world: str) -> None:
    """Equal distances and steps, beginning in front and going to the right; nothing leaves the picture."""
    cameras = turntable_cameras(LOPSIDED, up_world, 100, 12)
    middle = (LOPSIDED.amin(0) + LOPSIDED.amax(0)) / 2
    arms = cameras.positions_world - middle
    assert arms.norm(dim=1).std() < 1e-4 * arms.norm(dim=1).mean()
    assert (arms @ torch.tensor(UP[up_world]) > 0).all()
    assert arms[0] @ torch.tensor(FRONT[up_world]) > 0
    assert arms[3, 0] > 0.9 * arms[3].norm()
    pixels_px, _ = cameras.project(LOPSIDED)
    assert pixels_px.min() > 0
    assert pixels_px.max() < 100


def test_some_cameras() -> None:
    """Cameras taken out of a batch see what they saw there; the last part may be shorter."""
    cameras = turntable_cameras(LOPSIDED, "z", 64, 5)
    torch.testing.assert_close(some_cameras(cameras, 3, 4).project(LOPSIDED)[0], cameras.project(LOPSIDED)[0][3:])
