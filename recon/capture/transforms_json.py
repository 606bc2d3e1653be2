"""transforms.json of nerfstudio, instant-ngp and NeRF-synthetic.

Intrinsics at the top level or per frame, camera-to-world matrices with OpenGL camera axes, z-up world, metres.
Sources: docs.nerf.studio "Data conventions"; instant-ngp docs/nerf_dataset_tips.md.
"""

import math

from recon.capture.fields import Fields, TruncatedManifestError, parse_json
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
from recon.capture.manifest import Lens, Manifest, StatedCamera, StatedView, still_arriving

FILE_NAMES = ("transforms.json", "transforms_train.json")
SUPPORTED_CAMERA_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
DEPTH_KEYS = ("depth_file_path", "depth_path")
_KIND = "transforms_json"


def find(listing: Listing, read_bytes: ReadBytes, view_count: int | None) -> Manifest | None:
    """Read transforms.json if the folder has one.

    Raises:
        InvalidCameras: Malformed; names the frame and the key.
    """
    path = next((name for candidate in FILE_NAMES if (name := listing.find(candidate))), None)
    if path is None:
        return None
    try:
        top = parse_json(read_bytes(path), path)
    except TruncatedManifestError:
        return still_arriving(_KIND, path)
    views: list[StatedView] = []
    missing: list[str] = []
    for frame in top.records("frames"):
        files, absent = _find_files(frame, listing)
        missing += absent
        # A frame's own values win over the file's.
        own = {key: value for key, value in frame.record.items() if value is not None}
        both = Fields({**top.record, **own}, path, frame.where)
        views.append(StatedView(files, _read_camera(both), read_depth_unit_m(both)))
    return Manifest(_KIND, path, tuple(views), tuple(dict.fromkeys(missing)), "z")


def _find_files(frame: Fields, listing: Listing) -> tuple[ViewFiles, list[str]]:
    """The frame's files and which of them are not there."""
    colour_path = frame.relative_path("file_path")
    colour = _locate(listing, colour_path, COLOUR_SUFFIXES)
    depth_key = next((key for key in DEPTH_KEYS if frame.has(key)), None)
    depth_path = frame.relative_path(depth_key) if depth_key else None
    depth = _locate(listing, depth_path, DEPTH_SUFFIXES) if depth_path else None
    mask_path = frame.relative_path("mask_path") if frame.has("mask_path") else None
    mask = _locate(listing, mask_path, MASK_SUFFIXES) if mask_path else None
    named = [(colour, colour_path), (depth, depth_path), (mask, mask_path)]
    absent = [_with_suffix(path) for found, path in named if path and not found]
    files = ViewFiles(
        stem(colour or colour_path),
        colour or _with_suffix(colour_path),
        depth or (_with_suffix(depth_path) if depth_path else None),
        mask or (_with_suffix(mask_path) if mask_path else None),
    )
    return files, absent


def _locate(listing: Listing, path: str, suffixes: tuple[str, ...]) -> str | None:
    """A named file; NeRF-synthetic writes paths without a file type."""
    return listing.find(path) or (listing.find_stem(path, suffixes) if suffix(path) not in suffixes else None)


def _with_suffix(path: str) -> str:
    return path if suffix(path) in {*COLOUR_SUFFIXES, *DEPTH_SUFFIXES} else f"{path}.png"


def _read_camera(fields: Fields) -> StatedCamera:
    model = fields.text("camera_model") if fields.has("camera_model") else "OPENCV"
    if model.upper() not in SUPPORTED_CAMERA_MODELS:
        raise fields.invalid("camera_model", f"{model!r} is not supported; undistort the photographs first")
    if fields.has("w") != fields.has("h"):
        raise fields.invalid("h" if fields.has("w") else "w", "is missing")
    size_px = (fields.count("w"), fields.count("h")) if fields.has("w") else None
    focal_px = None
    if fields.has("fl_x"):
        focal_x_px = fields.positive("fl_x")
        focal_px = (focal_x_px, fields.positive("fl_y") if fields.has("fl_y") else focal_x_px)
    field_of_view_x_rad = None if focal_px else _read_field_of_view_rad(fields)
    principal_px = (fields.number("cx"), fields.number("cy")) if fields.has("cx") or fields.has("cy") else None
    lens = Lens(**{key: fields.number_or(key, 0.0) for key in ("k1", "k2", "k3", "p1", "p2")})
    if fields.number_or("k4", 0.0):
        raise fields.invalid("k4", "belongs to a fisheye lens; undistort the photographs first")
    transform = fields.transform("transform_matrix")
    return StatedCamera(transform, "opengl", size_px, focal_px, principal_px, field_of_view_x_rad, lens)


def _read_field_of_view_rad(fields: Fields) -> float:
    if not fields.has("camera_angle_x"):
        raise fields.invalid("fl_x", "is missing (and camera_angle_x as well)")
    angle_rad = fields.positive("camera_angle_x")
    if angle_rad >= math.pi:
        raise fields.invalid("camera_angle_x", f"must be below pi radians, not {angle_rad:g}")
    return angle_rad


def read_depth_unit_m(fields: Fields) -> float | None:
    """nerfstudio's scale factor, or instant-ngp's (metres per step of an integer depth image)."""
    keys = [key for key in ("depth_unit_scale_factor", "integer_depth_scale") if fields.has(key)]
    return fields.positive(keys[0]) if keys else None
