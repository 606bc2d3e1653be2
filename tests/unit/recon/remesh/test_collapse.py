"""Collapsing many edges at a time."""

import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

import geometry_scenes
import texture_scenes
from recon.remesh import collapse_edges
from recon.scene import TriangleMesh


def ring() -> TriangleMesh:
    return texture_scenes.from_trimesh(trimesh.creation.torus(0.08, 0.03, major_sections=96, minor_sections=48))


def divided_box(cuts: int = 4) -> TriangleMesh:
    """A unit box whose sides are flat and finely divided."""
    box = trimesh.creation.box()
    for _ in range(cuts):
        box = box.subdivide()
    return texture_scenes.from_trimesh(box)


@pytest.mark.parametrize("target", [4000, 1000, 300])
def test_a_torus_keeps_its_hole_and_its_volume(target: int) -> None:
    """A torus of 9216 faces reaches the very count asked for and keeps its volume to 1 % (300 faces: 4 %)."""
    simplified = collapse_edges(ring(), target)
    geometry_scenes.assert_closed_manifold(simplified)
    solid, original = geometry_scenes.as_trimesh(simplified), geometry_scenes.as_trimesh(ring())
    assert len(simplified.faces) == target
    assert solid.euler_number == 0
    assert solid.volume == pytest.approx(original.volume, rel=0.04 if target == 300 else 0.01)


def test_flat_sides_cost_nothing() -> None:
    """A box of 3072 faces becomes one of 60 and keeps its corners and planes to a thousandth of its side."""
    simplified = collapse_edges(divided_box(), 60)
    geometry_scenes.assert_closed_manifold(simplified)
    assert len(simplified.faces) == 60
    assert geometry_scenes.as_trimesh(simplified).volume == pytest.approx(1.0, abs=1e-3)
    assert (simplified.positions_world.abs().amax(1) - 0.5).abs().max() < 1e-3


@settings(deadline=None, max_examples=30)
@given(target=st.integers(4, 300), seed=st.integers(0, 1000))
def test_any_bumpy_ball_stays_a_closed_ball(target: int, seed: int) -> None:
    """Whatever the shape and the count, the result is a closed manifold of one piece without a hole."""
    ball = texture_scenes.ball(2)
    bumps = torch.randn(len(ball.positions_world), 1, generator=torch.Generator().manual_seed(seed))
    middle = ball.positions_world.mean(0)
    bumpy = TriangleMesh(middle + (ball.positions_world - middle) * (1 + 0.2 * bumps.clamp(-2, 2)), ball.faces)
    simplified = collapse_edges(bumpy, target)
    geometry_scenes.assert_closed_manifold(simplified)
    assert geometry_scenes.as_trimesh(simplified).euler_number == 2
    assert len(simplified.faces) <= len(ball.faces)


def test_a_tetrahedron_is_the_end() -> None:
    """Below four faces there is no solid: a tetrahedron stays whatever is asked."""
    solid = texture_scenes.from_trimesh(trimesh.creation.box().convex_hull)
    smallest = collapse_edges(solid, 1)
    assert len(smallest.faces) >= 4
    geometry_scenes.assert_closed_manifold(smallest)


def test_the_same_mesh_comes_out_every_time() -> None:
    """Nothing is left to chance: two runs agree bit for bit."""
    one, other = collapse_edges(ring(), 500), collapse_edges(ring(), 500)
    assert torch.equal(one.faces, other.faces)
    assert torch.equal(one.positions_world, other.positions_world)


def test_a_small_mesh_stays() -> None:
    """At the target already, the very same mesh comes back."""
    mesh = ring()
    assert collapse_edges(mesh, len(mesh.faces)) is mesh
