"""A scene folder of the BOP benchmark: scene_camera.json, rgb/, depth/, mask_visib/.

``cam_K`` and poses follow OpenCV with pixel centres at whole numbers, lengths are millimetres, and
raw depth times ``depth_scale`` is millimetres (bop_toolkit docs/bop_datasets_format.md).
"""

from recon.capture.fields import Fields, TruncatedManifestError, parse_json
from recon.capture.listing import COLOUR_SUFFIXES, DEPTH_SUFFIXES, Listing, ReadBytes, ViewFiles
from recon.capture.manifest import Manifest, StatedCamera, StatedView, still_arriving

CAMERA_FILE, OBJECT_FILE = "scene_camera.json", "scene_gt.json"
COLOUR_FOLDERS = ("rgb", "gray")
_KIND = "bop_scene"
_MILLIMETRE_M = 1e-3
_PIXEL_CENTRE_PX = 0.5


def find(listing: Listing, read_bytes: ReadBytes, view_count: int | None) -> Manifest | None:
    """Read a BOP scene if the folder is one.

    The world is the scene's where ``cam_R_w2c`` states it, else the frame of the first object of the first image.

    Raises:
        InvalidCameras: Malformed; names the image and the key.
    """
    path = listing.find(CAMERA_FILE)
    if path is None:
        return None
    object_path = listing.find(OBJECT_FILE)
    try:
        cameras = _by_image(parse_json(read_bytes(path), path))
        objects = parse_json(read_bytes(object_path), object_path) if object_path else None
    except TruncatedManifestError:
        return still_arriving(_KIND, path)
    tracked_id: float | None = None
    views: list[StatedView] = []
    missing: list[str] = []
    for image_id, fields in cameras.items():
        index, pose = _find_object(objects, image_id, tracked_id)
        tracked_id = pose.number("obj_id") if pose and tracked_id is None else tracked_id
        files, absent = _find_files(listing, image_id, index)
        missing += absent
        unit_m = _MILLIMETRE_M * (fields.positive("depth_scale") if fields.has("depth_scale") else 1.0)
        views.append(StatedView(files, _read_camera(fields, pose), unit_m))
    return Manifest(_KIND, path, tuple(views), tuple(missing), "z")


def _by_image(top: Fields) -> dict[int, Fields]:
    """Records by image number, in order."""
    records: dict[int, Fields] = {}
    for key, value in top.record.items():
        if not key.isdecimal() or not isinstance(value, dict):
            raise top.invalid(key, "must be an image number with a record")
        records[int(key)] = Fields(value, top.file, f"image {key}")
    return dict(sorted(records.items()))


def _find_object(objects: Fields | None, image_id: int, tracked_id: float | None) -> tuple[int, Fields | None]:
    """The pose record of the object that the scene is about, and its place in the image's list."""
    if objects is None:
        return 0, None
    listed = Fields(objects.record, objects.file, f"image {image_id}").records(str(image_id))
    for index, entry in enumerate(listed):
        if tracked_id is None or entry.number("obj_id") == tracked_id:
            return index, entry
    raise objects.invalid(str(image_id), f"does not list object {tracked_id:g}, which the other images show")


def _read_camera(fields: Fields, pose: Fields | None) -> StatedCamera:
    k = fields.numbers("cam_K", 9)
    if k[0] <= 0 or k[4] <= 0:
        raise fields.invalid("cam_K", "must hold positive focal lengths at places 0 and 4")
    if fields.has("cam_R_w2c") or pose is None:
        source, rotation_key, translation_key = fields, "cam_R_w2c", "cam_t_w2c"
    else:
        source, rotation_key, translation_key = pose, "cam_R_m2c", "cam_t_m2c"
    translation_m = [_MILLIMETRE_M * value for value in source.numbers(translation_key, 3)]
    transform = source.posed(rotation_key, source.numbers(rotation_key, 9), translation_m)
    principal_px = (k[2] + _PIXEL_CENTRE_PX, k[5] + _PIXEL_CENTRE_PX)
    return StatedCamera(transform, "opencv", None, (k[0], k[4]), principal_px, is_camera_from_world=True)


def _find_files(listing: Listing, image_id: int, object_index: int) -> tuple[ViewFiles, list[str]]:
    stem = f"{image_id:06d}"
    colour = next(
        (path for folder in COLOUR_FOLDERS if (path := listing.find_stem(f"{folder}/{stem}", COLOUR_SUFFIXES))), None
    )
    depth = listing.find_stem(f"depth/{stem}", DEPTH_SUFFIXES)
    mask = listing.find(f"mask_visib/{stem}_{object_index:06d}.png")
    has_masks = listing.children("mask_visib", (".png",)) != ()
    mask_path = mask or (f"mask_visib/{stem}_{object_index:06d}.png" if has_masks else None)
    files = ViewFiles(stem, colour or f"rgb/{stem}.png", depth or f"depth/{stem}.png", mask_path)
    return files, [path for path in files.paths() if listing.find(path) is None]
