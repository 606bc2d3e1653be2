"""Which pixels show the object, from the best source that a view offers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import ndimage

from recon.arrays import Bool, Float, Tensor
from recon.capture.outline_cut import find_photographed_outline
from recon.capture.studio_background import find_studio_object
from recon.capture.table_plane import find_table_objects
from recon.capture.view_table import find_object_on_table
from recon.errors import InvalidOptions, ObjectNotFound
from recon.scene import Camera, DepthMap

MIN_OBJECT_FRACTION = 2e-4
"""A mask smaller than this share of the picture is a stray blot."""

_BORDER_VALID_LIMIT = 0.4
"""Depth that covers more of the picture's border than this shows a scene, not an object."""


@dataclass(frozen=True)
class MaskSources:
    """What one view offers, free of lens distortion; depth keeps its own pixel grid."""

    name: str
    image_srgb: Float[Tensor, "h w 3"]
    alpha: Float[Tensor, "h w"] | None
    mask: Float[Tensor, "h w"] | None
    depth: DepthMap | None
    camera: Camera | None
    photo_path: str = ""


@dataclass(frozen=True)
class ObjectMask:
    """The object in one view.

    Attributes:
        coverage: At the photograph's size.
        source: alpha, mask, depth, table or plain.
        image_srgb: The photograph; freed from the background's colour at the rim where the source allows it.
        photo_coverage: The object as the photograph alone shows it, where the mask is the depth's and no camera says
            that the two belong together.
    """

    coverage: Float[Tensor, "h w"]
    source: str
    image_srgb: Float[Tensor, "h w 3"]
    photo_coverage: Float[Tensor, "h w"] | None = None


def find_masks(views: Sequence[MaskSources], background: str) -> list[ObjectMask]:
    """The object in every view.

    Args:
        views: What each view offers.
        background: settings.background; "auto" tries, per view: alpha, mask file, depth that was kept for the object
            alone, the table under the object (in the depths of all views together, or without cameras in each view's
            own), plain background.

    Raises:
        ObjectNotFound: No source tells object from background, or a mask is empty; names the view.
        InvalidOptions: The source that was asked for is not in the folder.
    """
    found = [_find_stated_mask(view, background) for view in views]
    if None in found and background in {"auto", "table"}:
        found = [mask or table for mask, table in zip(found, _find_on_table(views), strict=True)]
    if None in found and background in {"auto", "table"}:
        found = _or_own_tables(found, views)
    if background in {"auto", "plain"}:
        found = [mask or _find_on_plain(view) for mask, view in zip(found, views, strict=True)]
    for view, mask in zip(views, found, strict=True):
        if mask is None:
            _raise_not_found(view, background)
        elif is_empty(mask.coverage):
            raise ObjectNotFound(f"The {mask.source} of {view.name} shows no object.", file=view.name)
    return [mask for mask in found if mask is not None]


def _find_stated_mask(view: MaskSources, background: str) -> ObjectMask | None:
    """The mask that the files themselves hold."""
    if view.alpha is not None and background in {"auto", "alpha"}:
        return ObjectMask(view.alpha, "alpha", view.image_srgb)
    if view.mask is not None and background in {"auto", "mask"}:
        return ObjectMask(_at_size_of(view, view.mask), "mask", view.image_srgb)
    if view.depth is None or background not in {"auto", "depth"}:
        return None
    if background == "auto" and not covers_only_object(view.depth.valid_mask):
        return None
    coverage = _at_size_of(view, _without_pinholes(view.depth.valid_mask).float())
    if view.camera is not None:
        # Whoever states cameras made photographs and depths together; a sensor's ragged edge is no disagreement.
        return ObjectMask(coverage, "depth", view.image_srgb)
    return ObjectMask(coverage, "depth", view.image_srgb, find_photographed_outline(view.image_srgb, coverage))


def _find_on_table(views: Sequence[MaskSources]) -> list[ObjectMask | None]:
    """The object on its table, in all views whose depth is metric and whose camera is known."""
    none_found: list[ObjectMask | None] = [None] * len(views)
    usable = [view for view in views if view.camera and view.depth and not view.depth.is_relative]
    cameras = [view.camera for view in usable if view.camera]
    depths = [view.depth for view in usable if view.depth]
    if len(usable) < 2:
        return none_found
    coverages = find_table_objects(depths, cameras)
    if coverages is None:
        return none_found
    by_name = {view.name: coverage for view, coverage in zip(usable, coverages, strict=True)}
    return [
        ObjectMask(_at_size_of(view, by_name[view.name]), "table", view.image_srgb) if view.name in by_name else None
        for view in views
    ]


def _find_on_plain(view: MaskSources) -> ObjectMask | None:
    found = find_studio_object(view.image_srgb)
    return ObjectMask(found.coverage, "plain", found.image_srgb) if found else None


def _or_own_tables(found: list[ObjectMask | None], views: Sequence[MaskSources]) -> list[ObjectMask | None]:
    """The object on its table in each view's own depth, where no camera is known and every view shows the table."""
    masks = list(found)
    for index, view in enumerate(views):
        if masks[index] is None:
            coverage = None if view.depth is None or view.camera else find_object_on_table(view.depth)
            if coverage is None:
                return found
            masks[index] = ObjectMask(_at_size_of(view, coverage), "table", view.image_srgb)
    return masks


def covers_only_object(valid_mask: Bool[Tensor, "h w"]) -> bool:
    """Whether depth was kept for the object alone: the picture's border is mostly empty."""
    border = torch.cat([valid_mask[0], valid_mask[-1], valid_mask[:, 0], valid_mask[:, -1]])
    return bool(valid_mask.any()) and float(border.float().mean()) < _BORDER_VALID_LIMIT


def _without_pinholes(valid_mask: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    padded = torch.nn.functional.pad(valid_mask, (1, 1, 1, 1)).numpy()
    return torch.from_numpy(ndimage.binary_closing(padded)[1:-1, 1:-1]) | valid_mask


def _at_size_of(view: MaskSources, coverage: Float[Tensor, "h w"]) -> Float[Tensor, "h2 w2"]:
    return resize_coverage(coverage, view.image_srgb.shape[0], view.image_srgb.shape[1])


def resize_coverage(
    coverage: Float[Tensor, "h w"], height_px: int, width_px: int
) -> Float[Tensor, "{height_px} {width_px}"]:
    """Coverage on another pixel grid of the same field of view."""
    if tuple(coverage.shape) == (height_px, width_px):
        return coverage
    is_smaller = height_px < coverage.shape[0]
    resized: Tensor = torch.nn.functional.interpolate(
        coverage[None, None], (height_px, width_px), mode="bilinear", antialias=is_smaller, align_corners=False
    )[0, 0]
    return resized.clamp(0, 1)


def is_empty(coverage: Float[Tensor, "h w"]) -> bool:
    """Whether a mask shows no object."""
    return float((coverage > 0.5).float().mean()) < MIN_OBJECT_FRACTION


def _raise_not_found(view: MaskSources, background: str) -> None:
    if background == "auto":
        raise ObjectNotFound(f"Nothing in {view.name} tells the object from its background.", file=view.name)
    raise InvalidOptions(
        f"background = {background!r} was asked for, but {view.name} does not offer it.",
        suggestion='Leave background = "auto", or add what is missing.',
    )
