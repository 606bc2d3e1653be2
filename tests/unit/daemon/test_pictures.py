"""Is a picture whole, by its first and last bytes; nothing is decoded."""

import io

import pytest

import fakes
from daemon.pictures import check_picture
from recon.errors import CorruptInput, NotAnImage, ReconError, TooManyPixels

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(1, 200)) + b"\xff\xd9"


def check(name: str, data: bytes, max_pixels: int = 10_000) -> None:
    check_picture(name, io.BytesIO(data), len(data), max_pixels)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", fakes.png()),
        ("A.PNG", fakes.png()),
        ("a.jpg", JPEG),
        ("a.jpeg", JPEG + bytes(20)),
        ("a.npy", b"\x93NUMPY\x01\x00"),
        ("a.exr", b"\x76\x2f\x31\x01\x02\x00"),
        ("a.tif", b"II*\0data"),
        ("a.tiff", b"MM\0*data"),
    ],
)
def test_whole_pictures_pass(name: str, data: bytes) -> None:
    """Of every kind that a job may hold, in any case."""
    check(name, data)


@pytest.mark.parametrize("name", ["a.jpg", "a.npy", "a.exr", "a.tif", "a.png"])
def test_zeros_are_a_beginning(name: str) -> None:
    """A copier that preallocates shows zeros first: that is unfinished, not wrong."""
    with pytest.raises(CorruptInput) as caught:
        check(name, bytes(1000))
    assert caught.value.details["complete_fraction"] == 0.0
    assert caught.value.file == name


@pytest.mark.parametrize("name", ["a.jpg", "a.npy", "a.exr", "a.tif", "a.png"])
def test_something_else_is_refused(name: str) -> None:
    """Text under a picture's name is no picture, whatever comes after."""
    with pytest.raises(NotAnImage):
        check(name, b"I am not a picture")


def test_a_cut_off_jpeg_is_unfinished() -> None:
    """Its end mark is missing."""
    with pytest.raises(CorruptInput):
        check("a.jpg", JPEG[:-2])


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_png_is_unfinished_until_its_last_byte(cut: int) -> None:
    """However little is missing, it is not whole and says how much is there."""
    data = fakes.png(16, 16)
    with pytest.raises(ReconError) as caught:
        check("a.png", data[: max(len(data) - cut, 0)])
    assert isinstance(caught.value, CorruptInput)


def test_pixels_are_counted_before_anybody_decodes() -> None:
    """The limit is the operator's; exactly so many are allowed."""
    check("a.png", fakes.png(10, 10), max_pixels=100)
    with pytest.raises(TooManyPixels):
        check("a.png", fakes.png(10, 10), max_pixels=99)
