"""recon.capture.depth_decoding: what numbers mean, and on what evidence."""

import numpy as np
import pytest

from recon.capture.depth_decoding import DepthEvidence, decide_code, decode_depth
from recon.capture.depthfile import RawDepth
from recon.errors import InvalidDepth, InvalidOptions
from recon.settings import DepthSettings

AUTO = DepthSettings()
NOTHING = DepthEvidence()


def raw(values, bits, name="depth_00.png"):
    return RawDepth(name, np.asarray(values, np.float32), bits)


def ball(bits, is_near_bright=False):
    """A bulging object: nearest in the middle, background zero, farthest value the largest code."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    inside = x**2 + y**2 < 0.64
    depth = 2 - np.sqrt((0.64 - x**2 - y**2).clip(0))
    fraction = depth / depth[inside].max()
    code = 1.6 - fraction if is_near_bright else fraction
    code = code / code[inside].max() * ((1 << bits) - 1)
    return raw(np.where(inside, np.rint(code), 0), bits)


def decoded(raws, settings=AUTO, evidence=NOTHING):
    code, inferences = decide_code(raws, settings, evidence)
    return [decode_depth(item, code) for item in raws], code, inferences


def test_floats_are_metres():
    """Floating-point files hold metres; zero, infinite, negative and huge values are no measurement."""
    (depth,), code, inferences = decoded([raw([[0.5, 0, np.inf, np.nan, -1, 1e10]], 0)])
    assert code.encoding == "metres"
    assert depth.valid_mask.tolist() == [[True, False, False, False, False, False]]
    assert depth.depth_z[0, 0] == 0.5
    assert (depth.is_relative, depth.step_z, depth.integer_bits) == (False, 0.0, 0)
    assert inferences[0].value == "metres"


def test_large_floats_are_millimetres():
    """Nobody photographs an object from 700 m away: such numbers are millimetres, and that is put on record."""
    (depth,), _, inferences = decoded([raw([[700.0, 710.0, 720.0, 0.0]], 0)])
    assert depth.depth_z[0, 1] == pytest.approx(0.71)
    assert inferences[-1].value == "millimetres"


def test_sixteen_bits_are_millimetres_unless_stated():
    """Without any statement 16-bit numbers are millimetres, and that is put on record."""
    (depth,), _, inferences = decoded([raw([[1000, 0]], 16)])
    assert depth.depth_z[0, 0] == pytest.approx(1.0)
    assert depth.step_z == pytest.approx(1e-3)
    assert {inference.what for inference in inferences} == {"depth encoding", "depth unit"}


def test_a_stated_unit_is_used_without_inference():
    """The camera file's unit needs no guess, so none is recorded."""
    (depth,), _, inferences = decoded([raw([[1000]], 16)], evidence=DepthEvidence(stated_unit_m=2e-4))
    assert depth.depth_z[0, 0] == pytest.approx(0.2)
    assert inferences == ()


def test_settings_win_over_the_camera_file():
    """An explicit unit_m beats depth_unit_scale_factor."""
    settings = DepthSettings(unit_m=0.01)
    (depth,), _, _ = decoded([raw([[100]], 16)], settings, DepthEvidence(stated_unit_m=1e-3))
    assert depth.depth_z[0, 0] == pytest.approx(1.0)


@pytest.mark.parametrize("unit_m", [1e-3, 1e-4, 1 / 5000])
def test_cameras_tell_the_unit(unit_m):
    """Where cameras stand 0.8 m from what they look at, the unit that puts the depth there is chosen."""
    raws = [raw(np.full((40, 40), round(0.75 / unit_m)), 16)]
    _, code, inferences = decoded(raws, evidence=DepthEvidence(camera_distance_m=0.8))
    assert code.unit_m == unit_m
    assert "0.8 m" in inferences[-1].evidence


