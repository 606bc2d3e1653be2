"""What a rasteriser offers; both backends obey the same pixel and depth conventions."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from recon.arrays import Bool, Float, Int, Tensor
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


@runtime_checkable
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

    def differentiate(
        self, attributes: Float[Tensor, "a c"], corners: Int[Tensor, "f 3"], fragments: Fragments
    ) -> Float[Tensor, "k h w c 2"]:
        """How interpolated attributes change per pixel right and per pixel down; zero where nothing is hit.

        Not differentiable: it serves the choice of mip-map levels.
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
        uv_per_px: Float[Tensor, "k h w 2 2"] | None = None,
    ) -> Float[Tensor, "k h w c"]:
        """Look a texture up at texture coordinates (u right, v up); zero where nothing is hit.

        Bilinear, or trilinear in a mip-map when ``uv_per_px`` (from ``differentiate``) says how large a pixel is
        on the texture.  Beyond the border the nearest texel counts.  Differentiable in the texture and ``uv``.
        """
        ...
