"""The same capture, twice, on one GPU."""

import pytest
import torch

import geometry_scenes
from recon.geometry import build_geometry
from recon.observations import observe
from recon.optimise import Aims, optimise_mesh
from recon.raster import select_rasterizer
from recon.scene import Capture, TriangleMesh
from recon.settings import FusionSettings, OptimiseSettings
from repeatability import assert_repeated

pytestmark = pytest.mark.gpu


def reconstructed(capture: Capture) -> tuple[TriangleMesh, TriangleMesh]:
    """First mesh and refined mesh."""
    device = torch.device("cuda")
    observations = observe(capture, device)
    first = build_geometry(observations, FusionSettings(), 10_000).mesh
    raster = select_rasterizer("auto", device)
    settings, aims = OptimiseSettings(step_count=8), Aims()
    return first, optimise_mesh(first, observations, settings, raster, lambda share: None, aims).mesh


@pytest.mark.parametrize("name", ["toy", "mug"], ids=["solid", "with a cavity"])
def test_geometry_is_the_same_bit_for_bit_and_the_refinement_to_a_twentieth_of_a_pixel(name: str) -> None:
    """Fusion and simplification repeat exactly; the refinement keeps the faces and moves no vertex by more."""
    capture = geometry_scenes.photographed(name, "orbit6", 256, 1)
    (first, refined), (first_again, refined_again) = reconstructed(capture), reconstructed(capture)
    assert torch.equal(first.positions_world, first_again.positions_world)
    assert torch.equal(first.faces, first_again.faces)
    assert_repeated(refined, refined_again, geometry_scenes.observed(name, "orbit6", 256, 1).pixel_m)
