"""A COLMAP model in text form: cameras.txt and images.txt beside images/ and depth/.

Camera-from-world quaternions, OpenCV axes, pixel centres at +0.5 (colmap.github.io/format.html).
"""

from collections.abc import Iterator

from recon.capture.fields import Fields
from recon.capture.folders import DEPTH_FOLDERS, MASK_FOLDERS
from recon.capture.listing import (
    COLOUR_SUFFIXES,
    DEPTH_SUFFIXES,
    MASK_SUFFIXES,
    Listing,
    ReadBytes,
    ViewFiles,
    stem,
    suffix,
)
from recon.capture.manifest import Lens, Manifest, StatedCamera, StatedView, guess_up_world, still_arriving
from recon.errors import InvalidCameras

MODEL_FOLDERS = ("", "sparse/", "sparse/0/", "colmap/sparse/0/", "dense/sparse/")
MODEL_PARAMETERS = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fl_x", "fl_y", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2"),
}
IMAGE_KEYS = ("IMAGE_ID", "QW", "QX", "QY", "QZ", "TX", "TY", "TZ", "CAMERA_ID", "NAME")
_KIND = "colmap_text"


def find(listing: Listing, read_bytes: ReadBytes, view_count: int | None) -> Manifest | None:
    """Read a COLMAP text model if the folder has one.

    Raises:
        InvalidCameras: Malformed; names the line and the key.
    """
    folder = next((folder for folder in MODEL_FOLDERS if listing.find(f"{folder}images.txt")), None)
    if folder is None:
        return None
    images_path = listing.find(f"{folder}images.txt") or ""
    cameras_path = listing.find(f"{folder}cameras.txt")
    if cameras_path is None:
        return Manifest(_KIND, images_path, (), (f"{folder}cameras.txt",), "z")
    cameras_text, images_text = _text(read_bytes, cameras_path), _text(read_bytes, images_path)
    # COLMAP ends every line; the last one without its end is still being written.
    for path, text in ((cameras_path, cameras_text), (images_path, images_text)):
        if not text.endswith("\n"):
            return still_arriving(_KIND, path)
    cameras = {fields.text("CAMERA_ID"): fields for fields in _camera_lines(cameras_text, cameras_path)}
    views: list[StatedView] = []
    missing: list[str] = []
    for fields in _image_lines(images_text, images_path):
        files, absent = _find_files(listing, fields.relative_path("NAME"))
        missing += absent
        views.append(StatedView(files, _read_camera(fields, cameras)))
    ups = [[-value for value in view.camera.transform[1][:3]] for view in views if view.camera]
    return Manifest(_KIND, images_path, tuple(views), tuple(missing), guess_up_world(ups))


def _text(read_bytes: ReadBytes, path: str) -> str:
    try:
        return read_bytes(path).rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidCameras(f"{path} is not UTF-8 text.", file=path) from error


def _camera_lines(text: str, path: str) -> Iterator[Fields]:
    """One record per camera, with its parameters under transforms.json's names."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = Fields({}, path, f"line {number}")
        if len(words) < 4:
            raise where.invalid("MODEL", "is missing")
        names = MODEL_PARAMETERS.get(words[1])
        if names is None:
            known = ", ".join(MODEL_PARAMETERS)
            raise where.invalid("MODEL", f"{words[1]!r} is not one of {known}; undistort the photographs first")
        if len(words) != 4 + len(names):
            raise where.invalid("PARAMS", f"must be {len(names)} numbers for {words[1]}, not {len(words) - 4}")
        values = {key: _number(where, key, word) for key, word in zip(("w", "h", *names), words[2:], strict=True)}
        yield Fields({"CAMERA_ID": words[0], **values}, path, where.where)


def _image_lines(text: str, path: str) -> Iterator[Fields]:
    """One record per image; the lines of 2D points between them are passed over."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(maxsplit=9)
        if len(words) != len(IMAGE_KEYS) or words[0].startswith("#") or suffix(words[9]) not in COLOUR_SUFFIXES:
            continue
        where = Fields({}, path, f"line {number}")
        numbers = {key: _number(where, key, word) for key, word in zip(IMAGE_KEYS[1:8], words[1:8], strict=True)}
        yield Fields({**numbers, "CAMERA_ID": words[8], "NAME": words[9]}, path, where.where)


def _number(where: Fields, key: str, word: str) -> float:
    try:
        return Fields({key: float(word)}, where.file, where.where).number(key)
    except ValueError as error:
        raise where.invalid(key, f"must be a number, not {word[:40]!r}") from error


def _read_camera(fields: Fields, cameras: dict[str, Fields]) -> StatedCamera:
    lens = cameras.get(fields.text("CAMERA_ID"))
    if lens is None:
        raise fields.invalid("CAMERA_ID", f"{fields.text('CAMERA_ID')} is not in cameras.txt")
    focal_px = tuple(lens.positive("f" if lens.has("f") else key) for key in ("fl_x", "fl_y"))
    quaternion = [fields.number(key) for key in ("QW", "QX", "QY", "QZ")]
    translation = [fields.number(key) for key in ("TX", "TY", "TZ")]
    return StatedCamera(
        fields.rotated("QW", quaternion, translation),
        "opencv",
        (lens.count("w"), lens.count("h")),
        (focal_px[0], focal_px[1]),
        (lens.number("cx"), lens.number("cy")),
        lens=Lens(**{key: lens.number_or(key, 0.0) for key in ("k1", "k2", "p1", "p2")}),
        is_camera_from_world=True,
    )


def _find_files(listing: Listing, name: str) -> tuple[ViewFiles, list[str]]:
    """An image by COLMAP's name, with the depth and mask of the same stem."""
    colour = listing.find(f"images/{name}") or listing.find(name) or f"images/{name}"
    depth_folder = listing.first_folder(DEPTH_FOLDERS, DEPTH_SUFFIXES)
    depth = None
    if depth_folder:
        depth = listing.find_stem(f"{depth_folder}/{stem(name)}", DEPTH_SUFFIXES) or f"{depth_folder}/{stem(name)}.png"
    masks = (listing.find_stem(f"{folder}/{stem(name)}", MASK_SUFFIXES) for folder in MASK_FOLDERS)
    files = ViewFiles(stem(name), colour, depth, next((mask for mask in masks if mask), None))
    return files, [path for path in files.paths() if listing.find(path) is None]
