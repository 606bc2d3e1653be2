"""Patches of surface: described alike from anywhere, and pairs of them that fix a motion."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from recon import frames
from recon.cameras.agreement import make_views
from recon.cameras.patches import describe_patches, gather_colours, match_patches, rigid_from_pairs
from recon.cameras.preparation import make_surfaces, state_from_cameras
from recon.cameras.surfaces import draw_samples
from scenes import make_capture, orbit6_cameras, toy

CPU = torch.device("cpu")
twists = st.lists(st.floats(-2, 2), min_size=6, max_size=6).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


def test_the_same_place_is_described_alike_by_two_views() -> None:
    """Among the nearest candidates of two views 60 degrees apart, far more than by chance are one place."""
    scene = toy()
    capture = make_capture(scene, orbit6_cameras(scene, 128)[:2], supersample=1)
    surfaces = list(make_surfaces(capture.views, CPU).values())
    views = make_views(surfaces, draw_samples(surfaces, 1000, 0))
    state = state_from_cameras(list(capture.views), surfaces, CPU)
    colours = gather_colours([view.image_srgb for view in capture.views], views)
    patches = describe_patches(state, views, colours.at_samples, 300)
    world = frames.transform_points(state.world_from_camera, patches.points)
    near = torch.cdist(world[0], world[1]) < 0.25 * patches.radius
    matches = match_patches(patches.descriptors[0], patches.descriptors[1])[:60]
    by_chance = float(near.float().mean())
    assert float(near[matches[:, 0], matches[:, 1]].float().mean()) > 8 * by_chance


def test_colours_are_looked_up_where_the_samples_lie() -> None:
    """A picture that is its own coordinates gives every sample its place back."""
    scene = toy()
    capture = make_capture(scene, orbit6_cameras(scene, 96)[:2], supersample=1)
    surfaces = list(make_surfaces(capture.views, CPU).values())
    views = make_views(surfaces, draw_samples(surfaces, 100, 0))
    centres = frames.pixel_centres_px(96, 96)
    image = torch.cat([centres, torch.zeros(96, 96, 1)], -1) / 96
    colours = gather_colours([image, image], views)
    assert torch.allclose(colours.at_samples[..., :2] * 96, views.samples.pixels_px, atol=1e-4)
    assert torch.allclose(colours.look_up(1, views.samples.pixels_px[1:]), colours.at_samples[1:])


@given(twists)
def test_two_oriented_points_fix_the_motion(twist: torch.Tensor) -> None:
    """The motion that moved a pair of oriented points is found again."""
    motion = frames.rigid_from_twist(twist)
    generator = torch.Generator().manual_seed(3)
    points = torch.randn(4, 2, 3, generator=generator, dtype=torch.float64)
    normals = torch.nn.functional.normalize(torch.randn(4, 2, 3, generator=generator, dtype=torch.float64), dim=-1)
    moved = frames.transform_points(motion, points), frames.transform_directions(motion, normals)
    found = rigid_from_pairs((points, normals), moved)
    assert torch.allclose(found, motion.expand(4, 4, 4), atol=1e-8)
