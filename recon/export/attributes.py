"""What formats store per vertex: normals, colours, coverage."""

import torch

from recon.arrays import Float, Tensor, UInt8
from recon.colour import linear_from_srgb, srgb_from_linear
from recon.scene import TEXEL_EMPTY, TexturedMesh, TriangleMesh


def unit_normals(textured: TexturedMesh) -> Float[Tensor, "v 3"]:
    """Vertex normals of length 1; a vertex without area around it gets +z, since formats forbid zero normals."""
    mesh = textured.mesh
    normals = TriangleMesh(mesh.positions_world.double(), mesh.faces).vertex_normals()
    is_zero = normals.norm(dim=1, keepdim=True) < 0.5
    return torch.where(is_zero, torch.tensor([0.0, 0.0, 1.0], dtype=normals.dtype), normals).float()


def vertex_colours(textured: TexturedMesh) -> Float[Tensor, "v 3"]:
    """sRGB at the vertices: the mean, in linear light, over the face corners that meet there."""
    texels = linear_from_srgb(_look_up(textured.texture_srgb, textured.uv))
    corners, faces = textured.face_uv.flatten(), textured.mesh.faces.flatten()
    vertex_count = textured.mesh.positions_world.shape[0]
    summed = texels.new_zeros(vertex_count, 3).index_add(0, faces, texels[corners])
    count = torch.bincount(faces, minlength=vertex_count).clamp_min(1)
    return srgb_from_linear(summed / count[:, None])


def vertex_coverage(textured: TexturedMesh) -> UInt8[Tensor, " v"]:
    """The best TEXEL_ value next to each vertex: observed, else filled, else generated, else empty.

    Read a tenth of the way towards each face's centre, since the texel under a vertex may lie outside its chart.
    """
    corner_uv = textured.uv[textured.face_uv]
    inside_uv = (corner_uv + 0.1 * (corner_uv.mean(1, keepdim=True) - corner_uv)).flatten(0, 1)
    height, width = textured.coverage.shape
    column = (inside_uv[:, 0] * width).floor().clamp(0, width - 1).long()
    row = ((1 - inside_uv[:, 1]) * height).floor().clamp(0, height - 1).long()
    values = textured.coverage[row, column].long()
    none = torch.iinfo(torch.uint8).max
    values = torch.where(values == TEXEL_EMPTY, none, values)
    best = torch.full((textured.mesh.positions_world.shape[0],), none)
    best.scatter_reduce_(0, textured.mesh.faces.flatten(), values, "amin")
    return torch.where(best == none, TEXEL_EMPTY, best).to(torch.uint8)


def _look_up(texture: Float[Tensor, "h w 3"], uv: Float[Tensor, "u 2"]) -> Float[Tensor, "u 3"]:
    """Bilinear; grid_sample's -1..1 spans the picture's edges just as uv does, with y downwards."""
    grid = torch.stack([uv[:, 0] * 2 - 1, 1 - uv[:, 1] * 2], 1)[None, None].to(texture.dtype)
    sampled = torch.nn.functional.grid_sample(
        texture.permute(2, 0, 1)[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0, :, 0].T
