"""The CUDA rasteriser: NVIDIA's nvdiffrast (Laine et al. 2020) behind our interface.

Its licence is non-commercial, so it is optional and this is the only file that imports it, when the class is
made.  Everything is single precision.  Vertices are snapped to 1/16 pixel for visibility, so that pixels within
that distance of an edge may see another face than in ``torch_raster``; barycentrics are exact in both.

Outlines are blended by our own ``silhouettes`` on its picture: the forces of nvdiffrast's antialias were 63 % of what
finite differences of supersampled pictures give on a sphere, ours agree with those to 1 %.  Its other gradients are
added in the order in which threads arrive; where gradients are asked for, our own are taken on its picture, which
come out the same every time.
"""

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType

import torch

from recon import frames
from recon.arrays import Bool, Float, Int, Tensor
from recon.raster import silhouettes
from recon.raster.barycentrics import find_hits
from recon.raster.differentiable import interpolated, textured, with_gradient
from recon.raster.interface import Fragments
from recon.raster.textures import exact_halvings
from recon.scene import CameraBatch

_MARGIN = 1.05
"""The near and far planes stand this factor outside the scene, so that rounding clips nothing."""

_MIN_NEAR_SHARE = 1e-4
"""The near plane is never nearer than this share of the far plane: the depth buffer has about 24 bits."""


def is_installed() -> bool:
    """Whether nvdiffrast can be imported; does not import it."""
    return importlib.util.find_spec("nvdiffrast") is not None


@dataclass(frozen=True)
class _Drawing:
    """What rasterize keeps for the calls that follow.

    Attributes:
        raster: nvdiffrast's picture of (weight 0, weight 1, z/w, face + 1).
        weights_per_px: Its picture of (dw0/dx, dw0/dy, dw1/dx, dw1/dy).
    """

    raster: Float[Tensor, "k h w 4"]
    weights_per_px: Float[Tensor, "k h w 4"]


class NvdiffrastRasterizer:
    """See ``recon.raster.interface.Rasterizer``.  One per thread and device: it owns a CUDA context."""

    name = "nvdiffrast"

    def __init__(self, device: torch.device) -> None:
        self._library: ModuleType = importlib.import_module("nvdiffrast.torch")
        self._context = self._library.RasterizeCudaContext(device=device)
        self._faces_i32: tuple[Tensor, int, Tensor] | None = None
        self._edges = silhouettes.EdgeCache()

    def rasterize(
        self, positions_world: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"], cameras: CameraBatch
    ) -> Fragments:
        with torch.no_grad():
            raster, weights_per_px = self._library.rasterize(
                self._context,
                clip_positions(positions_world, cameras),
                self._int32(faces),
                (cameras.height_px, cameras.width_px),
                grad_db=False,
            )
            face_index = decode_faces(raster[..., 3])
            weights = torch.cat([raster[..., :2], 1 - raster[..., :2].sum(-1, keepdim=True)], -1)
            barycentrics = weights * (face_index >= 0)[..., None]
        if _has_gradient(positions_world, cameras.camera_from_world, cameras.focal_px, cameras.principal_px):
            barycentrics = with_gradient(barycentrics, find_hits(face_index), positions_world, faces, cameras)
        return Fragments(face_index, barycentrics, _Drawing(raster, weights_per_px))

    def interpolate(
        self, attributes: Float[Tensor, "a c"], corners: Int[Tensor, "f 3"], fragments: Fragments
    ) -> Float[Tensor, "k h w c"]:
        drawing = _drawing(fragments)
        if _has_gradient(attributes, fragments.barycentrics):
            return interpolated(attributes, corners, find_hits(fragments.face_index), fragments.barycentrics)
        raster = torch.cat([fragments.barycentrics[..., :2], drawing.raster[..., 2:]], -1)
        values: Tensor = self._library.interpolate(attributes[None].contiguous(), raster, corners.int().contiguous())[0]
        return values * fragments.hit_mask[..., None]

    def differentiate(
        self, attributes: Float[Tensor, "a c"], corners: Int[Tensor, "f 3"], fragments: Fragments
    ) -> Float[Tensor, "k h w c 2"]:
        drawing = _drawing(fragments)
        changes: Tensor = self._library.interpolate(
            attributes.detach()[None].contiguous(),
            drawing.raster,
            corners.int().contiguous(),
            rast_db=drawing.weights_per_px,
            diff_attrs="all",
        )[1]
        return changes.view(*fragments.face_index.shape, -1, 2)

    def antialias(
        self,
        colours: Float[Tensor, "k h w c"],
        fragments: Fragments,
        positions_world: Float[Tensor, "v 3"],
        faces: Int[Tensor, "f 3"],
        cameras: CameraBatch,
    ) -> Float[Tensor, "k h w c"]:
        with torch.no_grad():
            pixels_px, depth_z_m = cameras.project(positions_world)
            pairs = silhouettes.find_pairs(self._edges.of(faces), fragments, pixels_px, depth_z_m, faces)
        return silhouettes.blend_pairs(colours, pairs, positions_world, cameras)

    def sample_texture(
        self,
        texture: Float[Tensor, "th tw c"],
        uv: Float[Tensor, "k h w 2"],
        hit_mask: Bool[Tensor, "k h w"],
        uv_per_px: Float[Tensor, "k h w 2 2"] | None = None,
    ) -> Float[Tensor, "k h w c"]:
        if _has_gradient(texture, uv):
            return textured(texture, uv, hit_mask, uv_per_px)
        flipped = torch.stack([uv[..., 0], 1 - uv[..., 1]], -1)  # its texture rows start at v = 0
        footprint = None if uv_per_px is None else uv_per_px.flatten(-2).contiguous()
        values: Tensor = self._library.texture(
            texture[None].contiguous(),
            flipped,
            footprint,  # (du/dx, du/dy, dv/dx, dv/dy); only its size matters, so v need not be flipped
            boundary_mode="clamp",
            max_mip_level=exact_halvings(texture.shape[0], texture.shape[1]),
        )
        return values * hit_mask[..., None]

    def _int32(self, faces: Int[Tensor, "f 3"]) -> Int[Tensor, "f 3"]:
        """The faces as nvdiffrast wants them, converted once per tensor."""
        kept = self._faces_i32
        if kept is None or kept[0] is not faces or kept[1] != faces._version:
            kept = self._faces_i32 = faces, faces._version, faces.int().contiguous()
        return kept[2]


