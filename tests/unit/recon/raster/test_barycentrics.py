"""Weights at pixel centres; their behaviour in pictures is tested with the rasteriser."""

import pytest
import torch

from raster_scenes import camera_below, square
from recon import frames
from recon.raster import barycentrics
from recon.raster.barycentrics import CornerOffsets, corner_offsets, find_hits, weights_from_offsets, weights_per_px


def test_hits_are_listed_in_reading_order() -> None:
    """Pixels are numbered view by view and row by row."""
    face_index = torch.tensor([[[-1, 4], [-1, -1]], [[0, -1], [7, -1]]])
    hits = find_hits(face_index)
    assert hits.pixel.tolist() == [1, 4, 6]
    assert hits.face.tolist() == [4, 0, 7]


@pytest.mark.parametrize(("length", "count"), [(2, 3), (5, 1), (100, 1)])
def test_passes_are_bounded_and_complete(monkeypatch: pytest.MonkeyPatch, length: int, count: int) -> None:
    """Cutting the list loses nothing; there is at least one pass, also without hits."""
    monkeypatch.setattr(barycentrics, "_HITS_PER_PASS", {"cpu": length})
    hits = find_hits(torch.arange(5).view(1, 1, 5))
    parts = list(hits.passes())
    assert len(parts) == count
    assert torch.equal(torch.cat([part.face for part in parts]), hits.face)
    assert len(list(find_hits(torch.full((1, 2, 2), -1)).passes())) == 1


def test_offsets_are_corners_relative_to_the_ray() -> None:
    """At the principal point the ray is the axis, and the offset the corner's own x and y."""
    cameras, plane = camera_below(3.0, 9), square(1.0)
    positions_camera = frames.transform_points(cameras.camera_from_world, plane.positions_world[None])
    face_index = torch.full((1, 9, 9), -1)
    face_index[0, 4, 4] = 0
    offsets = corner_offsets(find_hits(face_index), positions_camera, plane.faces, cameras)
    torch.testing.assert_close(offsets.offset_m[0], plane.positions_world[plane.faces[0], :2])
    assert offsets.depth_z_m.tolist() == [[3.0, 3.0, 3.0]]
    assert offsets.focal_px.tolist() == [[9.0, 9.0]]


def test_weights_of_known_triangles() -> None:
    """A corner on the ray has all the weight, the centroid a third each; a face without area has none."""
    corners = torch.tensor(
        [
            [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]],
            [[-1.0, -1.0], [1.0, 0.0], [0.0, 1.0]],
            [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]],
        ]
    )
    offsets = CornerOffsets(corners, torch.ones(3, 3), torch.ones(3, 2))
    third = 1 / 3
    expected = torch.tensor([[1.0, 0, 0], [third, third, third], [0, 0, 0]])
    torch.testing.assert_close(weights_from_offsets(offsets), expected)


def test_weight_changes_sum_to_zero() -> None:
    """Weights sum to one everywhere, so their changes cancel."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(20, 3, 2, generator=generator) - 0.5
    offsets = CornerOffsets(corners, 1 + torch.rand(20, 3, generator=generator), torch.full((20, 2), 50.0))
    changes = weights_per_px(offsets)
    torch.testing.assert_close(changes.sum(1), torch.zeros(20, 2), atol=1e-3 * changes.abs().max().item(), rtol=0)
