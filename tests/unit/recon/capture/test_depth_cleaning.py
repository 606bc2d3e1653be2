"""recon.capture.depth_cleaning: depth that belongs to the object, in pieces that hang together."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scenes
from recon.capture import depth_cleaning
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


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.floats(0.2, 1))
def test_any_map_keeps_what_a_walk_from_pixel_to_pixel_reaches(seed, height, width, filled):
    """Whatever the depths: with pieces of any size kept or dropped by their share, the same as a flood fill says."""
    generator = torch.Generator().manual_seed(seed)
    depth_z = 1 + 0.05 * torch.randint(0, 3, (height, width), generator=generator)
    valid = torch.rand(height, width, generator=generator) < filled
    sizes = flooded_sizes(depth_z, valid)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(depth_cleaning, "_SPECK_FRACTION", 0.5)
        cleaned = clean_depth(DepthMap(depth_z, valid), torch.ones(height, width))
    assert torch.equal(cleaned.valid_mask, valid & (sizes >= 0.5 * sizes.max()))


def flooded_sizes(depth_z, valid):
    """For every pixel the size of its piece: joined are the eight neighbours within 2 % of the nearer depth."""
    sizes, height, width = torch.zeros(valid.shape), *valid.shape
    for start in torch.nonzero(valid).tolist():
        reached, border = {tuple(start)}, [tuple(start)]
        while border:
            row, column = border.pop()
            for other in itertools.product(range(row - 1, row + 2), range(column - 1, column + 2)):
                if other in reached or not (0 <= other[0] < height and 0 <= other[1] < width) or not valid[other]:
                    continue
                near, far = sorted([float(depth_z[row, column]), float(depth_z[other])])
                if far - near <= 0.02 * near:
                    reached.add(other)
                    border.append(other)
        sizes[tuple(start)] = len(reached)
    return sizes


def test_nothing_in_nothing_out():
    """A mask without measured depth leaves an empty depth map, not an error."""
    cleaned = clean_depth(flat_depth(), torch.zeros(60, 60))
    assert not cleaned.valid_mask.any()
