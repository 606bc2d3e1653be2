"""recon.capture.view_table: an object on a table in the depth of one view, without its camera."""

import pytest
import torch

import scenes
from recon.capture.view_table import find_object_on_table
from recon.scene import DepthMap
from table_scenes import ball_on_table, cameras_above, depth_of_scene


def overlaps(scene, **options):
    """Of every view's mask with the truth."""
    shares = []
    for camera in cameras_above(scene):
        depth, mask = depth_of_scene(scene, camera, **options)
        coverage = find_object_on_table(depth)
        assert coverage is not None
        found = coverage.numpy() > 0.5
        shares.append((found & mask).sum() / (found | mask).sum())
    return shares


@pytest.mark.parametrize("make", [scenes.toy, scenes.cube, scenes.torus, scenes.pan])
def test_the_object_is_cut_from_its_table(make):
    """On exact depth every view's mask agrees with the truth to an IoU of 0.99, handles and hidden parts included."""
    assert min(overlaps(make())) > 0.99


def test_sensor_noise_costs_little():
    """With 1 mm of noise at a metre the object keeps an IoU of 0.97."""
    assert min(overlaps(scenes.cube(), noise_m=1e-3)) > 0.97


def test_the_unit_and_the_focal_length_do_not_matter():
    """The same depths in millimetres, and cut out of a wider picture, give the same mask."""
    scene = scenes.toy()
    depth, _ = depth_of_scene(scene, cameras_above(scene)[0])
    whole = find_object_on_table(depth)
    in_mm = find_object_on_table(DepthMap(depth.depth_z * 1000, depth.valid_mask))
    part = find_object_on_table(DepthMap(depth.depth_z[4:, 2:], depth.valid_mask[4:, 2:]))
    assert whole is not None
    assert in_mm is not None
    assert part is not None
    assert torch.equal(whole, in_mm)
    assert float((part - whole[4:, 2:]).abs().sum()) <= 0.01 * float(whole.sum())


def test_other_things_on_the_table_are_left_out():
    """A ball that stands apart from the object in the picture is not part of it."""
    toy = scenes.toy()
    assert min(overlaps(toy, clutter=(ball_on_table(toy, 0.3, 0.3),))) > 0.99


def test_a_wall_behind_the_table_is_not_the_object():
    """What reaches the picture's border is surroundings, however near to the middle it comes."""
    scene = scenes.cube()
    depth, mask = depth_of_scene(scene, cameras_above(scene)[0])
    wall = depth.depth_z.clone()
    wall[: wall.shape[0] // 3] = wall[wall.shape[0] // 3].max()
    wall = torch.where(torch.from_numpy(mask), depth.depth_z, torch.minimum(wall, depth.depth_z))
    coverage = find_object_on_table(DepthMap(wall, depth.valid_mask))
    assert coverage is not None
    found = coverage.numpy() > 0.5
    assert (found & mask).sum() / (found | mask).sum() > 0.97


def test_an_empty_table_has_no_object():
    """A table with nothing on it gives no mask."""
    scene = scenes.cube()
    depth, mask = depth_of_scene(scene, cameras_above(scene)[0])
    assert find_object_on_table(DepthMap(depth.depth_z, depth.valid_mask & ~torch.from_numpy(mask))) is None


def test_without_a_table_there_is_no_answer():
    """Depth of a ball alone has no plane; neither has too little depth."""
    scene = scenes.sphere()
    ball = scenes.make_capture(scene, cameras_above(scene)[:1], supersample=1).views[0].depth
    assert find_object_on_table(ball) is None
    few = torch.zeros(32, 32, dtype=torch.bool)
    few[:5, :5] = True
    assert find_object_on_table(DepthMap(few.float(), few)) is None
