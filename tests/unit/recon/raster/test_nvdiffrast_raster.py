"""The parts of the CUDA backend that need no GPU; what it draws is compared in tests/gpu."""

import importlib.util
import sys

import pytest
import torch

from raster_scenes import cameras_around, uv_sphere
from recon.raster.nvdiffrast_raster import clip_positions, decode_faces, is_installed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clip_space_agrees_with_projection(dtype: torch.dtype) -> None:
    """After the perspective division, -1..1 spans the picture from its left to its right and from its top down."""
    positions = uv_sphere(8, 10).positions_world.to(dtype)
    cameras = cameras_around(4, 60, 100, dtype=dtype)
    clip = clip_positions(positions, cameras)
    pixels_px, depth_z_m = cameras.project(positions)
    found_px = (clip[..., :2] / clip[..., 3:] + 1) / 2 * torch.tensor([100, 60], dtype=dtype)
    torch.testing.assert_close(found_px, pixels_px, atol=1e-3 if dtype == torch.float32 else 1e-10, rtol=0)
    torch.testing.assert_close(clip[..., 3], depth_z_m)


def test_clip_depth_holds_the_whole_scene_in_order() -> None:
    """Every vertex lies between the near and the far plane, nearer ones first."""
    positions = uv_sphere(8, 10).positions_world
    clip = clip_positions(positions, cameras_around(4, 60, 100))
    depth = clip[..., 2] / clip[..., 3]
    assert depth.min() > -1
    assert depth.max() < 1
    order = clip[..., 3].argsort(1)
    assert (depth.gather(1, order).diff(dim=1) >= 0).all()
    assert depth.max() - depth.min() > 1.5  # the depth buffer's range is used


def test_clip_positions_are_finite_around_the_camera() -> None:
    """A camera inside the scene gets a near plane in front of it, not at zero or behind."""
    cameras = cameras_around(2, 20, 20, distance_m=0.5)
    clip = clip_positions(uv_sphere(8, 10).positions_world, cameras)
    assert clip.isfinite().all()
    in_front = clip[..., 3] > 0.3
    assert (clip[..., 2] / clip[..., 3])[in_front].max() < 1


def test_clip_positions_are_differentiable() -> None:
    """Gradients reach positions; the planes that follow the scene do not take part."""
    cameras, positions = cameras_around(1, 20, 20), uv_sphere(3, 4).positions_world.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: clip_positions(p, cameras)[..., [0, 1, 3]], positions)


def test_face_codes() -> None:
    """Face numbers survive nvdiffrast's float encoding, also beyond the integers that floats hold exactly."""
    large = torch.tensor([0x4A800000 + 16777217], dtype=torch.int32).view(torch.float32)
    codes = torch.cat([torch.tensor([0.0, 1.0, 2.0, 16777216.0]), large])
    assert decode_faces(codes.view(1, 1, 5)).flatten().tolist() == [-1, 0, 1, 16777215, 16777216]


def test_is_installed_imports_nothing() -> None:
    """Asking whether nvdiffrast is there is right and does not load it."""
    was_loaded = "nvdiffrast" in sys.modules
    assert is_installed() == (importlib.util.find_spec("nvdiffrast") is not None)
    assert ("nvdiffrast" in sys.modules) == was_loaded
