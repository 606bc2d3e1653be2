"""Flattening keeps shapes; packing keeps charts apart."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import texture_scenes
from recon.scene import TriangleMesh
from recon.texture.charts import Charts, cut_charts, find_adjacency
from recon.texture.packing import Layout, find_hidden_faces, pack_charts, project_charts
from recon.texture.scanlines import covered_texels


def laid_flat(mesh: TriangleMesh, texels_per_metre: float) -> tuple[Charts, Layout]:
    charts = cut_charts(mesh, find_adjacency(mesh))
    return charts, project_charts(mesh, charts, texels_per_metre)


def signed_areas_px(layout: Layout) -> torch.Tensor:
    """Positive for faces that are clockwise with y down, that is seen from outside."""
    a, b, c = layout.positions_px[layout.face_corners].unbind(1)
    return ((c - a)[:, 0] * (b - a)[:, 1] - (c - a)[:, 1] * (b - a)[:, 0]) / 2


def test_flat_sides_keep_their_area_and_orientation() -> None:
    """A box's faces have their true area in texels, and none is mirrored."""
    mesh = texture_scenes.box((0.3, 0.2, 0.1))
    _, layout = laid_flat(mesh, 1000.0)
    areas_m2 = mesh.scaled_face_normals().norm(dim=1) / 2
    torch.testing.assert_close(signed_areas_px(layout), areas_m2 * 1000**2, rtol=1e-3, atol=0)


def test_no_face_of_a_round_solid_is_mirrored() -> None:
    """Every face keeps a positive area when its chart is projected."""
    _, layout = laid_flat(texture_scenes.ring(), 1000.0)
    assert signed_areas_px(layout).min() > 0


def test_the_lower_storeys_of_a_staircase_are_found() -> None:
    """Seen as one chart from above, the ramp's first turn lies hidden under its second."""
    mesh = texture_scenes.staircase(turns=2.0, steps=96)
    charts = Charts(torch.zeros(192, dtype=torch.int64), torch.tensor([[0.0, 0.0, 1.0]]))
    hidden = find_hidden_faces(mesh, charts, project_charts(mesh, charts, 1000.0))
    step = torch.arange(192) % 96
    assert hidden[step < 47].all()
    assert not hidden[step > 49].any()


@settings(max_examples=12, deadline=None)
@given(st.tuples(*[st.floats(0.02, 0.4)] * 3), st.sampled_from([1, 2, 5]))
def test_packed_charts_stay_apart(extents_m: tuple[float, float, float], gutter_px: int) -> None:
    """Boxes of any shape: within the square, and texels of two charts are at least two gutters apart."""
    charts, layout = laid_flat(texture_scenes.box(extents_m, subdivisions=2), 300.0)
    packed, side_px = pack_charts(layout, gutter_px)
    assert packed.positions_px.min() >= gutter_px
    assert packed.positions_px.max() <= side_px - gutter_px
    face, row, column = covered_texels(packed.positions_px, packed.face_corners)
    owner = torch.full((side_px, side_px), -1)
    owner[row, column] = charts.chart_of_face[face]
    for chart in range(charts.count):
        mine = (owner == chart).float()[None, None]
        reach = 4 * gutter_px - 1  # within 2 * gutter - 1 texels on each side
        near = torch.nn.functional.max_pool2d(mine, reach, stride=1, padding=reach // 2)[0, 0] > 0
        assert set(owner[near].unique().tolist()) <= {-1, chart}


def test_packing_fills_most_of_the_square() -> None:
    """Six equal squares (at best 6 of 9 cells) and their gutters leave no more empty than that."""
    _, layout = laid_flat(texture_scenes.box(), 600.0)
    _, side_px = pack_charts(layout, 1)
    assert side_px == pytest.approx(3 * 0.16 * 600, rel=0.06)