def decode_faces(codes: Float[Tensor, "k h w"]) -> Int[Tensor, "k h w"]:
    """Face numbers from nvdiffrast's floats: face + 1, 0 for none; beyond 2^24 it is stored in the float's bits."""
    large = codes.contiguous().view(torch.int32).long() - 0x4A800000
    return torch.where(codes <= 16777216.0, codes.long(), large) - 1


def clip_positions(positions_world: Float[Tensor, "v 3"], cameras: CameraBatch) -> Float[Tensor, "k v 4"]:
    """Homogeneous clip coordinates of every vertex in every camera; y points down, so that row 0 is the top row.

    The near and far planes follow the vertices in front of each camera.  Differentiable in positions and cameras.
    """
    positions_camera = frames.transform_points(cameras.camera_from_world, positions_world[None])
    size_px = positions_world.new_tensor([cameras.width_px, cameras.height_px])
    scale = 2 * cameras.focal_px / size_px
    offset = 2 * cameras.principal_px / size_px - 1
    depth_z_m = positions_camera[..., 2:]
    xy = positions_camera[..., :2] * scale[:, None] + depth_z_m * offset[:, None]
    with torch.no_grad():
        far_z_m = depth_z_m.amax(1, keepdim=True).clamp_min(1e-3) * _MARGIN
        near_z_m = torch.where(depth_z_m > 0, depth_z_m, far_z_m).amin(1, keepdim=True) / _MARGIN
        near_z_m = torch.maximum(near_z_m, far_z_m * _MIN_NEAR_SHARE)
    # z/w runs from -1 at the near plane to 1 at the far plane.
    z = (depth_z_m * (far_z_m + near_z_m) - 2 * far_z_m * near_z_m) / (far_z_m - near_z_m)
    return torch.cat([xy, z, depth_z_m], -1).contiguous()


def _has_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def _drawing(fragments: Fragments) -> _Drawing:
    if not isinstance(fragments.backend, _Drawing):
        raise TypeError("these fragments were made by another rasteriser")
    return fragments.backend
