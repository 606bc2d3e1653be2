"""Imported by a worker, makes ReconViaGen's random weights answer with typical shapes, for tests/bench/reconviagen.py.

What random weights generate is not typical, so two things are put in its place, which leaves the networks' work as it
is: a shell of about ten thousand voxels instead of a sixth of all, and, for the stages that follow, the teapot's true
surface (a million faces, turned, scaled and swollen by up to 1 % here and there) instead of noise.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import teapot
from recon.frames import rotation_from_vector
from recon.generative import keeper
from recon.geometry.grid import enclosing_grid
from recon.geometry.isosurface import extract_surface
from recon.remesh import keep_solid_pieces

MESH_FILE_VARIABLE = "TYPICAL_MESH"
"""Names the file that keeps the teapot: it takes a minute to make."""


def shell(_: object, __: object, occupancy: torch.Tensor) -> torch.Tensor:
    """About ten thousand occupied voxels instead of what random weights give."""
    size = occupancy.shape[-1]
    steps = torch.arange(size, device=occupancy.device) - (size - 1) / 2
    radius = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).square().sum(0).sqrt()
    return (0.5 - (radius - 0.44 * size).abs()).expand_as(occupancy).to(occupancy.dtype)


def generated_teapot() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vertices, faces and colours as a good model would answer: in a frame of its own, not quite exact."""
    low, high = torch.tensor([-0.17, -0.12, -0.01]), torch.tensor([0.17, 0.12, 0.2])
    grid = enclosing_grid(low, high, 360)
    positions = grid.positions_world().double().numpy()
    field = torch.from_numpy(np.concatenate([teapot.signed_distance_m(part) for part in np.array_split(positions, 64)]))
    mesh = keep_solid_pieces(extract_surface(field.float().view(grid.shape) + 1e-9, grid))
    colours = torch.from_numpy(np.asarray(teapot.albedo_srgb(mesh.positions_world.double().numpy()))).float()
    waves = torch.sin(40 * mesh.positions_world).prod(1, keepdim=True)
    swollen = mesh.positions_world + 0.004 * waves * mesh.vertex_normals()
    turn = rotation_from_vector(torch.tensor([0.7, -1.1, 0.4]))
    middle = (swollen.amax(0) + swollen.amin(0)) / 2
    return (swollen - middle) @ turn.T * 2.6, mesh.faces, torch.cat([colours, torch.zeros_like(colours)], 1)


def typical(load: Any) -> Any:
    """A loader whose pipelines find a usual number of voxels and answer with the teapot."""

    def answer(_: object, __: object, meshes: list[Any]) -> list[Any]:
        device = meshes[0].vertices.device
        vertices, faces, attributes = (item.to(device) for item in torch.load(os.environ[MESH_FILE_VARIABLE]))
        meshes[0].vertices, meshes[0].faces, meshes[0].vertex_attrs = vertices, faces, attributes
        return meshes

    def load_typical(*arguments: Any) -> Any:
        pipeline = load(*arguments)
        pipeline.models["sparse_structure_decoder"].register_forward_hook(shell)
        pipeline.models["slat_decoder_mesh"].register_forward_hook(answer)
        return pipeline

    return load_typical


def ensure_mesh(file: Path) -> int:
    """Make the teapot unless the file is there, and have workers find it; its number of faces."""
    if not file.exists():
        torch.save(generated_teapot(), file)
    os.environ[MESH_FILE_VARIABLE] = str(file.absolute())
    return len(torch.load(file)[1])


keeper.load_pipeline = typical(keeper.load_pipeline)
