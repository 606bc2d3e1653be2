"""Visibility: every pixel centre belongs to exactly one of the faces that share its surroundings."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

import meshes
from raster_scenes import cameras_around, uv_sphere
from recon.raster import zbuffer
from recon.raster.zbuffer import NEAR_Z_M, expand_counts, nearest_faces

SIZE_PX = 24


def cover_counts(pixels_px: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """How many faces cover each pixel centre of one view; each face is drawn alone, in a view of its own."""
    depth_z_m = -torch.ones(len(faces), pixels_px.shape[1], dtype=pixels_px.dtype)
    depth_z_m.scatter_(1, faces, 1.0)
    seen = nearest_faces(pixels_px.expand(len(faces), -1, -1), depth_z_m, faces, (SIZE_PX, SIZE_PX))
    assert ((seen == -1) | (seen == torch.arange(len(faces))[:, None, None])).all()
    return (seen >= 0).sum(0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    is_snapped=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_triangulated_plane_covers_every_pixel_once(seed: int, is_snapped: bool, dtype: torch.dtype) -> None:
    """A random triangulation leaves no gap and no double cover, even with vertices on pixel centres."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-4, SIZE_PX + 4, (30, 2))
    if is_snapped:
        points = np.unique(np.floor(points) + 0.5, axis=0)
    frame = np.array([[-90.0, -80], [110, -85], [105, 120], [-95, 115]])
    points = np.concatenate([points, frame])
    faces = rng.permuted(Delaunay(points).simplices, axis=1)
    pixels_px = torch.from_numpy(points).to(dtype)[None]
    counts = cover_counts(pixels_px, torch.from_numpy(faces).long())
    assert (counts == 1).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_closed_surface_covers_every_pixel_an_even_number_of_times(seed: int, dtype: torch.dtype) -> None:
    """A ray that enters a closed surface leaves it, however crumpled the surface is."""
    sphere = uv_sphere(5, 6)
    generator = torch.Generator().manual_seed(seed)
    crumpled = sphere.positions_world + 0.5 * torch.rand(sphere.positions_world.shape, generator=generator).double()
    pixels_px, _ = cameras_around(1, SIZE_PX, SIZE_PX).project(crumpled)
    counts = cover_counts(pixels_px.to(dtype), sphere.faces)
    assert (counts % 2 == 0).all()
    assert (counts > 0).any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_covered_pixels_are_those_inside_the_triangle(seed: int) -> None:
    """A face covers the pixel centres inside its projection and no others."""
    corners = torch.from_numpy(np.random.default_rng(seed).uniform(-10, SIZE_PX + 10, (3, 2)))
    centres = torch.stack(torch.meshgrid(*[torch.arange(SIZE_PX) + 0.5] * 2, indexing="xy"), -1).double()
    sides = []
    for i in range(3):
        edge, offset = corners[(i + 1) % 3] - corners[i], centres - corners[i]
        sides.append((edge[0] * offset[..., 1] - edge[1] * offset[..., 0]) / edge.norm())
    distance_px = torch.stack(sides)
    is_inside = (distance_px > 1e-9).all(0) | (distance_px < -1e-9).all(0)
    is_outside = ~((distance_px > -1e-9).all(0) | (distance_px < 1e-9).all(0))
    is_covered = cover_counts(corners[None], torch.tensor([[0, 1, 2]])) == 1
    assert is_covered[is_inside].all()
    assert not is_covered[is_outside].any()


def test_nearest_face_wins_whatever_the_order() -> None:
    """Of two faces over one another each pixel sees the one with the smaller depth there."""
    pixels_px = torch.tensor([[[0.0, 0], [20, 0], [0, 20], [20, 0], [0, 20], [0, 0]]])
    depth_z_m = torch.tensor([[1.0, 3.0, 3.0, 2.0, 2.0, 2.0]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    seen = nearest_faces(pixels_px, depth_z_m, faces, (SIZE_PX, SIZE_PX))[0]
    swapped = nearest_faces(pixels_px, depth_z_m, faces.flip(0), (SIZE_PX, SIZE_PX))[0]
    assert seen[0, 0] == 0
    assert seen[9, 9] == 1
    # The planes 1 / z = 1 - (x + y) / 30 and 1 / z = 1 / 2 meet where x + y = 15.
    diagonal = torch.arange(SIZE_PX)[:, None] + torch.arange(SIZE_PX) + 1
    for one, other in ((0, 1), (1, 0)):
        picture = seen if one == 0 else swapped
        assert (picture[diagonal < 15] == one).all()
        assert (picture[(diagonal > 15) & (diagonal < 20)] == other).all()
        assert (picture[diagonal > 20] == -1).all()


@pytest.mark.parametrize("corner_z_m", [NEAR_Z_M / 2, 0.0, -1.0, torch.nan, torch.inf])
def test_faces_at_the_near_plane_are_left_out(corner_z_m: float) -> None:
    """A face with a corner behind, on or without a place before the camera is not drawn."""
    pixels_px = torch.tensor([[[0.0, 0], [20, 0], [0, 20]]])
    seen = nearest_faces(pixels_px, torch.tensor([[1.0, 1.0, corner_z_m]]), torch.tensor([[0, 1, 2]]), (24, 24))
    assert (seen == -1).all()


def test_vertices_that_are_not_finite_hide_only_their_faces() -> None:
    """A broken vertex does not disturb the faces beside it."""
    pixels_px = torch.tensor([[[0.0, 0], [24, 0], [0, 24], [torch.nan, 24]]])
    faces = torch.tensor([[0, 1, 2], [1, 2, 3]])
    seen = nearest_faces(pixels_px, torch.ones(1, 4), faces, (SIZE_PX, SIZE_PX))
    assert set(seen.unique().tolist()) == {-1, 0}


def test_mesh_without_faces_is_empty() -> None:
    """Nothing is seen of nothing."""
    seen = nearest_faces(torch.zeros(2, 3, 2), torch.ones(2, 3), torch.zeros(0, 3, dtype=torch.int64), (4, 5))
    torch.testing.assert_close(seen, torch.full((2, 4, 5), -1))


def test_passes_of_bounded_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing in many small passes gives the picture of one pass."""
    box = meshes.box_mesh()
    pixels_px, depth_z_m = cameras_around(3, 40, 50, dtype=torch.float32).project(box.positions_world)
    whole = nearest_faces(pixels_px, depth_z_m, box.faces, (40, 50))
    monkeypatch.setattr(zbuffer, "_PIXELS_PER_PASS", {"cpu": 64})
    monkeypatch.setattr(zbuffer, "_FACES_PER_PASS", {"cpu": 5})
    assert torch.equal(nearest_faces(pixels_px, depth_z_m, box.faces, (40, 50)), whole)
    assert len(whole.unique()) > 6


def test_expand_counts() -> None:
    """Every item is repeated as often as asked, with its positions in order."""
    item, position = expand_counts(torch.tensor([2, 0, 3]))
    assert item.tolist() == [0, 0, 2, 2, 2]
    assert position.tolist() == [0, 1, 0, 1, 2]
