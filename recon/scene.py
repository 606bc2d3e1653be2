"""Values passed between stages: cameras, views, captures and meshes, validated on construction."""

from dataclasses import dataclass, field, replace

import torch

from recon import frames
from recon.arrays import Bool, Float, Int, Tensor, UInt8
from recon.sums import sum_rows_at


@dataclass(frozen=True)
class Intrinsics:
    """An undistorted pinhole camera in pixels; the first pixel's centre is (0.5, 0.5)."""

    width_px: int
    height_px: int
    focal_x_px: float
    focal_y_px: float
    principal_x_px: float
    principal_y_px: float

    def __post_init__(self) -> None:
        if min(self.width_px, self.height_px) < 1 or not min(self.focal_x_px, self.focal_y_px) > 0:
            raise ValueError(f"a camera needs a positive size and focal length, got {self}")

    def resized(self, width_px: int, height_px: int) -> "Intrinsics":
        """The same field of view on another pixel grid."""
        x, y = width_px / self.width_px, height_px / self.height_px
        return Intrinsics(
            width_px,
            height_px,
            self.focal_x_px * x,
            self.focal_y_px * y,
            self.principal_x_px * x,
            self.principal_y_px * y,
        )


@dataclass(frozen=True)
class Camera:
    """A posed pinhole camera.

    Attributes:
        intrinsics: At the resolution of the photograph.
        world_from_camera: Rigid, float64, on the CPU; OpenCV camera axes (+x right, +y down, +z forward).
    """

    intrinsics: Intrinsics
    world_from_camera: Float[Tensor, "4 4"]

    def __post_init__(self) -> None:
        rotation = self.world_from_camera[:3, :3]
        error = (rotation @ rotation.T - torch.eye(3, dtype=rotation.dtype)).abs().max().item()
        if not error < 1e-4 or torch.linalg.det(rotation) < 0:
            raise ValueError(f"world_from_camera is not a rotation and a translation (off by {error:.2g})")

    @property
    def position_world(self) -> Float[Tensor, " 3"]:
        return self.world_from_camera[:3, 3]

    def seen_through(self, similarity: Float[Tensor, "2 3"]) -> "Camera":
        """The camera whose picture is this one's, moved by a similarity of the image plane.

        Exact for square pixels: the scale changes the focal length, the turn rolls the camera about its axis, the
        shift moves the principal point.

        Args:
            similarity: Maps this camera's pixels (x, y) to the other's.
        """
        own, linear = self.intrinsics, similarity[:, :2].double()
        scale = float(linear[:, 0].norm())
        principal = torch.tensor([own.principal_x_px, own.principal_y_px], dtype=torch.float64)
        principal_px = linear @ principal + similarity[:, 2].double()
        other_from_own = torch.eye(4, dtype=torch.float64)
        other_from_own[:2, :2] = linear / scale
        intrinsics = Intrinsics(
            own.width_px, own.height_px, own.focal_x_px * scale, own.focal_y_px * scale, *principal_px.tolist()
        )
        return Camera(intrinsics, self.world_from_camera @ other_from_own.T)


@dataclass(frozen=True)
class DepthMap:
    """Depth along the optical axis on its own pixel grid (same field of view as the photograph).

    Attributes:
        depth_z: Metres, or a relative code in 0..1 while ``is_relative`` (its meaning is still to be solved).
        valid_mask: Where something was measured; values elsewhere mean nothing.
        is_relative: True until the cameras stage has found what the codes mean.
        step_z: Smallest difference the file format can express, in the unit of ``depth_z``.
        may_be_disparity: The codes were taken for depth counted down from white, but nothing says that they are not
            disparity; the cameras stage tries both.
        integer_bits: Of the numbers in the file; 0 for floating point.
    """

    depth_z: Float[Tensor, "h w"]
    valid_mask: Bool[Tensor, "h w"]
    is_relative: bool = False
    step_z: float = 0.0
    may_be_disparity: bool = False
    integer_bits: int = 0


