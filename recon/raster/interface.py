"""What a rasteriser offers; both backends obey the same pixel and depth conventions."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from recon.arrays import Bool, Float, Int, Tensor
from recon.errors import GpuUnavailable, ModelUnavailable
from recon.scene import CameraBatch


@dataclass(frozen=True)
class Fragments:
    """What every pixel centre sees.

    Attributes:
        face_index: The nearest face, -1 where there is none.
        barycentrics: Perspective-correct weights of the face's corners; zero where there is no face.
            Differentiable in positions and cameras.
        backend: Data that only the backend that made it understands.
    """

    face_index: Int[Tensor, "k h w"]
    barycentrics: Float[Tensor, "k h w 3"]
    backend: Any = None

    @property
    def hit_mask(self) -> Bool[Tensor, "k h w"]:
        return self.face_index >= 0


class Rasterizer(Protocol):
    """Draws triangle meshes into several equally sized pinhole cameras."""

    name: str

    def rasterize(
        self, positions_world: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"], cameras: CameraBatch
    ) -> Fragments:
        """Find the nearest face at every pixel centre (both sides of a face are drawn).

        Differentiable in ``positions_world`` and the cameras through the barycentrics; visibility itself is not.
        """
        ...

    def interpolate(
        self, attributes: Float[Tensor, "a c"], corners: Int[Tensor, "f 3"], fragments: Fragments
    ) -> Float[Tensor, "k h w c"]:
        """Blend per-corner attributes (rows of ``attributes`` named by ``corners``); zero where nothing is hit.

        Differentiable in the attributes and in the barycentrics.
        """
        ...

    def antialias(
        self,
        colours: Float[Tensor, "k h w c"],
        fragments: Fragments,
        positions_world: Float[Tensor, "v 3"],
        faces: Int[Tensor, "f 3"],
        cameras: CameraBatch,
    ) -> Float[Tensor, "k h w c"]:
        """Blend pixel pairs across silhouette edges by analytic coverage (Laine et al. 2020, section 3.5).

        This is what makes silhouettes differentiable in positions and cameras.
        """
        ...

    def sample_texture(
        self,
        texture: Float[Tensor, "th tw c"],
        uv: Float[Tensor, "k h w 2"],
        hit_mask: Bool[Tensor, "k h w"],
    ) -> Float[Tensor, "k h w c"]:
        """Bilinear look-up at texture coordinates (u right, v up); zero where nothing is hit.

        Differentiable in the texture.
        """
        ...


def select_rasterizer(choice: str, device: torch.device) -> Rasterizer:
    """The backend for a device: ``auto`` prefers nvdiffrast on CUDA when it is installed.

    Raises:
        ModelUnavailable: nvdiffrast was asked for by name and is not installed.
        GpuUnavailable: nvdiffrast was asked for by name on a device that is not CUDA.
    """
    from recon.raster import nvdiffrast_raster, torch_raster

    wants_nvdiffrast = choice == "nvdiffrast" or (
        choice == "auto" and device.type == "cuda" and nvdiffrast_raster.is_installed()
    )
    if not wants_nvdiffrast:
        return torch_raster.TorchRasterizer()
    if device.type != "cuda":
        raise GpuUnavailable("raster = nvdiffrast needs an NVIDIA GPU.", suggestion='Use raster = "auto" or "torch".')
    if not nvdiffrast_raster.is_installed():
        raise ModelUnavailable(
            "raster = nvdiffrast was asked for, but nvdiffrast is not installed.",
            suggestion='Use raster = "auto", or ask the operator to install nvdiffrast (docs/licences.md first).',
        )
    return nvdiffrast_raster.NvdiffrastRasterizer(device)
