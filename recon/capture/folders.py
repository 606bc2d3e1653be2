"""Folders without a camera file: the names alone tell what belongs together."""

import re
from collections.abc import Iterable

from recon.capture.listing import (
    COLOUR_SUFFIXES,
    DEPTH_SUFFIXES,
    MASK_SUFFIXES,
    Layout,
    Listing,
    ViewFiles,
    comparison_key,
    stem,
)
from recon.errors import WrongViewCount

CUBE_VIEW_NAMES = ("front", "back", "left", "right", "top", "bottom")
CUBE_COLOUR_FOLDER, CUBE_DEPTH_FOLDER = "multi_views", "depth_renders"
COLOUR_FOLDERS = ("images", "image", "rgb", "color", "colour", CUBE_COLOUR_FOLDER)
DEPTH_FOLDERS = ("depth", "depths", CUBE_DEPTH_FOLDER)
MASK_FOLDERS = ("masks", "mask")
COLOUR_PREFIXES = ("view", "rgb", "color", "colour", "image")

_NUMBERED = re.compile(r"(?P<prefix>[a-z]+)(?P<separator>[_-]?)(?P<digits>\d{1,6})", re.IGNORECASE)
_ROLE = re.compile(r"(?:^|[_.-])(?:rgb|colou?r|image|img|view|frame|depth|mask)(?=$|[_.-]|\d)", re.IGNORECASE)


def find_folder_layout(listing: Listing, view_count: int) -> Layout:
    """Recognise cube folders, two paired folders or flat pairs.

    Raises:
        WrongViewCount: More views than asked for, or two files for one view.
    """
    return (
        _find_cube_folders(listing, view_count)
        or _find_two_folders(listing, view_count)
        or _find_flat_pairs(listing, view_count)
    )


def _find_cube_folders(listing: Listing, view_count: int) -> Layout | None:
    folders = ((CUBE_COLOUR_FOLDER, COLOUR_SUFFIXES), (CUBE_DEPTH_FOLDER, DEPTH_SUFFIXES))
    present = [stem(name).casefold() for folder, suffixes in folders for name in listing.children(folder, suffixes)]
    if not any(name in CUBE_VIEW_NAMES for name in present):
        return None
    extra = sorted(set(present) - set(CUBE_VIEW_NAMES))
    if extra or view_count != len(CUBE_VIEW_NAMES):
        asked = f"views = {view_count}" if not extra else f"{extra[0]} is none of them"
        raise WrongViewCount(f"{CUBE_COLOUR_FOLDER}/ holds the six views {', '.join(CUBE_VIEW_NAMES)}, but {asked}.")
    views, missing = [], []
    for name in CUBE_VIEW_NAMES:
        colour_stem, depth_stem = f"{CUBE_COLOUR_FOLDER}/{name}", f"{CUBE_DEPTH_FOLDER}/{name}"
        colour = listing.find_stem(colour_stem, COLOUR_SUFFIXES)
        depth = listing.find_stem(depth_stem, DEPTH_SUFFIXES)
        mask = next(
            (path for folder in MASK_FOLDERS if (path := listing.find_stem(f"{folder}/{name}", MASK_SUFFIXES))), None
        )
        missing += [] if colour else [f"{colour_stem}.png"]
        missing += [] if depth else [f"{depth_stem}.png"]
        views.append(ViewFiles(name, colour or f"{colour_stem}.png", depth or f"{depth_stem}.png", mask))
    return Layout("cube_folders", tuple(views), tuple(missing), None)