@dataclass(frozen=True)
class View:
    """One photograph with what is known about it.

    Attributes:
        name: As the user calls it (file stem).
        image_srgb: 0..1, straight (not premultiplied) sRGB.
        foreground_alpha: 0..1 coverage by the object; its edge is antialiased when the source was.
        mask_source: Where the mask came from: alpha, mask, depth, plain, table.
        depth: None for a photograph without depth.
        camera: None until solved.
        photo_alpha: Coverage by the object as the photograph alone shows it, where ``foreground_alpha`` follows the
            depth and the photograph has its own outline; None where there is only one outline.
        image_from_camera: Similarity (x, y in pixels) from where the camera projects a point to where the photograph
            shows it; None where they agree.  Photographs that were not made with the depths need it.
        photo_path: The photograph's file, relative to the job folder; empty when it came from no file.
    """

    name: str
    image_srgb: Float[Tensor, "h w 3"]
    foreground_alpha: Float[Tensor, "h w"]
    mask_source: str
    depth: DepthMap | None = None
    camera: Camera | None = None
    photo_alpha: Float[Tensor, "h w"] | None = None
    image_from_camera: Float[Tensor, "2 3"] | None = None
    photo_path: str = ""

    @property
    def height_px(self) -> int:
        return int(self.image_srgb.shape[0])

    @property
    def width_px(self) -> int:
        return int(self.image_srgb.shape[1])

    @property
    def posed_camera(self) -> Camera:
        """The camera; only for stages that run after the cameras are solved."""
        if self.camera is None:
            raise ValueError(f"view {self.name} has no camera yet")
        return self.camera

    def photographed(self) -> "View":
        """The view as its photograph shows it: with the photograph's own outline and camera, and then without depth."""
        if self.photo_alpha is None and self.image_from_camera is None:
            return self
        camera, alpha = self.camera, self.photo_alpha
        if camera is not None and self.image_from_camera is not None:
            camera = camera.seen_through(self.image_from_camera)
        return replace(
            self,
            camera=camera,
            foreground_alpha=self.foreground_alpha if alpha is None else alpha,
            mask_source=self.mask_source if alpha is None else "plain",
            depth=None,
            photo_alpha=None,
            image_from_camera=None,
        )


@dataclass(frozen=True)
class Inference:
    """Something that the folder did not state, and why it was decided so."""

    what: str
    value: str
    evidence: str


@dataclass(frozen=True)
class Capture:
    """All views of one object.

    Attributes:
        views: In file order.
        layout: The reader that understood the folder (cube_folders, flat_pairs, transforms_json, ...).
        up_world: "y" or "z": which world axis points up (glTF export turns it to y).
        is_metric: Whether world units are metres; otherwise lengths are relative to the camera distance.
        cameras_source: given, refined, solved, or none.
        photographs_disagree: The photographs were not made with the depths, or not with one another: beyond noise, no
            surface shows them all.
        inferences: Everything that was inferred, in order.
        warnings: Sentences that the user should read.
    """

    views: tuple[View, ...]
    layout: str
    up_world: str = "z"
    is_metric: bool = True
    cameras_source: str = "none"
    photographs_disagree: bool = False
    inferences: tuple[Inference, ...] = ()
    warnings: tuple[str, ...] = ()

    def noting(self, *inferences: Inference, warnings: tuple[str, ...] = ()) -> "Capture":
        """The same capture with more on record."""
        return replace(self, inferences=self.inferences + inferences, warnings=self.warnings + warnings)

    def photographed(self) -> "Capture":
        """Every view as its photograph shows it (``View.photographed``)."""
        return replace(self, views=tuple(view.photographed() for view in self.views))


@dataclass(frozen=True)
class CameraBatch:
    """Cameras of equal image size as tensors on a device; differentiable where its tensors are.

    Attributes:
        camera_from_world: Rigid transforms.
        focal_px, principal_px: (x, y) per camera.
    """

    camera_from_world: Float[Tensor, "k 4 4"]
    focal_px: Float[Tensor, "k 2"]
    principal_px: Float[Tensor, "k 2"]
    height_px: int
    width_px: int

    @property
    def count(self) -> int:
        return int(self.camera_from_world.shape[0])

    @property
    def device(self) -> torch.device:
        return self.camera_from_world.device

    @property
    def positions_world(self) -> Float[Tensor, "k 3"]:
        return frames.invert_rigid(self.camera_from_world)[:, :3, 3]

    def project(self, positions_world: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, "k n 2"], Float[Tensor, "k n"]]:
        """Pixel coordinates (x, y) and depth_z_m of world points in every camera."""
        positions_camera = frames.transform_points(self.camera_from_world, positions_world[None])
        depth_z_m = positions_camera[..., 2]
        safe_z_m = torch.where(depth_z_m.abs() < 1e-9, torch.full_like(depth_z_m, 1e-9), depth_z_m)
        pixels_px = (
            positions_camera[..., :2] / safe_z_m[..., None] * self.focal_px[:, None] + self.principal_px[:, None]
        )
        return pixels_px, depth_z_m

    def unproject(self, depth_z_m: Float[Tensor, "k h w"]) -> Float[Tensor, "k h w 3"]:
        """World points of every pixel centre at the given depths."""
        centres_px = frames.pixel_centres_px(self.height_px, self.width_px, device=self.device, dtype=depth_z_m.dtype)
        slopes = (centres_px - self.principal_px[:, None, None]) / self.focal_px[:, None, None]
        positions_camera = torch.cat([slopes * depth_z_m[..., None], depth_z_m[..., None]], -1)
        world_from_camera = frames.invert_rigid(self.camera_from_world)
        return frames.transform_points(world_from_camera, positions_camera.flatten(1, 2)).view_as(positions_camera)


