"""The measured surface as points, and the outline check."""

from dataclasses import replace

import torch

import geometry_scenes
import registration_trials as trials
from recon.registration import Similarity, sample_mesh
from recon.registration.measured import SilhouetteCheck, measured_points

IDENTITY = Similarity(
    torch.ones((), dtype=torch.float64), torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
)


def test_measured_points_lie_on_the_surface() -> None:
    """Exact depth gives points a thousandth of a pixel from the true surface, evenly, with outward normals."""
    observations, capture = geometry_scenes.observed("toy"), geometry_scenes.photographed("toy")
    points = measured_points(observations, capture)
    solid = geometry_scenes.SOLIDS["toy"]
    distance_m = torch.from_numpy(solid.signed_distance_m(points.positions.numpy())).abs()
    assert distance_m.max() < 1e-3 * observations.pixel_m
    normals = torch.from_numpy(solid.normals_world(points.positions.numpy()))
    assert (points.normals * normals).sum(1).quantile(0.05) > 0.95
    assert points.colours_srgb is not None
    assert points.colours_srgb.shape == points.positions.shape
    nearest = torch.cdist(points.positions, points.positions).fill_diagonal_(1.0).amin(1)
    assert nearest.quantile(0.9) < 4 * nearest.quantile(0.1)


def test_outlines_match_where_the_mesh_is_right() -> None:
    """The overlap is best in place, where only thin legs cost some on the coarse picture, and falls with distance."""
    case = trials.solid_case("toy")
    check = SilhouetteCheck(sample_mesh(case.mesh, trials.SAMPLES).positions, case.observations)

    def overlap(distance: float) -> float:
        offset = torch.tensor([distance * case.diagonal_m, 0, 0], dtype=torch.float64)
        return check(replace(IDENTITY, offset=offset))

    values = [overlap(distance) for distance in (0.0, 0.02, 0.05, 0.2, 10.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.88
    assert values[2] < values[0] - 0.1
    assert values[-1] < 0.02


def test_colours_are_taken_where_the_photograph_shows_the_point() -> None:
    """Photographs that were moved against their depths give the points the colours that they had."""
    observations, capture = geometry_scenes.observed("toy"), geometry_scenes.photographed("toy")
    shift_px = 6
    moved = replace(
        capture,
        views=tuple(
            replace(
                view,
                image_srgb=view.image_srgb.roll((shift_px, 2 * shift_px), (0, 1)),
                image_from_camera=torch.tensor([[1.0, 0.0, 2.0 * shift_px], [0.0, 1.0, shift_px]]),
            )
            for view in capture.views
        ),
    )
    wanted, found = measured_points(observations, capture), measured_points(observations, moved)
    assert wanted.colours_srgb is not None
    assert found.colours_srgb is not None
    torch.testing.assert_close(found.positions, wanted.positions)
    torch.testing.assert_close(found.colours_srgb, wanted.colours_srgb, atol=1e-4, rtol=0)
