"""Decide from names which files a job needs, and which of them are still to come.

Pure Python: the daemon asks this for every waiting folder, and ``load_capture`` reads what it answers.
"""

from collections.abc import Collection

from recon.capture import bop_scene, colmap_text, polycam_raw, record3d, transforms_json
from recon.capture.folders import find_folder_layout
from recon.capture.listing import (
    DEFAULT_VIEW_COUNT,
    MAX_VIEW_COUNT,
    MIN_VIEW_COUNT,
    Layout,
    Listing,
    ReadBytes,
    ViewFiles,
)
from recon.capture.manifest import Manifest
from recon.errors import WrongViewCount

MANIFEST_READERS = (
    transforms_json.find,
    bop_scene.find,
    colmap_text.find,
    polycam_raw.find,
    record3d.find,
)
"""In the order in which they are tried."""

__all__ = ["Layout", "ViewFiles", "find_layout", "find_manifest"]


def find_layout(file_names: Collection[str], read_bytes: ReadBytes, view_count: int | None) -> Layout:
    """Recognise how a job folder is organised.

    Args:
        file_names: Every file below the job folder, relative, "/" separated.
        read_bytes: Reads a manifest by its relative path; pictures are never asked for.
        view_count: How many views job.toml asks for; None means all that a manifest names, else 6.

    Returns:
        The views and what is still missing; ``missing`` is empty when every needed file is present
        (whether each one is whole is for the caller to check).

    Raises:
        WrongViewCount: More views than asked for, or a manifest with too few or too many.
        InvalidCameras: A manifest that no further copying can mend.
    """
    listing = Listing(file_names)
    manifest = find_manifest(listing, read_bytes, view_count)
    if manifest is None:
        return find_folder_layout(listing, view_count or DEFAULT_VIEW_COUNT)
    if manifest.views or not manifest.missing:
        _check_count(manifest, view_count)
    return Layout(manifest.kind, tuple(view.files for view in manifest.views), manifest.missing, manifest.path)


def find_manifest(listing: Listing, read_bytes: ReadBytes, view_count: int | None) -> Manifest | None:
    """What the folder states about its cameras, by the first reader that recognises it.

    Raises:
        InvalidCameras: A manifest is malformed; names the file, the entry and the key.
    """
    for reader in MANIFEST_READERS:
        manifest = reader(listing, read_bytes, view_count)
        if manifest is not None:
            return manifest
    return None


def _check_count(manifest: Manifest, view_count: int | None) -> None:
    count = len(manifest.views)
    if view_count is not None and count != view_count:
        raise WrongViewCount(f"{manifest.path} names {count} views, but views = {view_count}.", file=manifest.path)
    if not MIN_VIEW_COUNT <= count <= MAX_VIEW_COUNT:
        raise WrongViewCount(
            f"{manifest.path} names {count} views; {MIN_VIEW_COUNT} to {MAX_VIEW_COUNT} are possible.",
            file=manifest.path,
            suggestion="Leave between 2 and 64 views in the camera file.",
        )
