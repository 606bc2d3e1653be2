"""recon.capture.depth_cleaning: depth that belongs to the object, in pieces that hang together."""

import torch

import scenes
from recon.capture.depth_cleaning import clean_depth
from recon.scene import DepthMap


def flat_depth():
    """A square of depth 1 in the middle of 60 x 60 pixels."""
    depth_z = torch.ones(60, 60)
    valid = torch.zeros(60, 60, dtype=torch.bool)
    valid[10:50, 10:50] = True
    return DepthMap(depth_z, valid)


def test_depth_outside_the_mask_is_dropped():
    """Table and wall around the object are not its depth."""
    coverage = torch.zeros(60, 60)
    coverage[20:40, 20:40] = 1
    cleaned = clean_depth(flat_depth(), coverage)
    assert torch.equal(cleaned.valid_mask, coverage > 0.5)


def test_the_mask_may_be_finer_than_the_depth():
    """A photograph of four times the resolution masks depth on the depth's own grid."""
    coverage = torch.zeros(240, 240)
    coverage[80:160, 80:160] = 1
    cleaned = clean_depth(flat_depth(), coverage)
    expected = torch.zeros(60, 60, dtype=torch.bool)
    expected[20:40, 20:40] = True
    assert torch.equal(cleaned.valid_mask, expected)


def test_a_speck_in_front_of_the_object_is_dropped():
    """A single pixel far from its neighbours in depth goes, everything else stays."""
    depth = flat_depth()
    depth.depth_z[30, 30] = 0.8
    cleaned = clean_depth(depth, torch.ones(60, 60))
    expected = depth.valid_mask.clone()
    expected[30, 30] = False
    assert torch.equal(cleaned.valid_mask, expected)


def test_a_coarse_step_is_no_jump():
    """Eight-bit depth climbs in steps; a step or two apart is still one surface."""
    depth = flat_depth()
    depth.depth_z[:] = (torch.arange(60)[None] * 2.0) / 255 + 0.02
    cleaned = clean_depth(DepthMap(depth.depth_z, depth.valid_mask, True, 1 / 255), torch.ones(60, 60))
    assert torch.equal(cleaned.valid_mask, depth.valid_mask)


def test_clean_captures_stay_whole():
    """On exact depth of every solid less than 0.3 % of the pixels are lost, thin parts included."""
    for scene in (scenes.pan(), scenes.shaft(), scenes.bowl(), scenes.torus()):
        view = scenes.make_capture(scene, scenes.orbit6_cameras(scene, 96)[:1], supersample=1).views[0]
        cleaned = clean_depth(view.depth, torch.ones(96, 96))
        assert cleaned.valid_mask.sum() >= 0.997 * view.depth.valid_mask.sum(), scene.name


def test_nothing_in_nothing_out():
    """A mask without measured depth leaves an empty depth map, not an error."""
    cleaned = clean_depth(flat_depth(), torch.zeros(60, 60))
    assert not cleaned.valid_mask.any()
