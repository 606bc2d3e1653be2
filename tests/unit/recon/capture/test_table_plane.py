"""recon.capture.table_plane: an object on a table, found in depth alone."""

import pytest
import torch

import scenes
from recon.capture.table_plane import find_table_objects
from recon.scene import DepthMap
from table_scenes import ball_on_table, cameras_above, depth_of_scene


def ious(scene, **options):
    cameras = cameras_above(scene)
    pairs = [depth_of_scene(scene, camera, **options) for camera in cameras]
    coverages = find_table_objects([depth for depth, _ in pairs], cameras)
    assert coverages is not None
    founds = [coverage.numpy() > 0.5 for coverage in coverages]
    return [(found & mask).sum() / (found | mask).sum() for found, (_, mask) in zip(founds, pairs, strict=True)]


@pytest.mark.parametrize("make", [scenes.toy, scenes.cube, scenes.torus, scenes.pan])
def test_the_object_is_cut_from_its_table(make):
    """On exact depth every view's mask agrees with the truth to an IoU of 0.97."""
    assert min(ious(make())) > 0.97


def test_sensor_noise_costs_little():
    """With 1 mm of noise at a metre the object keeps an IoU of 0.93."""
    assert min(ious(scenes.cube(), noise_m=1e-3)) > 0.93


def test_other_things_on_the_table_are_left_out():
    """A ball standing beside the object is not part of it."""
    toy = scenes.toy()
    assert min(ious(toy, clutter=(ball_on_table(toy, 0.05, 0.28),))) > 0.97


def test_without_a_table_there_is_no_answer():
    """A solid alone, whose faces are not looked down on by all cameras, is not taken for a table."""
    scene = scenes.sphere()
    cameras = cameras_above(scene)
    depths = [scenes.make_capture(scene, [camera], supersample=1).views[0].depth for camera in cameras]
    assert find_table_objects(depths, cameras) is None


def test_an_empty_table_has_no_object():
    """A table with nothing on it gives no mask."""
    scene = scenes.cube()
    cameras = cameras_above(scene)
    depths = []
    for camera in cameras:
        depth, mask = depth_of_scene(scene, camera)
        depths.append(DepthMap(depth.depth_z, depth.valid_mask & ~torch.from_numpy(mask)))
    assert find_table_objects(depths, cameras) is None
