"""recon.capture.depthfile: raw depth numbers from PNG, EXR, NPY and TIFF."""

import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image

from recon.capture.depthfile import read_depth
from recon.errors import CorruptInput, InvalidDepth, NotAnImage, TooManyPixels

VALUES = (np.arange(35, dtype=np.float32).reshape(5, 7) + 1) / 8
LIMIT = 1000


def write_exr(path, channels):
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))


@pytest.mark.parametrize("channel", ["Z", "depth", "V", "Y", "View Layer.Depth.Z"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_exr_depth_is_found_under_its_usual_names(tmp_path, channel, dtype):
    """Depth is taken from the channel that programs put it in."""
    write_exr(tmp_path / "a.exr", {channel: VALUES.astype(dtype)})
    raw = read_depth(tmp_path / "a.exr", "a.exr", LIMIT)
    np.testing.assert_array_equal(raw.values, VALUES)
    assert raw.integer_bits == 0


def test_exr_depth_wins_over_colour(tmp_path):
    """In a multilayer file the Z channel is read, not red."""
    write_exr(tmp_path / "a.exr", {"R": VALUES * 0, "G": VALUES * 0, "B": VALUES * 0, "Z": VALUES})
    np.testing.assert_array_equal(read_depth(tmp_path / "a.exr", "a.exr", LIMIT).values, VALUES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint16, np.uint8])
@pytest.mark.parametrize("name", ["a.npy", "a.tiff"])
def test_arrays_keep_their_numbers_and_kind(tmp_path, name, dtype):
    """NPY and TIFF depth come back unchanged, with their integer width."""
    values = (VALUES * 8).astype(dtype)
    np.save(tmp_path / name, values) if name.endswith("npy") else tifffile.imwrite(tmp_path / name, values)
    raw = read_depth(tmp_path / name, name, LIMIT)
    np.testing.assert_array_equal(raw.values, values.astype(np.float32))
    assert raw.integer_bits == {"f": 0, "u": 8 * np.dtype(dtype).itemsize}[np.dtype(dtype).kind]


def test_a_single_channel_axis_is_dropped(tmp_path):
    """(h, w, 1) is one depth image."""
    np.save(tmp_path / "a.npy", VALUES[..., None])
    assert read_depth(tmp_path / "a.npy", "a.npy", LIMIT).values.shape == (5, 7)


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 16)])
def test_grey_png_keeps_its_width(tmp_path, dtype, bits):
    """8-bit and 16-bit PNG are told apart, and values up to the largest survive."""
    values = np.array([[0, 1, np.iinfo(dtype).max]], dtype)
    Image.fromarray(values).save(tmp_path / "a.png")
    raw = read_depth(tmp_path / "a.png", "a.png", LIMIT)
    np.testing.assert_array_equal(raw.values, values.astype(np.float32))
    assert (raw.integer_bits, raw.largest_code) == (bits, np.iinfo(dtype).max)


def test_grey_saved_as_rgb_is_grey(tmp_path):
    """Three equal channels are one depth image."""
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(grey[..., None].repeat(3, 2)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_depth(tmp_path / "a.png", "a.png", LIMIT).values, grey)


def test_a_coloured_depth_picture_is_refused(tmp_path):
    """A colour-mapped visualisation cannot be turned back into depth."""
    colours = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    with pytest.raises(InvalidDepth) as caught:
        read_depth(tmp_path / "a.png", "depth/a.png", LIMIT)
    assert caught.value.file == "depth/a.png"


@pytest.mark.parametrize("name", ["a.png", "a.exr", "a.npy", "a.tiff"])
def test_text_under_any_depth_name_is_not_an_image(tmp_path, name):
    """Each format notices that the file is something else."""
    (tmp_path / name).write_text("no depth in here, only words, and some more of them")
    with pytest.raises(NotAnImage) as caught:
        read_depth(tmp_path / name, name, LIMIT)
    assert caught.value.file == name


@pytest.mark.parametrize("name", ["a.png", "a.exr", "a.npy", "a.tiff"])
def test_a_cut_depth_file_is_refused(tmp_path, name):
    """Each format notices that its end is missing."""
    values = np.random.default_rng(0).random((30, 30)).astype(np.float32)
    if name == "a.png":
        Image.fromarray((values * 65535).astype(np.uint16)).save(tmp_path / name)
    elif name == "a.exr":
        write_exr(tmp_path / name, {"Z": values})
    elif name == "a.npy":
        np.save(tmp_path / name, values)
    else:
        tifffile.imwrite(tmp_path / name, values, compression="zlib")
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises((CorruptInput, NotAnImage)):
        read_depth(tmp_path / name, name, LIMIT)


@pytest.mark.parametrize("name", ["a.png", "a.exr", "a.npy", "a.tiff"])
def test_the_pixel_limit_holds_for_depth(tmp_path, name):
    """Depth images are bounded like photographs."""
    if name == "a.png":
        Image.fromarray(VALUES.astype(np.uint8)).save(tmp_path / name)
    elif name == "a.exr":
        write_exr(tmp_path / name, {"Z": VALUES})
    elif name == "a.npy":
        np.save(tmp_path / name, VALUES)
    else:
        tifffile.imwrite(tmp_path / name, VALUES)
    with pytest.raises(TooManyPixels):
        read_depth(tmp_path / name, name, 34)


@pytest.mark.parametrize(
    "values", [np.zeros(4), np.zeros((2, 2, 3)), np.zeros((2, 2), bool), np.zeros((2, 2), complex)]
)
def test_other_arrays_are_no_depth(tmp_path, values):
    """Arrays of another shape or type are refused."""
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InvalidDepth):
        read_depth(tmp_path / "a.npy", "a.npy", LIMIT)


def test_pickled_objects_are_never_loaded(tmp_path):
    """An NPY file with Python objects could run code; it is refused."""
    np.save(tmp_path / "a.npy", np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(NotAnImage):
        read_depth(tmp_path / "a.npy", "a.npy", LIMIT)
