"""Cube rigs."""

import itertools

import torch

from recon.cameras.cube import (
    cube_rotations,
    every_assignment,
    is_consistent_with_names,
    rig_poses,
    score_assignments,
)


def test_rotations_are_the_cubes_group() -> None:
    """24 different rotations, and the product of any two is one of them."""
    rotations = cube_rotations()
    assert len(torch.unique(rotations.flatten(1), dim=0)) == 24
    assert torch.allclose(torch.linalg.det(rotations), torch.ones(24, dtype=torch.float64))
    products = (rotations[:, None] @ rotations[None]).flatten(0, 1).flatten(1)
    assert torch.cdist(products, rotations.flatten(1)).min(1).values.max() == 0


def test_rig_cameras_look_at_the_origin_from_distance_one() -> None:
    """The origin lies on every optical axis, one unit ahead."""
    poses = rig_poses(cube_rotations())
    assert torch.allclose(poses[:, :3, 3] + poses[:, :3, 2], torch.zeros(24, 3, dtype=torch.float64))


def test_every_assignment_uses_every_face_once() -> None:
    """All 122 880 ways, no two alike, six different faces each."""
    assignments = every_assignment()
    assert len(torch.unique(assignments, dim=0)) == 122_880
    faces = (assignments // 4).sort(1).values
    assert bool((faces == torch.arange(6)).all())


def test_names_leave_the_conventions_that_tools_differ_in() -> None:
    """With six names, left and right may be exchanged and top and bottom turned: 2 x 4 x 4 ways."""
    names = ["top", "left", "front", "bottom", "back", "right"]
    assignments = every_assignment()
    fits = is_consistent_with_names(assignments, names)
    assert int(fits.sum()) == 32
    centres = -cube_rotations()[assignments[fits]][..., 2]
    assert torch.equal(centres[:, 0], -centres[:, 3])


def test_scores_sum_the_table_of_pairs() -> None:
    """The best assignment is the one whose pairs are cheap, found whatever it is."""
    rotations = cube_rotations()
    assignments = every_assignment()
    wanted = assignments[77_777]
    costs = torch.ones(6, 6, 24, dtype=torch.float64)
    for first, second in itertools.combinations(range(6), 2):
        relative = rotations[wanted[second]].T @ rotations[wanted[first]]
        row = int((rotations - relative).abs().sum((1, 2)).argmin())
        costs[first, second, row] = 0
    scores = score_assignments(assignments, costs)
    assert int(scores.argmin()) == 77_777
    assert float(scores.min()) == 0
