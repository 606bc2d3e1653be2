"""recon.capture.imagefile: photographs and masks from PNG and JPEG."""

import numpy as np
import pytest
from PIL import Image

from recon.capture.imagefile import read_colour, read_mask, undo_orientation
from recon.errors import CorruptInput, NotAnImage, TooManyPixels

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 9, 4), dtype=np.uint8)
LIMIT = 10_000


def saved(folder, array_or_image, name="a.png", **options):
    image = array_or_image if isinstance(array_or_image, Image.Image) else Image.fromarray(array_or_image)
    image.save(folder / name, **options)
    return folder / name


def test_straight_alpha_and_colour_are_kept_exactly(tmp_path):
    """RGBA comes back byte for byte, also the colours under zero alpha."""
    image = read_colour(saved(tmp_path, PIXELS), "a.png", LIMIT, None)
    np.testing.assert_array_equal(image.rgb_u8, PIXELS[..., :3])
    np.testing.assert_array_equal(image.alpha_u8, PIXELS[..., 3])
    assert image.size_px == (9, 6)


def test_an_opaque_alpha_is_no_mask(tmp_path):
    """An alpha of 255 everywhere says nothing about the object."""
    opaque = PIXELS.copy()
    opaque[..., 3] = 255
    assert read_colour(saved(tmp_path, opaque), "a.png", LIMIT, None).alpha_u8 is None


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGB", "I;16"])
def test_every_png_mode_becomes_rgb(tmp_path, mode):
    """Grey, palette, bilevel and 16-bit pictures are photographs as well."""
    if mode == "I;16":
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(PIXELS[..., :3]).convert(mode)
    read = read_colour(saved(tmp_path, image), "a.png", LIMIT, None)
    assert (read.rgb_u8.shape, read.rgb_u8.dtype) == ((6, 9, 3), np.uint8)
    if mode == "I;16":
        np.testing.assert_array_equal(read.rgb_u8[..., 1], PIXELS[..., 0])


def test_palette_transparency_is_alpha(tmp_path):
    """A palette entry marked transparent is background."""
    image = Image.fromarray(np.array([[0, 1], [1, 1]], np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    read = read_colour(saved(tmp_path, image, transparency=0), "a.png", LIMIT, None)
    np.testing.assert_array_equal(read.alpha_u8, [[0, 255], [255, 255]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    """All eight orientations come out upright, and arrays without EXIF are turned the same way."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, PIXELS[..., :3], exif=exif)
    read = read_colour(path, "a.png", LIMIT, None)
    assert read.orientation == orientation
    turned = undo_orientation(PIXELS[..., 0].astype(np.float32), orientation)
    np.testing.assert_array_equal(read.rgb_u8[..., 0], turned)
    # Orientation 6 is a camera turned clockwise: the stored left column is the upright top row.
    if orientation == 6:
        np.testing.assert_array_equal(read.rgb_u8[0, ::-1, 0], PIXELS[:, 0, 0])


def test_a_stated_size_decides_about_exif(tmp_path):
    """Calibration tools ignore EXIF: a picture is turned only if its camera was stated for the turned size."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, PIXELS[..., :3], exif=exif)
    assert read_colour(path, "a.png", LIMIT, (9, 6)).size_px == (9, 6)
    assert read_colour(path, "a.png", LIMIT, (18, 12)).size_px == (9, 6)
    assert read_colour(path, "a.png", LIMIT, (6, 9)).size_px == (6, 9)


def test_jpeg_is_accepted_for_colour(tmp_path):
    """A JPEG is within its compression loss of the picture that was saved."""
    smooth = np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None].repeat(48, 0).repeat(3, 2)
    read = read_colour(saved(tmp_path, smooth, "a.jpg", quality=95), "a.jpg", LIMIT, None)
    assert np.abs(read.rgb_u8.astype(int) - smooth).max() <= 3


def test_text_renamed_to_png_is_not_an_image(tmp_path):
    """The file that was not an image is named."""
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(NotAnImage) as caught:
        read_colour(tmp_path / "a.png", "views/a.png", LIMIT, None)
    assert caught.value.file == "views/a.png"


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_text_renamed_to_any_picture_is_not_an_image(tmp_path, name):
    """JPEG names are held to their promise as well."""
    (tmp_path / name).write_bytes(b"%PDF-1.4 something else entirely")
    with pytest.raises(NotAnImage):
        read_colour(tmp_path / name, name, LIMIT, None)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_cut_picture_is_corrupt(tmp_path, name):
    """Half a picture is never used."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path, noise, name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CorruptInput) as caught:
        read_colour(path, name, LIMIT, None)
    assert caught.value.file == name


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_the_pixel_limit_holds_before_decoding(tmp_path, name):
    """A picture over the limit is refused by its header, even when its pixels are not there."""
    path = saved(tmp_path, np.zeros((50, 50, 3), np.uint8), name)
    with pytest.raises(TooManyPixels) as caught:
        read_colour(path, name, 2499, None)
    assert caught.value.details == {"width_px": 50, "height_px": 50, "max_pixels": 2499}
    if name == "a.png":
        path.write_bytes(path.read_bytes()[:40])
        with pytest.raises(TooManyPixels):
            read_colour(path, name, 2499, None)


def test_a_mask_of_zeros_and_ones_is_a_full_mask(tmp_path):
    """Class maps count 0 and 1; pictures count 0 and 255; both mean the same."""
    classes = np.array([[0, 1], [1, 0]], np.uint8)
    for values in (classes, classes * 255):
        np.testing.assert_array_equal(read_mask(saved(tmp_path, values), "a.png", LIMIT), classes)


def test_a_mask_may_be_alpha(tmp_path):
    """A mask drawn as transparency over one colour is read from its alpha."""
    drawn = np.zeros((4, 4, 4), np.uint8)
    drawn[1:3, 1:3, 3] = 255
    np.testing.assert_array_equal(read_mask(saved(tmp_path, drawn), "a.png", LIMIT), drawn[..., 3] / 255)
