"""Lit pictures of a mesh: textured, like clay, or as a wireframe."""

from dataclasses import dataclass, replace

import torch

from recon import frames
from recon.arrays import Float, Int, Tensor, UInt8
from recon.colour import linear_from_srgb, srgb_from_linear
from recon.raster import Fragments, Rasterizer
from recon.scene import CameraBatch, TexturedMesh, TriangleMesh

BACKGROUND_SRGB = (0.953, 0.957, 0.965)
CLAY_SRGB = (0.80, 0.79, 0.77)
LINE_SRGB = (0.10, 0.16, 0.30)

DENSE_FACE_PX = 14.0
"""Faces lower than this get fainter edges."""

FAINTEST_LINE = 0.22
"""Opacity of the edges of the smallest faces."""

AMBIENT = 0.38
"""Share of the light that comes from everywhere."""

LIGHT_CAMERA = (-0.30, -0.45, -1.0)
"""Direction to the lamp: over the photographer's left shoulder, so that shape reads and nothing is black."""

CREASE_COSINE = 0.75
"""Corners whose face turns further than this from the smooth normal keep the face's own: boxes stay boxes."""


@dataclass(frozen=True)
class Subject:
    """A mesh on the raster's device, ready to be drawn.

    Attributes:
        normals_world: One per face corner.
        corners: Numbers the rows of ``normals_world``.
        texture_srgb: None draws clay.
    """

    positions_world: Float[Tensor, "v 3"]
    faces: Int[Tensor, "f 3"]
    normals_world: Float[Tensor, "n 3"]
    corners: Int[Tensor, "f 3"]
    uv: Float[Tensor, "u 2"] | None = None
    face_uv: Int[Tensor, "f 3"] | None = None
    texture_srgb: Float[Tensor, "th tw 3"] | None = None


def subject_on(mesh: TriangleMesh | TexturedMesh, device: torch.device) -> Subject:
    """Move a mesh to a device and find its shading normals."""
    shape = mesh.mesh if isinstance(mesh, TexturedMesh) else mesh
    shape = TriangleMesh(shape.positions_world.detach().to(device, torch.float32), shape.faces.to(device))
    smooth, flat = shape.vertex_normals()[shape.faces], shape.face_normals()[:, None].expand(-1, 3, -1)
    is_crease = (smooth * flat).sum(-1, keepdim=True) < CREASE_COSINE
    normals = torch.where(is_crease, flat, smooth).flatten(0, 1)
    corners = torch.arange(3 * len(shape.faces), device=device).view(-1, 3)
    if isinstance(mesh, TriangleMesh):
        return Subject(shape.positions_world, shape.faces, normals, corners)
    uv, texture = (value.detach().to(device, torch.float32) for value in (mesh.uv, mesh.texture_srgb))
    return Subject(shape.positions_world, shape.faces, normals, corners, uv, mesh.face_uv.to(device), texture)


def coarser(subject: Subject, factor: int) -> Subject:
    """The same with a texture of fewer texels, for small pictures."""
    texture = subject.texture_srgb
    if texture is None or min(texture.shape[:2]) < factor:
        return subject
    pooled = torch.nn.functional.avg_pool2d(texture.permute(2, 0, 1)[None], factor)[0].permute(1, 2, 0)
    return replace(subject, texture_srgb=pooled.contiguous())


def albedo_srgb(subject: Subject, raster: Rasterizer, fragments: Fragments) -> Float[Tensor, "k h w 3"]:
    """The surface's own colour."""
    if subject.texture_srgb is None or subject.uv is None or subject.face_uv is None:
        return subject.positions_world.new_tensor(CLAY_SRGB).expand(*fragments.face_index.shape, 3)
    uv = raster.interpolate(subject.uv, subject.face_uv, fragments)
    return raster.sample_texture(subject.texture_srgb, uv, fragments.hit_mask)


def headlight(
    subject: Subject, raster: Rasterizer, fragments: Fragments, cameras: CameraBatch
) -> Float[Tensor, "k h w 1"]:
    """Soft light from beside the camera on a matte surface: linear light per albedo."""
    lamp = torch.nn.functional.normalize(subject.positions_world.new_tensor(LIGHT_CAMERA), dim=0)
    lamp_world = frames.transform_directions(frames.invert_rigid(cameras.camera_from_world), lamp[None])
    normals = raster.interpolate(subject.normals_world, subject.corners, fragments)
    facing = (normals * lamp_world[:, None]).sum(-1) / normals.norm(dim=-1).clamp_min(1e-6)
    light: Tensor = AMBIENT + (1 - AMBIENT) * facing.clamp_min(0)
    return light[..., None]


def lit(colours_srgb: Float[Tensor, "k h w 3"], light: Float[Tensor, "k h w 1"]) -> Float[Tensor, "k h w 3"]:
    """Colours under a light."""
    return srgb_from_linear(linear_from_srgb(colours_srgb) * light)


def with_lines(
    colours_srgb: Float[Tensor, "k h w 3"], raster: Rasterizer, fragments: Fragments, width_px: float
) -> Float[Tensor, "k h w 3"]:
    """Draw the mesh's edges; thinner where faces are so small that lines would hide everything.

    The distance to an edge is the opposite corner's weight over that weight's slope.
    """
    weights = torch.eye(3, device=colours_srgb.device)
    face_count = max(int(fragments.face_index.max()) + 1, 1)
    corners = torch.arange(3, device=colours_srgb.device).expand(face_count, 3)
    slope_per_px = raster.differentiate(weights, corners, fragments).norm(dim=-1).clamp_min(1e-6)
    distance_px = (fragments.barycentrics / slope_per_px).amin(-1)
    altitude_px = 1 / slope_per_px.amax(-1)
    strength = (altitude_px / DENSE_FACE_PX).clamp(FAINTEST_LINE, 1)
    opacity = strength * ((width_px + 1) / 2 - distance_px).clamp(0, 1) * fragments.hit_mask
    return torch.lerp(colours_srgb, colours_srgb.new_tensor(LINE_SRGB), opacity[..., None])


def over_background(colours_srgb: Float[Tensor, "k h w 3"], fragments: Fragments) -> Float[Tensor, "k h w 3"]:
    """Lay a picture over the light background."""
    return torch.where(fragments.hit_mask[..., None], colours_srgb, colours_srgb.new_tensor(BACKGROUND_SRGB))


def pixels(samples_srgb: Float[Tensor, "sh sw 3"], supersampling: int = 1) -> UInt8[Tensor, "h w 3"]:
    """Average ``supersampling`` squared samples per pixel and round to 8 bits, on the CPU."""
    filtered = torch.nn.functional.avg_pool2d(samples_srgb.permute(2, 0, 1)[None], supersampling)[0].permute(1, 2, 0)
    return (filtered.clamp(0, 1) * 255 + 0.5).to(torch.uint8).contiguous().cpu()
