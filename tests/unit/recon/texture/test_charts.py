"""Charts are connected, front-facing and few."""

import torch

import texture_scenes
from recon.scene import TriangleMesh
from recon.texture.charts import MIN_FACING, cut_charts, find_adjacency


def test_a_closed_mesh_links_every_face_to_three_others() -> None:
    """Each of the 3F/2 edges of a closed mesh gives one pair, with the edge's length."""
    mesh = texture_scenes.box((0.2, 0.2, 0.2), subdivisions=0)
    adjacency = find_adjacency(mesh)
    assert torch.bincount(adjacency.pairs.flatten()).tolist() == [3] * 12
    lengths_m, _ = adjacency.edge_length_m.sort()
    torch.testing.assert_close(lengths_m, torch.tensor([0.2] * 12 + [0.2 * 2**0.5] * 6))


def test_a_box_is_cut_into_its_six_sides() -> None:
    """Flat sides become one chart each, seen straight on."""
    mesh = texture_scenes.box()
    charts = cut_charts(mesh, find_adjacency(mesh))
    assert charts.count == 6
    facing = (mesh.face_normals() * charts.direction_world[charts.chart_of_face]).sum(1)
    assert facing.min() > 0.9999


def test_every_face_looks_towards_its_chart() -> None:
    """No face of a round solid turns away from its chart's direction, and charts are large."""
    for mesh in (texture_scenes.ball(), texture_scenes.ring()):
        charts = cut_charts(mesh, find_adjacency(mesh))
        facing = (mesh.face_normals() * charts.direction_world[charts.chart_of_face]).sum(1)
        assert facing.min() >= MIN_FACING
        assert charts.count <= 24


def test_wrinkles_do_not_multiply_the_charts() -> None:
    """Noise that turns faces by tens of degrees leaves most of the surface in large charts."""
    mesh = texture_scenes.ball()
    noise_m = torch.randn(mesh.positions_world.shape, generator=torch.Generator().manual_seed(0)) * 0.0007
    rough = TriangleMesh(mesh.positions_world + noise_m, mesh.faces)
    charts = cut_charts(rough, find_adjacency(rough))
    sizes = torch.bincount(charts.chart_of_face).sort(descending=True).values
    assert sizes[:24].sum() > 0.9 * mesh.faces.shape[0]
