"""Triangles as a signed distance field."""

import torch

import geometry_scenes
import texture_scenes
from recon.geometry.grid import Grid, enclosing_grid
from recon.models.mesh_field import mesh_field
from recon.scene import TriangleMesh


def ball_and_grid() -> tuple[TriangleMesh, Grid]:
    ball = texture_scenes.ball()
    low, high = ball.bounds_world()
    return ball, enclosing_grid(low, high, 40)


def true_distance_m(grid: Grid) -> torch.Tensor:
    solid = geometry_scenes.SOLIDS["sphere"]
    return torch.from_numpy(solid.signed_distance_m(grid.positions_world().double().numpy())).view(grid.shape)


def test_it_is_the_distance_near_the_surface_and_the_sign_everywhere() -> None:
    """Within a voxel of the surface to a tenth of a voxel; farther away the right side."""
    ball, grid = ball_and_grid()
    field, truth = mesh_field(ball, grid).double(), true_distance_m(grid)
    near = truth.abs() < grid.spacing_m
    assert (field - truth)[near].abs().max() < 0.1 * grid.spacing_m
    clear = truth.abs() > 0.1 * grid.spacing_m
    assert torch.equal(field[clear] > 0, truth[clear] > 0)


def test_small_holes_and_inner_walls_do_not_matter() -> None:
    """A triangle missing here and there and a second shell inside: the same outside."""
    ball, grid = ball_and_grid()
    inner = TriangleMesh(
        (ball.positions_world - ball.positions_world.mean(0)) * 0.5 + ball.positions_world.mean(0), ball.faces
    )
    broken = TriangleMesh(
        torch.cat([ball.positions_world, inner.positions_world]),
        torch.cat([ball.faces[torch.arange(len(ball.faces)) % 50 != 0], inner.faces + len(ball.positions_world)]),
    )
    outside = true_distance_m(grid) > 0.5 * grid.spacing_m
    field = mesh_field(broken, grid)
    assert bool((field[outside] > 0).all())
    just_inside = (true_distance_m(grid) < -0.5 * grid.spacing_m) & (true_distance_m(grid) > -2 * grid.spacing_m)
    assert bool((field[just_inside] < 0).all())
