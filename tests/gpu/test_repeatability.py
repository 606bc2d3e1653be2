"""The same capture, twice, on one GPU."""

import pytest
import torch

import geometry_scenes
from recon.geometry import build_geometry
from recon.observations import observe
from recon.optimise import Aims, optimise_mesh
from recon.raster import select_rasterizer
from recon.scene import TriangleMesh
from recon.settings import FusionSettings, OptimiseSettings

pytestmark = pytest.mark.gpu

TOLERANCE_PX = 0.05
"""Sums over pixels run in any order on a GPU; how far a vertex may end from where it ended before."""


def reconstructed() -> tuple[TriangleMesh, TriangleMesh]:
    """First mesh and refined mesh of a toy."""
    device = torch.device("cuda")
    observations = observe(geometry_scenes.photographed("toy", "orbit6", 256, 1), device)
    first = build_geometry(observations, FusionSettings(), 10_000).mesh
    raster = select_rasterizer("auto", device)
    settings, aims = OptimiseSettings(step_count=8), Aims()
    return first, optimise_mesh(first, observations, settings, raster, lambda share: None, aims).mesh


def test_geometry_is_the_same_bit_for_bit_and_the_refinement_to_a_twentieth_of_a_pixel() -> None:
    """Fusion and simplification repeat exactly; the refinement keeps the faces and moves no vertex by more."""
    (first, refined), (first_again, refined_again) = reconstructed(), reconstructed()
    assert torch.equal(first.positions_world, first_again.positions_world)
    assert torch.equal(first.faces, first_again.faces)
    assert torch.equal(refined.faces, refined_again.faces)
    pixel_m = geometry_scenes.observed("toy", "orbit6", 256, 1).pixel_m
    apart_m = (refined.positions_world - refined_again.positions_world).norm(dim=1).max()
    assert apart_m < TOLERANCE_PX * pixel_m
