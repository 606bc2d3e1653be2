"""What a camera file states, before any picture is opened; pure values shared by the readers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from recon.capture.fields import Matrix
from recon.capture.listing import MAX_VIEW_COUNT, ViewFiles

DEFAULT_VIDEO_VIEW_COUNT = 24
"""Frames taken from an export of more than ``MAX_VIEW_COUNT`` frames when job.toml asks for no number."""

CameraAxes = Literal["opencv", "opengl"]


@dataclass(frozen=True)
class Lens:
    """Brown-Conrady distortion (OpenCV's order of meaning, not of storage); all zero is a perfect lens."""

    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    @property
    def is_perfect(self) -> bool:
        return not any((self.k1, self.k2, self.k3, self.p1, self.p2))


@dataclass(frozen=True)
class StatedCamera:
    """A camera as a file states it.

    Attributes:
        transform: Rigid 4 x 4 in the file's own camera axes, world-from-camera unless stated otherwise.
        axes: opencv (+y down, +z forward) or opengl (+y up, -z forward).
        size_px: (width, height) that the numbers refer to; None means the photograph's own.
        focal_px: (x, y); None when only the field of view is stated.
        principal_px: (x, y), the first pixel's centre being (0.5, 0.5); None means the centre.
        field_of_view_x_rad: Used when ``focal_px`` is None.
        lens: Undone while reading.
        is_camera_from_world: The transform maps the other way (COLMAP, BOP).
    """

    transform: Matrix
    axes: CameraAxes
    size_px: tuple[int, int] | None = None
    focal_px: tuple[float, float] | None = None
    principal_px: tuple[float, float] | None = None
    field_of_view_x_rad: float | None = None
    lens: Lens = Lens()
    is_camera_from_world: bool = False


@dataclass(frozen=True)
class StatedView:
    """One view as a file states it; ``depth_unit_m`` is metres per step of an integer depth image."""

    files: ViewFiles
    camera: StatedCamera | None
    depth_unit_m: float | None = None


@dataclass(frozen=True)
class Manifest:
    """One camera file.

    Attributes:
        kind: The layout's name.
        path: The file itself.
        views: In file order.
        missing: Paths that are named but not there yet; the manifest itself when it is only half there.
        up_world: "y" or "z".
    """

    kind: str
    path: str
    views: tuple[StatedView, ...]
    missing: tuple[str, ...]
    up_world: str


def still_arriving(kind: str, path: str) -> Manifest:
    """The answer for a manifest whose text ends too early."""
    return Manifest(kind, path, (), (path,), "z")


def select_evenly(count: int, view_count: int | None) -> list[int]:
    """Which frames of a video export to use: all when they are few, else evenly spread ones.

    Args:
        count: Frames in the export.
        view_count: How many job.toml asks for, if it does.
    """
    wanted = view_count or (count if count <= MAX_VIEW_COUNT else DEFAULT_VIDEO_VIEW_COUNT)
    if count <= wanted:
        return list(range(count))
    return [round(index * (count - 1) / (wanted - 1)) for index in range(wanted)]


def guess_up_world(camera_ups_world: Sequence[Sequence[float]]) -> str:
    """Which world axis is up when nothing states it: the one nearest to the pictures' mean up direction."""
    mean_y, mean_z = (abs(sum(up[axis] for up in camera_ups_world)) for axis in (1, 2))
    return "y" if mean_y > mean_z else "z"
