"""What a camera file states, before any picture is opened; pure values shared by the readers."""

from dataclasses import dataclass
from typing import Literal

from recon.capture.fields import Matrix
from recon.capture.listing import ViewFiles

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
        world_from_camera: Rigid 4 x 4, in the file's own camera axes.
        axes: opencv (+y down, +z forward) or opengl (+y up, -z forward).
        size_px: (width, height) that the numbers refer to; None means the photograph's own.
        focal_px: (x, y); None when only the field of view is stated.
        principal_px: (x, y), the first pixel's centre being (0.5, 0.5); None means the centre.
        field_of_view_x_rad: Used when ``focal_px`` is None.
    """

    world_from_camera: Matrix
    axes: CameraAxes
    size_px: tuple[int, int] | None = None
    focal_px: tuple[float, float] | None = None
    principal_px: tuple[float, float] | None = None
    field_of_view_x_rad: float | None = None
    lens: Lens = Lens()


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
        world_from: What the world frame is, in words, when the file does not make it obvious.
    """

    kind: str
    path: str
    views: tuple[StatedView, ...]
    missing: tuple[str, ...]
    up_world: str
    world_from: str = ""


def still_arriving(kind: str, path: str) -> Manifest:
    """The answer for a manifest whose text ends too early."""
    return Manifest(kind, path, (), (path,), "z")