def _find_two_folders(listing: Listing, view_count: int) -> Layout | None:
    colour_folder = listing.first_folder(COLOUR_FOLDERS, COLOUR_SUFFIXES)
    depth_folder = listing.first_folder(DEPTH_FOLDERS, DEPTH_SUFFIXES)
    if colour_folder is None and depth_folder is None:
        return None
    colours = _by_pairing_key(listing.children(colour_folder or "images", COLOUR_SUFFIXES))
    depths = _by_pairing_key(listing.children(depth_folder or "depth", DEPTH_SUFFIXES))
    mask_folder = listing.first_folder(MASK_FOLDERS, MASK_SUFFIXES)
    masks = _by_pairing_key(listing.children(mask_folder, MASK_SUFFIXES)) if mask_folder else {}
    keys = list(dict.fromkeys([*colours, *depths]))
    _check_not_too_many(len(keys), view_count)
    views, missing = [], []
    for key in keys:
        colour = colours.get(key) or f"{colour_folder or 'images'}/{stem(depths[key])}.png"
        depth = depths.get(key) or f"{depth_folder or 'depth'}/{stem(colour)}.png"
        missing += [path for path in (colour, depth) if listing.find(path) is None]
        views.append(ViewFiles(stem(colour), colour, depth, masks.get(key)))
    if len(keys) < view_count:
        missing += [f"{colour_folder or 'images'}/*", f"{depth_folder or 'depth'}/*"]
    return Layout("two_folders", tuple(views), tuple(missing), None)


def _find_flat_pairs(listing: Listing, view_count: int) -> Layout:
    colours = next((found for prefix in COLOUR_PREFIXES if (found := _numbered(listing, prefix, COLOUR_SUFFIXES))), {})
    depths = _numbered(listing, "depth", DEPTH_SUFFIXES)
    masks = _numbered(listing, "mask", MASK_SUFFIXES)
    indices = set(colours) | set(depths)
    _check_not_too_many(len(indices), view_count)
    # Files numbered from 1 show it by the index that equals their count.
    start = 1 if view_count in indices else 0
    still_free = (index for index in range(start, start + view_count + len(indices)) if index not in indices)
    wanted = sorted(indices | {next(still_free) for _ in range(view_count - len(indices))})
    views, missing = [], []
    for index in wanted:
        colour = colours.get(index) or _numbered_like(colours or depths, "" if colours else "view", index)
        depth = depths.get(index) or _numbered_like(depths or colours, "" if depths else "depth", index)
        missing += [path for path in (colour, depth) if listing.find(path) is None]
        views.append(ViewFiles(stem(colour), colour, depth, masks.get(index)))
    return Layout("flat_pairs" if indices else "unknown", tuple(views), tuple(missing), None)


def _numbered(listing: Listing, prefix: str, suffixes: tuple[str, ...]) -> dict[int, str]:
    """Files ``<prefix>_<number>`` of the job folder itself, by number."""
    found: dict[int, str] = {}
    for name in listing.children("", suffixes):
        match = _NUMBERED.fullmatch(stem(name))
        if match is None or match["prefix"].casefold() != prefix:
            continue
        index = int(match["digits"])
        if index in found:
            raise WrongViewCount(f"{found[index]} and {name} are both view {index}.", file=name)
        found[index] = name
    return found


def _numbered_like(examples: dict[int, str], prefix: str, index: int) -> str:
    """The name that a missing file most likely has, judged by its neighbours."""
    match = _NUMBERED.fullmatch(stem(next(iter(examples.values()), "view_00")))
    assert match is not None, "only numbered names are collected"
    digits = str(index).zfill(len(match["digits"]))
    return f"{prefix or match['prefix']}{match['separator']}{digits}.png"


def _by_pairing_key(names: Iterable[str]) -> dict[str, str]:
    """Files by what their name says apart from its role: depth_0001, 0001-rgb and frame_0001 are all "0001"."""
    found: dict[str, str] = {}
    for name in names:
        key = comparison_key(_ROLE.sub("", stem(name)).strip("_.-") or stem(name))
        if key in found:
            raise WrongViewCount(f"{found[key]} and {name} are the same view.", file=name)
        found[key] = name
    return found


def _check_not_too_many(found_count: int, view_count: int) -> None:
    if found_count > view_count:
        raise WrongViewCount(
            f"The folder holds {found_count} views, but {view_count} are expected.",
            suggestion=f"Remove the others, or say views = {found_count} in job.toml (2 to 64).",
            details={"found": found_count, "expected": view_count},
        )
