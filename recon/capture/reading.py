"""A job folder, step by step, into a capture."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from recon import frames
from recon.capture.depth_cleaning import clean_depth
from recon.capture.depth_decoding import DepthEvidence, decide_code, decode_depth
from recon.capture.fields import parse_json
from recon.capture.layout import find_layout, find_manifest
from recon.capture.listing import Layout, Listing, ReadBytes
from recon.capture.manifest import Lens, Manifest, StatedCamera
from recon.capture.masks import MaskSources, ObjectMask, find_masks
from recon.capture.pictures import ViewPictures, read_pictures
from recon.capture.posing import median_target_distance_m, pose_camera
from recon.capture.transforms_json import read_depth_unit_m
from recon.capture.undistortion import (
    distorted_positions_px,
    undistort_coverage,
    undistort_depth,
    undistort_picture,
)
from recon.errors import IncompleteInput, InvalidCameras, InvalidOptions
from recon.scene import Camera, Capture, DepthMap, Inference, Intrinsics, View
from recon.settings import Settings

_Result = TypeVar("_Result")

_THREADS = 8
"""More would only hold more pictures in memory."""

CAPTURE_FACTS_FILE = "capture.json"
"""Facts about a folder without cameras; only the depth unit is read."""


def read_capture(folder: Path, settings: Settings) -> Capture:
    """Read a job folder; see ``recon.load_capture`` for the contract."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    listing = Listing(names)

    def read_bytes(name: str) -> bytes:
        return (folder / name).read_bytes()

    layout = find_layout(names, read_bytes, settings.views)
    _check_complete(layout, listing)
    manifest = find_manifest(listing, read_bytes, settings.views)
    stated = [view.camera for view in manifest.views] if manifest else [None] * len(layout.views)
    sizes_px = [camera.size_px if camera else None for camera in stated]
    pictures = read_pictures(folder, layout.views, sizes_px, settings.max_image_pixels)
    cameras = _pose_cameras(pictures, stated, layout)
    units_m = _stated_units_m(manifest, listing, read_bytes, len(pictures))
    depths, inferences = _decode_depths(pictures, cameras, units_m, settings)
    lenses = [camera.lens if camera else Lens() for camera in stated]
    sources = _in_every_view(_perfect_lens, pictures, depths, cameras, lenses)
    sources = _planar_depths(sources, settings)
    masks = find_masks(sources, settings.background)
    views = tuple(_in_every_view(_build_view, sources, masks))
    return Capture(
        views,
        layout.kind,
        up_world=manifest.up_world if manifest else "y",
        is_metric=not any(view.depth is not None and view.depth.is_relative for view in views),
        cameras_source="given" if all(cameras) else "none",
        inferences=(*inferences, *_mask_inferences(masks, settings)),
    )


