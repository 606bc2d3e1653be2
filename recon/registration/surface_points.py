"""A surface as points to match with."""

from dataclasses import dataclass

import torch

from recon.arrays import Float, Tensor
from recon.scene import TriangleMesh


@dataclass(frozen=True)
class SurfacePoints:
    """Points spread evenly over a surface, in random order.

    Attributes:
        normals: Unit, outwards.
        colours_srgb: 0..1; may be missing.
    """

    positions: Float[Tensor, "n 3"]
    normals: Float[Tensor, "n 3"]
    colours_srgb: Float[Tensor, "n 3"] | None = None


def sample_mesh(
    mesh: TriangleMesh, count: int, seed: int = 0, colours_srgb: Float[Tensor, "v 3"] | None = None
) -> SurfacePoints:
    """Draw points evenly by area."""
    generator = torch.Generator().manual_seed(seed)
    positions, faces = mesh.positions_world.detach().cpu().double(), mesh.faces.cpu()
    scaled = TriangleMesh(positions, faces).scaled_face_normals()
    cumulative = scaled.norm(dim=1).cumsum(0)
    drawn = torch.rand(count, generator=generator, dtype=torch.float64) * cumulative[-1]
    face = torch.searchsorted(cumulative, drawn).clamp_max(len(faces) - 1)
    u, v = torch.rand(2, count, generator=generator, dtype=torch.float64)
    u, v = torch.where(u + v > 1, torch.stack([1 - u, 1 - v]), torch.stack([u, v]))
    weights = torch.stack([1 - u - v, u, v], 1)[..., None]
    colours = None
    if colours_srgb is not None:
        colours = (colours_srgb.detach().cpu().double()[faces[face]] * weights).sum(1)
    normals = torch.nn.functional.normalize(scaled[face], dim=1, eps=1e-20)
    return SurfacePoints((positions[faces[face]] * weights).sum(1), normals, colours)
