"""From near to exact."""

import math

import torch

import registration_trials as trials
from recon.frames import rotation_from_vector
from recon.registration import Similarity, sample_mesh
from recon.registration.refinement import PointsWithTree, refine, tukey_weights


def test_a_small_error_vanishes() -> None:
    """Five degrees, 3 % of scale and 2 % of offset become a tenth of a degree, a thousandth and a thousandth."""
    case = trials.solid_case("toy")
    points = sample_mesh(case.mesh, trials.SAMPLES)
    source = PointsWithTree(points.positions, points.normals)
    target = PointsWithTree(case.target.positions, case.target.normals)
    turn = rotation_from_vector(torch.tensor([0.05, -0.06, 0.04], dtype=torch.float64))
    middle = case.target.positions.mean(0)
    offset = middle - 1.03 * turn @ middle + 0.02 * case.diagonal_m * torch.tensor([0.6, 0.0, 0.8]).double()
    found = refine(Similarity(torch.tensor(1.03).double(), turn, offset), source, target, 10, 2000)
    angle_deg = math.degrees(math.acos(min(1.0, (float(found.rotation.diagonal().sum()) - 1) / 2)))
    assert angle_deg < 0.1
    assert abs(float(found.scale) - 1) < 1e-3
    assert (found.apply(middle[None])[0] - middle).norm() < 1e-3 * case.diagonal_m


def test_weights_forget_what_is_far() -> None:
    """Full weight at zero, none from the reach on, falling in between."""
    weights = tukey_weights(torch.linspace(0, 2, 21), 1.0)
    assert weights[0] == 1
    assert (weights[10:] == 0).all()
    assert (weights[:11].diff() < 0).all()
