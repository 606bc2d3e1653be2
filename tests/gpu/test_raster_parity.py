"""The backends draw the same picture and the same gradients: PyTorch on CPU, PyTorch on CUDA, nvdiffrast.

nvdiffrast snaps vertices to 1/16 pixel before it decides what a pixel sees.  Near edges it may therefore see
the neighbouring face; everywhere else, and in all continuous quantities, the backends must agree.
"""

from dataclasses import dataclass

import pytest
import torch

import meshes
from raster_scenes import cameras_around, square, uv_sphere
from recon.raster import Fragments, Rasterizer, nvdiffrast_raster
from recon.raster.torch_raster import TorchRasterizer
from recon.scene import CameraBatch, TriangleMesh

pytestmark = pytest.mark.gpu

SIZE_PX = 512
AGREEING_SHARE = 0.999
"""Of all pixels, on meshes whose faces are much larger than a pixel."""


@dataclass(frozen=True)
class Drawn:
    """One backend's pictures and gradients, on the CPU."""

    face_index: torch.Tensor
    barycentrics: torch.Tensor
    depth_z_m: torch.Tensor
    textured: torch.Tensor
    coverage: torch.Tensor
    gradients: dict[str, torch.Tensor]


def backends() -> dict[str, tuple[Rasterizer, torch.device]]:
    """Every backend of this machine; CUDA is promised, nvdiffrast is not."""
    assert torch.cuda.is_available(), "MESHDROP_GPU=1 promised a GPU, and PyTorch finds none"
    cuda = torch.device("cuda")
    found: dict[str, tuple[Rasterizer, torch.device]] = {"torch-cuda": (TorchRasterizer(), cuda)}
    if nvdiffrast_raster.is_installed():
        found["nvdiffrast"] = (nvdiffrast_raster.NvdiffrastRasterizer(cuda), cuda)
    return found


@pytest.fixture(params=["torch-cuda", "nvdiffrast"])
def backend(request: pytest.FixtureRequest) -> tuple[Rasterizer, torch.device]:
    found = backends()
    if request.param not in found:
        pytest.fail("nvdiffrast is not installed: install it, or deselect with -k 'not nvdiffrast'")
    return found[request.param]


MESHES = {
    "cube": meshes.box_mesh(0.6),
    "sphere": uv_sphere(16, 24),
    "square at a slant": TriangleMesh(square(1.2).positions_world + torch.tensor([0.0, 0.0, 0.3]), square(1.2).faces),
}


@pytest.fixture(params=MESHES)
def mesh(request: pytest.FixtureRequest) -> TriangleMesh:
    return MESHES[request.param]


def draw(mesh: TriangleMesh, raster: Rasterizer, device: torch.device) -> Drawn:
    """Draw with everything a stage uses, and differentiate one loss per kind of picture."""
    cameras = moved(cameras_around(4, SIZE_PX, SIZE_PX - 96, dtype=torch.float32), device)
    camera_from_world = cameras.camera_from_world.clone().requires_grad_()
    cameras = CameraBatch(camera_from_world, cameras.focal_px, cameras.principal_px, SIZE_PX, SIZE_PX - 96)
    positions = mesh.positions_world.float().to(device).requires_grad_()
    faces = mesh.faces.to(device)
    texture = smooth_texture().to(device).requires_grad_()
    fragments = raster.rasterize(positions, faces, cameras)
    seen_world = raster.interpolate(positions, faces, fragments)
    depth_z_m = (seen_world @ camera_from_world[:, None, 2, :3, None])[..., 0] + camera_from_world[:, 2, 3, None, None]
    depth_z_m = depth_z_m * fragments.hit_mask
    uv = positions.detach()[:, :2] * 0.3 + 0.5
    uv_picture = raster.interpolate(uv, faces, fragments)
    uv_per_px = raster.differentiate(uv, faces, fragments)
    textured = raster.sample_texture(texture, uv_picture, fragments.hit_mask, uv_per_px)
    coverage = raster.antialias(fragments.hit_mask[..., None].float(), fragments, positions, faces, cameras)
    ramp = torch.linspace(0, 1, SIZE_PX, device=device)[None, :, None]
    gradients = {}
    for name, loss in {
        "depth": (depth_z_m * ramp).sum(),
        "texture": (textured * ramp[..., None]).sum(),
        "silhouette": (coverage[..., 0] * ramp).sum(),
    }.items():
        wanted = [texture] if name == "texture" else [positions, camera_from_world]
        found = torch.autograd.grad(loss, wanted, retain_graph=True)
        gradients[name] = torch.cat([value.flatten() for value in found]).cpu()
    return Drawn(
        fragments.face_index.cpu(),
        fragments.barycentrics.detach().cpu(),
        depth_z_m.detach().cpu(),
        textured.detach().cpu(),
        coverage.detach().cpu(),
        gradients,
    )