def test_eight_bits_without_a_statement_stay_relative():
    """8-bit codes become (value + 0.5) / 255 and keep their scale open; zero is background."""
    (depth,), code, _ = decoded([raw([[0, 1, 255]], 8)])
    assert code.is_relative
    assert depth.is_relative
    assert depth.valid_mask.tolist() == [[False, True, True]]
    np.testing.assert_allclose(depth.depth_z[0, 1:], [1.5 / 255, 255.5 / 255], rtol=1e-6)
    assert depth.step_z == pytest.approx(1 / 255)
    assert depth.integer_bits == 8


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("is_near_bright", [False, True])
def test_brightness_of_the_middle_tells_near_from_far(bits, is_near_bright):
    """Objects bulge towards the camera: a middle brighter than the rim means near is bright."""
    (depth,), code, inferences = decoded([ball(bits, is_near_bright)])
    assert code.encoding == ("near_is_bright" if is_near_bright else "normalised_per_view")
    assert depth.depth_z[32, 32] < depth.depth_z[32, 8]
    assert inferences[0].evidence


def test_linear_eight_bits_between_near_and_far():
    """linear8 spreads the codes evenly between the stated distances, to half a step."""
    settings = DepthSettings(encoding="linear8", near_m=1.0, far_m=2.0)
    (depth,), _, inferences = decoded([raw([[1, 128, 255]], 8)], settings)
    np.testing.assert_allclose(depth.depth_z[0], [1.0, 1.5, 2.0], atol=1.6 / 255)
    assert not depth.is_relative
    assert inferences == ()


def test_disparity_between_near_and_far():
    """Disparity is even in 1 / z: the brightest code is the near plane, the middle one the harmonic mean."""
    settings = DepthSettings(encoding="disparity", near_m=1.0, far_m=3.0)
    (depth,), _, _ = decoded([raw([[255, 127.5, 1]], 8)], settings)
    np.testing.assert_allclose(depth.depth_z[0], [1.0, 1.5, 3.0], rtol=0.01)


def test_disparity_without_planes_is_relative_and_inverse():
    """Twice the disparity is half the depth, whatever the scale."""
    (depth,), _, _ = decoded([raw([[200, 100, 50]], 8)], DepthSettings(encoding="disparity"))
    np.testing.assert_allclose(depth.depth_z[0], [0.25, 0.5, 1.0], rtol=1e-6)
    assert depth.is_relative


@pytest.mark.parametrize(
    ("settings", "evidence"),
    [
        (DepthSettings(encoding="unsigned"), NOTHING),
        (AUTO, DepthEvidence(stated_unit_m=1e-3)),
        (DepthSettings(unit_m=1e-3), NOTHING),
    ],
)
def test_eight_bits_where_sixteen_were_declared_are_refused(settings, evidence):
    """Declared integers with a unit cannot be 8-bit; the file is named."""
    with pytest.raises(InvalidDepth) as caught:
        decoded([raw([[5]], 8)], settings, evidence)
    assert caught.value.file == "depth_00.png"


def test_views_of_different_kinds_are_refused():
    """One 8-bit file among 16-bit ones is an export gone wrong; it is the one that is named."""
    with pytest.raises(InvalidDepth) as caught:
        decoded([raw([[500]], 16), raw([[5]], 8, "depth_01.png")])
    assert caught.value.file == "depth_01.png"


@pytest.mark.parametrize("bits", [0, 8, 16])
def test_an_empty_depth_image_is_refused(bits):
    """A view in which nothing was measured is named."""
    with pytest.raises(InvalidDepth) as caught:
        decoded([raw(np.ones((4, 4)), bits), raw(np.zeros((4, 4)), bits, "depth_01.png")])
    assert caught.value.file == "depth_01.png"


def test_metres_cannot_be_integers():
    """Declaring metres for an integer file is a contradiction."""
    with pytest.raises(InvalidDepth):
        decoded([raw([[5]], 16)], DepthSettings(encoding="metres"))


@pytest.mark.parametrize(
    "settings",
    [DepthSettings(encoding="linear8"), DepthSettings(encoding="linear8", near_m=2.0, far_m=1.0)],
    ids=["no planes", "near beyond far"],
)
def test_impossible_options_are_refused(settings):
    """linear8 needs its planes, in the right order."""
    with pytest.raises(InvalidOptions):
        decoded([raw([[5]], 8)], settings)