def _in_every_view(step: Callable[..., _Result], *columns: Sequence[Any]) -> list[_Result]:
    """Several views at a time: work on whole pictures lets go of the interpreter."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(step, *columns))


def _check_complete(layout: Layout, listing: Listing) -> None:
    if not layout.missing:
        return
    first = layout.missing[0]
    if first == layout.manifest and listing.find(first):
        raise InvalidCameras(f"{first} ends in the middle.", file=first)
    more = f", and {len(layout.missing) - 1} more" if len(layout.missing) > 1 else ""
    raise IncompleteInput(
        f"{first} is missing{more}.", file=first, details={"missing": list(layout.missing), "layout": layout.kind}
    )


def _pose_cameras(
    pictures: Sequence[ViewPictures], stated: Sequence[StatedCamera | None], layout: Layout
) -> list[Camera | None]:
    return [
        pose_camera(camera, *item.colour.size_px, item.files.name, layout.manifest or "") if camera else None
        for item, camera in zip(pictures, stated, strict=True)
    ]


def _stated_units_m(
    manifest: Manifest | None, listing: Listing, read_bytes: ReadBytes, view_count: int
) -> list[float | None]:
    """Metres per depth step of every view, where the folder states them."""
    if manifest is not None:
        return [view.depth_unit_m for view in manifest.views]
    facts = listing.find(CAPTURE_FACTS_FILE)
    unit_m = read_depth_unit_m(parse_json(read_bytes(facts), facts)) if facts else None
    return [unit_m] * view_count


def _decode_depths(
    pictures: Sequence[ViewPictures],
    cameras: Sequence[Camera | None],
    units_m: Sequence[float | None],
    settings: Settings,
) -> tuple[list[DepthMap | None], tuple[Inference, ...]]:
    raws = [item.depth for item in pictures if item.depth is not None]
    if not raws:
        return [None] * len(pictures), ()
    posed = [camera for camera in cameras if camera is not None]
    evidence = DepthEvidence(next((unit for unit in units_m if unit), None), median_target_distance_m(posed))
    code, inferences = decide_code(raws, settings.depth, evidence)

    def decode(item: ViewPictures, unit_m: float | None) -> DepthMap | None:
        # Only a camera file can give every view its own unit.
        own = replace(code, unit_m=unit_m) if unit_m and settings.depth.unit_m is None else code
        return decode_depth(item.depth, own) if item.depth is not None else None

    return _in_every_view(decode, pictures, units_m), inferences


def _perfect_lens(item: ViewPictures, depth: DepthMap | None, camera: Camera | None, lens: Lens) -> MaskSources:
    """The view's pictures as tensors, with lens distortion undone."""
    image_srgb = torch.from_numpy(item.colour.rgb_u8.astype(np.float32) / 255)
    alpha = None if item.colour.alpha_u8 is None else torch.from_numpy(item.colour.alpha_u8.astype(np.float32) / 255)
    mask = None if item.mask is None else torch.from_numpy(item.mask)
    if camera is not None and not lens.is_perfect:
        intrinsics = camera.intrinsics
        image_srgb, alpha = undistort_picture(image_srgb, alpha, distorted_positions_px(intrinsics, lens))
        if mask is not None:
            resized = intrinsics.resized(mask.shape[1], mask.shape[0])
            mask = undistort_coverage(mask, distorted_positions_px(resized, lens))
        if depth is not None:
            resized = intrinsics.resized(depth.depth_z.shape[1], depth.depth_z.shape[0])
            depth = undistort_depth(depth, distorted_positions_px(resized, lens))
    return MaskSources(item.files.name, image_srgb, alpha, mask, depth, camera, item.files.colour)


def _planar_depths(sources: list[MaskSources], settings: Settings) -> list[MaskSources]:
    """Turn distances along the ray into depths along the axis, when the settings say that they are distances."""
    if not settings.depth.is_distance:
        return sources
    return [replace(source, depth=_planar_depth(source, settings)) for source in sources]


def _planar_depth(source: MaskSources, settings: Settings) -> DepthMap | None:
    if source.depth is None:
        return None
    height_px, width_px = source.depth.depth_z.shape
    if source.camera is not None:
        intrinsics = source.camera.intrinsics.resized(width_px, height_px)
    elif settings.fov_deg is not None:
        focal_px = width_px / 2 / float(torch.tan(torch.deg2rad(torch.tensor(settings.fov_deg / 2))))
        intrinsics = Intrinsics(width_px, height_px, focal_px, focal_px, width_px / 2, height_px / 2)
    else:
        raise InvalidOptions("depth.is_distance needs cameras (transforms.json) or fov_deg.")
    centres_px = frames.pixel_centres_px(height_px, width_px)
    slope_x = (centres_px[..., 0] - intrinsics.principal_x_px) / intrinsics.focal_x_px
    slope_y = (centres_px[..., 1] - intrinsics.principal_y_px) / intrinsics.focal_y_px
    return replace(source.depth, depth_z=source.depth.depth_z / (1 + slope_x**2 + slope_y**2).sqrt())


def _build_view(source: MaskSources, mask: ObjectMask) -> View:
    depth = None if source.depth is None else clean_depth(source.depth, mask.coverage)
    return View(
        source.name,
        mask.image_srgb,
        mask.coverage,
        mask.source,
        depth,
        source.camera,
        photo_alpha=mask.photo_coverage,
        photo_path=source.photo_path,
    )


_MASK_EVIDENCE = {
    "mask": "mask files in the folder",
    "depth": "the depth images are empty around the object",
    "table": "what rises from the plane that fills the depth around it",
    "plain": "the border of the photographs has one smooth colour",
}


def _mask_inferences(masks: Sequence[ObjectMask], settings: Settings) -> list[Inference]:
    """How the object was told from its background, unless the photographs or the settings say it themselves."""
    if settings.background != "auto":
        return []
    sources = dict.fromkeys(mask.source for mask in masks if mask.source != "alpha")
    return [Inference("object mask", source, _MASK_EVIDENCE[source]) for source in sources]
