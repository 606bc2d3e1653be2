"""A Record3D export (iPhone or iPad): metadata.json, rgb/, depth/ in metres.

``poses`` are camera-to-world [qx, qy, qz, qw, tx, ty, tz] with OpenGL camera axes in ARKit's world (+y up);
``K`` is column-major (github.com/marek-simonik/record3d, nerfstudio's record3d converter).
"""

from recon.capture.fields import Fields, TruncatedManifestError, parse_json
from recon.capture.listing import COLOUR_SUFFIXES, DEPTH_SUFFIXES, Listing, ReadBytes, ViewFiles
from recon.capture.manifest import Manifest, StatedCamera, StatedView, select_evenly, still_arriving

METADATA_FILES = ("metadata.json", "metadata")
COLOUR_FOLDERS = ("rgb", "rgbd", "images")
_KIND = "record3d"


def find(listing: Listing, read_bytes: ReadBytes, view_count: int | None) -> Manifest | None:
    """Read a Record3D export if the folder is one; long recordings are thinned evenly.

    Raises:
        InvalidCameras: Malformed; names the frame and the key.
    """
    path = next((name for candidate in METADATA_FILES if (name := listing.find(candidate))), None)
    if path is None:
        return None
    try:
        top = parse_json(read_bytes(path), path)
    except TruncatedManifestError:
        return still_arriving(_KIND, path)
    # Other programs write a metadata.json too; theirs has no poses.
    if not top.has("poses"):
        return None
    poses = top.record["poses"]
    if not isinstance(poses, list):
        raise top.invalid("poses", "must be a list")
    views: list[StatedView] = []
    missing: list[str] = []
    for index in select_evenly(len(poses), view_count):
        files, absent = _find_files(listing, index)
        missing += absent
        frame = Fields({**top.record, "poses": poses[index]}, path, f"pose {index}")
        views.append(StatedView(files, _read_camera(frame, index)))
    return Manifest(_KIND, path, tuple(views), tuple(missing), "y")


def _read_camera(frame: Fields, index: int) -> StatedCamera:
    qx, qy, qz, qw, *translation = frame.numbers("poses", 7)
    transform = frame.rotated("poses", (qw, qx, qy, qz), translation)
    k = frame.numbers("K", 9)
    focal_x_px, focal_y_px, principal_x_px, principal_y_px = k[0], k[4], k[6], k[7]
    own = frame.record.get("perFrameIntrinsicCoeffs")
    if isinstance(own, list) and index < len(own):
        own_fields = Fields({"perFrameIntrinsicCoeffs": own[index]}, frame.file, frame.where)
        focal_x_px, focal_y_px, principal_x_px, principal_y_px = own_fields.numbers("perFrameIntrinsicCoeffs", 4)
    if min(focal_x_px, focal_y_px) <= 0 or min(principal_x_px, principal_y_px) <= 0:
        raise frame.invalid("K", "must hold fx, 0, 0, 0, fy, 0, cx, cy, 1 (column by column)")
    size_px = (frame.count("w"), frame.count("h"))
    return StatedCamera(transform, "opengl", size_px, (focal_x_px, focal_y_px), (principal_x_px, principal_y_px))


def _find_files(listing: Listing, index: int) -> tuple[ViewFiles, list[str]]:
    colour_folder = listing.first_folder(COLOUR_FOLDERS, COLOUR_SUFFIXES) or COLOUR_FOLDERS[0]
    colour = listing.find_stem(f"{colour_folder}/{index}", COLOUR_SUFFIXES) or f"{colour_folder}/{index}.jpg"
    depth = listing.find_stem(f"depth/{index}", DEPTH_SUFFIXES) or f"depth/{index}.exr"
    files = ViewFiles(str(index), colour, depth, None)
    return files, [path for path in files.paths() if listing.find(path) is None]