def batch_cameras(
    cameras: list[Camera], height_px: int, width_px: int, device: torch.device | str, dtype: torch.dtype = torch.float32
) -> CameraBatch:
    """Stack cameras, resized to one pixel grid, as tensors on a device."""
    resized = [camera.intrinsics.resized(width_px, height_px) for camera in cameras]
    camera_from_world = torch.stack([frames.invert_rigid(camera.world_from_camera) for camera in cameras])
    focal_px = torch.tensor([[item.focal_x_px, item.focal_y_px] for item in resized])
    principal_px = torch.tensor([[item.principal_x_px, item.principal_y_px] for item in resized])
    return CameraBatch(
        camera_from_world.to(device, dtype),
        focal_px.to(device, dtype),
        principal_px.to(device, dtype),
        height_px,
        width_px,
    )


@dataclass(frozen=True)
class TriangleMesh:
    """Triangles in the world frame, counter-clockwise seen from outside."""

    positions_world: Float[Tensor, "v 3"]
    faces: Int[Tensor, "f 3"]

    def __post_init__(self) -> None:
        if self.faces.numel() and int(self.faces.max()) >= self.positions_world.shape[0]:
            raise ValueError("a face names a vertex that does not exist")

    def face_normals(self) -> Float[Tensor, "f 3"]:
        """Unit normals; zero for a face without area."""
        return torch.nn.functional.normalize(self.scaled_face_normals(), dim=1, eps=1e-20)

    def scaled_face_normals(self) -> Float[Tensor, "f 3"]:
        """Normals whose length is twice the face's area in square metres."""
        a, b, c = self.positions_world[self.faces].unbind(1)
        scaled: Tensor = torch.linalg.cross(b - a, c - a)
        return scaled

    def vertex_normals(self) -> Float[Tensor, "v 3"]:
        """Area-weighted unit normals."""
        scaled = self.scaled_face_normals()
        summed = sum_rows_at(self.faces.T.reshape(-1), scaled.repeat(3, 1), self.positions_world.shape[0])
        return torch.nn.functional.normalize(summed, dim=1, eps=1e-20)

    def bounds_world(self) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
        return self.positions_world.amin(0), self.positions_world.amax(0)

    def diagonal_m(self) -> float:
        low, high = self.bounds_world()
        return float((high - low).norm())


TEXEL_EMPTY, TEXEL_OBSERVED, TEXEL_FILLED, TEXEL_GENERATED = 0, 1, 2, 3
"""Values of a coverage map: outside every chart; seen by a camera; filled in from neighbours; a model's invention."""


@dataclass(frozen=True)
class TexturedMesh:
    """A mesh with an atlas.

    Attributes:
        mesh: The geometry; its vertices are shared across chart seams.
        uv: Texture coordinates, u right, v up, (0, 0) at the lower left corner of the picture.
        face_uv: For every face corner its row in ``uv``.
        texture_srgb: Row 0 is the top of the picture; the first texel's centre is (u, v) = (0.5/w, 1 - 0.5/h).
        coverage: One of the TEXEL_ values per texel.
    """

    mesh: TriangleMesh
    uv: Float[Tensor, "u 2"]
    face_uv: Int[Tensor, "f 3"]
    texture_srgb: Float[Tensor, "h w 3"]
    coverage: UInt8[Tensor, "h w"] = field(repr=False)
