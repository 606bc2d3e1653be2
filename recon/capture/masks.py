"""Which pixels show the object, from the best source that a view offers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy import ndimage

from recon.arrays import Bool, Float, Tensor
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


@dataclass(frozen=True)
class ObjectMask:
    """The object's coverage at the photograph's size, and where it came from."""

    coverage: Float[Tensor, "h w"]
    source: str


def find_masks(views: Sequence[MaskSources], background: str) -> list[ObjectMask]:
    """The object in every view.

    Args:
        views: What each view offers.
        background: settings.background; "auto" tries, per view: alpha, mask file, depth, plain background; and
            where all of these fail, the table plane in the depths of all views together.

    Raises:
        ObjectNotFound: No source tells object from background, or a mask is empty; names the view.
        InvalidOptions: The source that was asked for is not in the folder.
    """
    found = [find_mask(view, background) for view in views]
    for view, mask in zip(views, found, strict=True):
        if mask is None:
            _raise_not_found(view, background)
        elif is_empty(mask.coverage):
            raise ObjectNotFound(f"The {mask.source} of {view.name} shows no object.", file=view.name)
    return [mask for mask in found if mask is not None]


def find_mask(view: MaskSources, background: str) -> ObjectMask | None:
    """The object in one view by itself; None when nothing in it tells object from background."""
    if view.alpha is not None and background in {"auto", "alpha"}:
        return ObjectMask(view.alpha, "alpha")
    if view.mask is not None and background in {"auto", "mask"}:
        return ObjectMask(view.mask, "mask")
    if view.depth is not None and background in {"auto", "depth"}:
        height_px, width_px = view.image_srgb.shape[:2]
        if background == "depth" or covers_only_object(view.depth.valid_mask):
            return ObjectMask(coverage_from_depth(view.depth.valid_mask, height_px, width_px), "depth")
    return None


def covers_only_object(valid_mask: Bool[Tensor, "h w"]) -> bool:
    """Whether depth was kept for the object alone: the picture's border is mostly empty."""
    border = torch.cat([valid_mask[0], valid_mask[-1], valid_mask[:, 0], valid_mask[:, -1]])
    return bool(valid_mask.any()) and float(border.float().mean()) < _BORDER_VALID_LIMIT


def coverage_from_depth(
    valid_mask: Bool[Tensor, "h w"], height_px: int, width_px: int
) -> Float[Tensor, "{height_px} {width_px}"]:
    """Measured pixels, pinholes closed, as coverage at the photograph's size."""
    padded = torch.nn.functional.pad(valid_mask, (1, 1, 1, 1)).numpy()
    closed = torch.from_numpy(ndimage.binary_closing(padded)[1:-1, 1:-1])
    return resize_coverage((closed | valid_mask).float(), height_px, width_px)


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
