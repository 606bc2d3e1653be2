"""The unknowns of a set of views: where the cameras stand, what their pixels see, what their depths mean."""

from dataclasses import dataclass, replace

import torch

from recon import frames
from recon.arrays import Float, Tensor

POSE_COUNT, LOCAL_COUNT = 6, 11
"""Of one view: rotation 3, translation 3, log depth scale, log focal length, principal point 2, depth offset;
the first six are its pose."""


@dataclass(frozen=True)
class RigState:
    """Cameras of k views on their depth grids.

    Attributes:
        world_from_camera: Rigid.
        scales, offsets: Depth along the axis is ``scale * (code + offset)``, in metres or units of the camera distance.
        focal_px, principal_px: (x, y) per view.
    """

    world_from_camera: Float[Tensor, "k 4 4"]
    scales: Float[Tensor, " k"]
    offsets: Float[Tensor, " k"]
    focal_px: Float[Tensor, "k 2"]
    principal_px: Float[Tensor, "k 2"]

    @property
    def count(self) -> int:
        return int(self.scales.shape[0])

    def points_camera(self, pixels_px: Float[Tensor, "k n 2"], depth: Float[Tensor, "k n"]) -> Float[Tensor, "k n 3"]:
        """Camera-frame points of pixels with depths in the unit of the depth maps."""
        slopes = (pixels_px - self.principal_px[:, None]) / self.focal_px[:, None]
        depth_z = (depth + self.offsets[:, None]) * self.scales[:, None]
        return torch.cat([slopes * depth_z[..., None], depth_z[..., None]], -1)

    def moved(self, steps: Float[Tensor, "k 11"]) -> "RigState":
        """The state after a local step of every view.

        A step is (rotation vector and translation in the camera's own frame, log scale, log focal length,
        principal point as a slope, that is in focal lengths, depth offset).
        """
        return RigState(
            self.world_from_camera @ frames.rigid_from_twist(steps[:, :6]),
            self.scales * steps[:, 6].exp(),
            self.offsets + steps[:, 10],
            self.focal_px * steps[:, 7:8].exp(),
            self.principal_px + steps[:, 8:10] * self.focal_px,
        )

    def in_frame_of(self, reference: "RigState", reach: float) -> "RigState":
        """The same rig moved as a whole as close as possible to a reference rig.

        What no agreement between views can observe (the common rigid motion) is taken from the reference: least
        squares over camera centres and three points at ``reach`` along each camera's axes (Kabsch 1976).
        """
        ours, theirs = (_frame_points(item.world_from_camera, reach) for item in (self, reference))
        reference_from_ours = align_rigid(ours, theirs)
        return replace(self, world_from_camera=reference_from_ours @ self.world_from_camera)


def align_rigid(source: Float[Tensor, "n 3"], target: Float[Tensor, "n 3"]) -> Float[Tensor, "4 4"]:
    """The rotation and translation that bring one point set closest to another (Kabsch 1976)."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    left, _, right = torch.linalg.svd((target - target_mean).T @ (source - source_mean))
    flip = torch.ones(3, dtype=source.dtype, device=source.device)
    flip[2] = torch.sign(torch.linalg.det(left @ right))
    target_from_source = torch.eye(4, dtype=source.dtype, device=source.device)
    target_from_source[:3, :3] = left * flip @ right
    target_from_source[:3, 3] = target_mean - target_from_source[:3, :3] @ source_mean
    return target_from_source


def _frame_points(world_from_camera: Float[Tensor, "k 4 4"], reach: float) -> Float[Tensor, "n 3"]:
    centres = world_from_camera[:, None, :3, 3]
    axes = world_from_camera[:, :3, :3].transpose(1, 2)
    return torch.cat([centres, centres + reach * axes], 1).reshape(-1, 3)
