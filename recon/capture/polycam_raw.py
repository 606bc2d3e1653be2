"""A raw export of Polycam: keyframes/{images,cameras,depth}, or their corrected_ twins after its own optimisation.

``t_00`` ... ``t_23`` are the rows of camera-to-world in ARKit's frames (OpenGL camera axes, +y up), depth is 16-bit
millimetres (github.com/PolyCam/polyform).
"""

from recon.capture.fields import Fields, TruncatedManifestError, parse_json
from recon.capture.listing import COLOUR_SUFFIXES, DEPTH_SUFFIXES, Listing, ReadBytes, ViewFiles, stem
from recon.capture.manifest import Manifest, StatedCamera, StatedView, select_evenly, still_arriving

MILLIMETRE_M = 1e-3
_KIND = "polycam_raw"
_FOLDER = "keyframes"


def find(listing: Listing, read_bytes: ReadBytes, view_count: int | None) -> Manifest | None:
    """Read a Polycam raw export if the folder is one; long recordings are thinned evenly.

    Raises:
        InvalidCameras: Malformed; names the file and the key.
    """
    prefix = next((p for p in ("corrected_", "") if listing.children(f"{_FOLDER}/{p}cameras", (".json",))), None)
    if prefix is None:
        return None
    paths = listing.children(f"{_FOLDER}/{prefix}cameras", (".json",))
    views: list[StatedView] = []
    missing: list[str] = []
    for index in select_evenly(len(paths), view_count):
        path = paths[index]
        try:
            fields = parse_json(read_bytes(path), path)
        except TruncatedManifestError:
            return still_arriving(_KIND, path)
        files, absent = _find_files(listing, prefix, stem(path))
        missing += absent
        views.append(StatedView(files, _read_camera(fields), MILLIMETRE_M))
    return Manifest(_KIND, paths[0], tuple(views), tuple(missing), "y")


def _read_camera(fields: Fields) -> StatedCamera:
    rows = [[fields.number(f"t_{row}{column}") for column in range(4)] for row in range(3)]
    transform = fields.posed("t_00", [value for row in rows for value in row[:3]], [row[3] for row in rows])
    size_px = (fields.count("width"), fields.count("height"))
    focal_px = (fields.positive("fx"), fields.positive("fy"))
    return StatedCamera(transform, "opengl", size_px, focal_px, (fields.number("cx"), fields.number("cy")))


def _find_files(listing: Listing, prefix: str, name: str) -> tuple[ViewFiles, list[str]]:
    colour_stem, depth_stem = f"{_FOLDER}/{prefix}images/{name}", f"{_FOLDER}/depth/{name}"
    colour = listing.find_stem(colour_stem, COLOUR_SUFFIXES) or f"{colour_stem}.jpg"
    depth = listing.find_stem(depth_stem, DEPTH_SUFFIXES) or f"{depth_stem}.png"
    files = ViewFiles(name, colour, depth, None)
    return files, [path for path in files.paths() if listing.find(path) is None]