def moved(cameras: CameraBatch, device: torch.device) -> CameraBatch:
    return CameraBatch(
        cameras.camera_from_world.to(device),
        cameras.focal_px.to(device),
        cameras.principal_px.to(device),
        cameras.height_px,
        cameras.width_px,
    )


def smooth_texture() -> torch.Tensor:
    """Smooth enough that the two backends' choice between mip-map levels shows only in small differences."""
    coarse = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, 256, mode="bicubic")[0].permute(1, 2, 0).contiguous()


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_backends_see_the_same_faces(mesh: TriangleMesh, backend: tuple[Rasterizer, torch.device]) -> None:
    """At least 99.9 % of the pixels show the same face as the reference on a CPU."""
    expected = draw(mesh, TorchRasterizer(), torch.device("cpu"))
    found = draw(mesh, *backend)
    assert (found.face_index == expected.face_index).double().mean() >= AGREEING_SHARE
    assert (expected.face_index >= 0).double().mean() > 0.02


def test_backends_agree_on_continuous_pictures(mesh: TriangleMesh, backend: tuple[Rasterizer, torch.device]) -> None:
    """Where they see the same face: weights to 1e-3, depth to a millionth of a 4 m distance, colours to 1/255."""
    expected = draw(mesh, TorchRasterizer(), torch.device("cpu"))
    found = draw(mesh, *backend)
    same = found.face_index == expected.face_index
    assert (found.barycentrics - expected.barycentrics)[same].abs().max() < 1e-3
    assert (found.depth_z_m - expected.depth_z_m)[same].abs().max() < 2e-5
    assert (found.textured - expected.textured)[same].abs().max() < 1 / 255
    coverage_error = (found.coverage - expected.coverage)[..., 0].abs()
    assert coverage_error.mean() < 2e-4
    assert coverage_error[same].quantile(0.9999) < 0.15


def test_backends_agree_on_gradients(mesh: TriangleMesh, backend: tuple[Rasterizer, torch.device]) -> None:
    """Gradients agree in norm: 1 % for depth and texture, 3 % for silhouettes (pixels at edges differ)."""
    expected = draw(mesh, TorchRasterizer(), torch.device("cpu")).gradients
    found = draw(mesh, *backend).gradients
    tolerances = {"depth": 0.01, "texture": 0.01, "silhouette": 0.03}
    errors = {name: relative_error(found[name], expected[name]) for name in tolerances}
    assert all(errors[name] < tolerance for name, tolerance in tolerances.items()), errors


def test_tiny_faces_on_cuda_match_the_cpu() -> None:
    """On faces of a pixel's size PyTorch on CUDA sees what PyTorch on a CPU sees."""
    fine = uv_sphere(150, 200)
    expected = draw(fine, TorchRasterizer(), torch.device("cpu"))
    found = draw(fine, *backends()["torch-cuda"])
    assert (found.face_index == expected.face_index).double().mean() >= AGREEING_SHARE
    assert relative_error(found.gradients["silhouette"], expected.gradients["silhouette"]) < 0.03


def test_large_pictures_on_the_gpu(backend: tuple[Rasterizer, torch.device]) -> None:
    """Pictures larger than nvdiffrast's 2048-pixel viewport and of odd size work, twelve views at once."""
    raster, device = backend
    mesh = uv_sphere(100, 150)
    cameras = moved(cameras_around(12, 2051, 2053, dtype=torch.float32), device)
    fragments: Fragments = raster.rasterize(mesh.positions_world.float().to(device), mesh.faces.to(device), cameras)
    silhouette_px = fragments.hit_mask.flatten(1).sum(1).double()
    area_px = torch.pi * (1.1 * 2053) * (1.3 * 2053) / (4.0**2 - 1)
    torch.testing.assert_close(silhouette_px.mean().item(), area_px, rtol=0.03, atol=0)
