"""Occlusion, borders and look-ups of a single photograph."""

import torch

import scenes
import texture_scenes
from recon.colour import linear_from_srgb
from recon.scene import TriangleMesh
from recon.texture.photograph import MIN_COSINE, Photograph, observe, sample


def observed(mesh: TriangleMesh, view_index: int = 0) -> Photograph:
    view = texture_scenes.ball_capture().views[view_index]
    return observe(view, mesh, texture_scenes.rasterizer(), texture_scenes.CPU)


def test_trust_rises_from_the_silhouette_inwards() -> None:
    """No trust outside or on mixed pixels, a little at the rim, all of it a few pixels inside."""
    photograph = observed(texture_scenes.ball())
    alpha = texture_scenes.ball_capture().views[0].foreground_alpha
    assert photograph.trust[alpha < 0.97].max() == 0
    distance_px = torch.zeros_like(alpha)
    inside = (photograph.trust > 0).float()
    for _ in range(4):
        distance_px += inside
        inside = -torch.nn.functional.max_pool2d(-inside[None, None], 3, stride=1, padding=1)[0, 0]
    assert torch.equal(photograph.trust[distance_px >= 3], torch.ones_like(photograph.trust[distance_px >= 3]))
    assert photograph.trust[distance_px == 1].max() < 0.1


def test_points_behind_another_surface_are_not_sighted() -> None:
    """Of two balls one behind the other, the hidden one is not seen, nor are backs of either."""
    near = texture_scenes.ball(3)
    camera = texture_scenes.ball_capture().views[0].posed_camera
    centre = torch.from_numpy(scenes.sphere().centre_world)
    away = torch.nn.functional.normalize(centre - camera.position_world, dim=0).float()
    count = near.positions_world.shape[0]
    both = TriangleMesh(
        torch.cat([near.positions_world, near.positions_world * 0.5 + centre.float() * 0.5 + 0.3 * away]),
        torch.cat([near.faces, near.faces + count]),
    )
    sighting = observed(both).sight(both.positions_world, both.vertex_normals())
    assert sighting.point.max() < count
    to_camera = torch.nn.functional.normalize(camera.position_world.float() - near.positions_world, dim=1)
    cosine = (to_camera * near.vertex_normals()).sum(1)
    seen = torch.zeros(count, dtype=torch.bool)
    seen[sighting.point] = True
    assert not seen[cosine < MIN_COSINE].any()
    assert seen[cosine > 0.4].all()


def test_a_plane_seen_at_a_grazing_angle_is_seen() -> None:
    """The top of a box whose depth jumps by many pixel widths from row to row is one surface, not many borders."""
    mesh = texture_scenes.box((0.16, 0.16, 0.16))
    scene = scenes.cube()
    direction = torch.tensor([0.0, -1.0, 0.16], dtype=torch.float64).numpy()
    view = scenes.make_capture(scene, [scenes.look_from(scene, direction, 320)], supersample=1).views[0]
    photograph = observe(view, mesh, texture_scenes.rasterizer(), texture_scenes.CPU)
    is_top = (mesh.positions_world[:, 2] > mesh.positions_world[:, 2].max() - 1e-4).nonzero().squeeze(1)
    middle = is_top[(mesh.positions_world[is_top, :2] - mesh.positions_world[:, :2].mean(0)).abs().amax(1) < 0.05]
    up = torch.tensor([0.0, 0.0, 1.0]).expand(mesh.positions_world.shape[0], 3)
    sighting = photograph.sight(mesh.positions_world, up)
    assert set(middle.tolist()) <= set(sighting.point.tolist())


def test_sighted_colours_are_the_surface_colours() -> None:
    """Where the view is frontal, the photograph shows the procedural colour in linear light."""
    scene = scenes.sphere()
    mesh = texture_scenes.ball(5)
    sighting = observed(mesh).sight(mesh.positions_world, mesh.vertex_normals())
    frontal = sighting.cosine > 0.7
    true_linear = torch.from_numpy(scene.colour_linear(mesh.positions_world.double().numpy())).float()
    error = sighting.linear[frontal] - true_linear[sighting.point[frontal]]
    assert error.abs().mean() < 0.02  # the photograph is box-filtered
    image = texture_scenes.ball_capture().views[0].image_srgb
    torch.testing.assert_close(observed(mesh).linear, linear_from_srgb(image))


def test_look_ups_are_exact_on_linear_pictures() -> None:
    """Bilinear sampling reproduces x and y anywhere between the outer pixel centres."""
    y, x = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(12) + 0.5, indexing="ij")
    points_px = torch.rand(100, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([11.0, 7.0]) + 0.5
    torch.testing.assert_close(sample(torch.stack([x, y], -1), points_px), points_px)
