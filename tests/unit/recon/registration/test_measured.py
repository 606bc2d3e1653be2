"""The measured surface as points, and the outline check."""

import torch

import geometry_scenes
import registration_trials as trials
from recon.registration import Similarity, sample_mesh
from recon.registration.measured import SilhouetteCheck, measured_points

IDENTITY = Similarity(
    torch.ones((), dtype=torch.float64), torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
)


def test_measured_points_lie_on_the_surface() -> None:
    """Exact depth gives points within a tenth of a pixel of the true surface, evenly, with outward normals."""
    observations, capture = geometry_scenes.observed("toy"), geometry_scenes.photographed("toy")
    points = measured_points(observations, capture)
    solid = geometry_scenes.SOLIDS["toy"]
    distance_m = torch.from_numpy(solid.signed_distance_m(points.positions.numpy())).abs()
    assert distance_m.quantile(0.99) < 0.1 * observations.pixel_m
    normals = torch.from_numpy(solid.normals_world(points.positions.numpy()))
    assert (points.normals * normals).sum(1).quantile(0.05) > 0.97
    assert points.colours_srgb is not None
    assert points.colours_srgb.shape == points.positions.shape
    nearest = torch.cdist(points.positions, points.positions).fill_diagonal_(1.0).amin(1)
    assert nearest.quantile(0.9) < 4 * nearest.quantile(0.1)


def test_outlines_match_where_the_mesh_is_right() -> None:
    """Nearly full overlap in place; clearly less when moved by a twentieth of the diagonal; none far away."""
    case = trials.solid_case("toy")
    check = SilhouetteCheck(sample_mesh(case.mesh, trials.SAMPLES).positions, case.observations)
    aside = Similarity(IDENTITY.scale, IDENTITY.rotation, torch.tensor([0.05 * case.diagonal_m, 0, 0]).double())
    away = Similarity(IDENTITY.scale, IDENTITY.rotation, torch.tensor([10 * case.diagonal_m, 0, 0]).double())
    assert check(IDENTITY) > 0.95
    assert check(aside) < 0.85
    assert check(away) == 0
