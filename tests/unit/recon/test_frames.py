"""Frames: the group laws of rigid motions, and the axis conventions of docs/conventions.md."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon import frames

ANGLES = st.sampled_from([0.0, 1e-12, 1e-9, 1e-6, 1e-4, 1e-3, 0.5, math.pi / 2, 3.0, math.pi, 6.0])
SEEDS = st.integers(0, 2**32 - 1)


def twists(seed: int, angle_rad: float, *shape: int) -> torch.Tensor:
    """Random axes with a given angle, and random translations; float64."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*shape, 6, generator=generator, dtype=torch.float64)
    axes = torch.nn.functional.normalize(values[..., :3], dim=-1)
    return torch.cat([angle_rad * axes, values[..., 3:]], -1)


def assert_rigid(motion: torch.Tensor) -> None:
    rotation = motion[..., :3, :3]
    identity = torch.eye(3, dtype=motion.dtype).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.transpose(-1, -2), identity)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones_like(rotation[..., 0, 0]))
    assert (motion[..., 3, :] == torch.tensor([0, 0, 0, 1], dtype=motion.dtype)).all()


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, angle_rad=ANGLES)
def test_rigid_motions_form_a_group(seed: int, angle_rad: float) -> None:
    """Closed under composition, associative, with an identity and inverses on both sides."""
    c_from_b, b_from_a, a_from_o = frames.rigid_from_twist(twists(seed, angle_rad, 3, 4)).unbind(0)
    assert_rigid(b_from_a)
    assert_rigid(c_from_b @ b_from_a)
    torch.testing.assert_close((c_from_b @ b_from_a) @ a_from_o, c_from_b @ (b_from_a @ a_from_o))
    identity = torch.eye(4, dtype=torch.float64).expand(4, 4, 4)
    a_from_b = frames.invert_rigid(b_from_a)
    torch.testing.assert_close(a_from_b @ b_from_a, identity)
    torch.testing.assert_close(b_from_a @ a_from_b, identity)
    torch.testing.assert_close(frames.invert_rigid(a_from_b), b_from_a)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, angle_rad=ANGLES)
def test_composition_is_application_in_turn(seed: int, angle_rad: float) -> None:
    """(c_from_b b_from_a) x = c_from_b (b_from_a x), for points and for directions."""
    c_from_b, b_from_a = frames.rigid_from_twist(twists(seed, angle_rad, 2))
    points_a = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for transform in (frames.transform_points, frames.transform_directions):
        in_turn = transform(c_from_b, transform(b_from_a, points_a))
        torch.testing.assert_close(transform(c_from_b @ b_from_a, points_a), in_turn)
    differences = frames.transform_points(b_from_a, points_a) - frames.transform_points(b_from_a, points_a[:1])
    torch.testing.assert_close(frames.transform_directions(b_from_a, points_a - points_a[:1]), differences)


def test_transforms_broadcast_over_views() -> None:
    """One set of points in many frames, each as if alone."""
    b_from_a = frames.rigid_from_twist(twists(0, 0.7, 3))
    points_a = torch.randn(5, 3, dtype=torch.float64)
    found = frames.transform_points(b_from_a, points_a[None])
    assert found.shape == (3, 5, 3)
    for view in range(3):
        expected = torch.stack([b_from_a[view, :3, :3] @ point + b_from_a[view, :3, 3] for point in points_a])
        torch.testing.assert_close(found[view], expected)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, angle_rad=ANGLES)
def test_rotation_from_vector_is_the_matrix_exponential(seed: int, angle_rad: float) -> None:
    """Rodrigues' formula equals the exponential of the cross matrix at every angle, also near zero."""
    vectors = twists(seed, angle_rad, 6)[:, :3]
    expected = torch.linalg.matrix_exp(frames.cross_matrix(vectors))
    torch.testing.assert_close(frames.rotation_from_vector(vectors), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("angle_rad", [0.0, 1e-9, 1e-5, 1e-4, 1.1e-4, 0.3])
def test_rotation_from_vector_is_smooth(angle_rad: float) -> None:
    """Its gradient is right on both sides of the series' limit, and finite at zero."""
    vector = twists(1, angle_rad)[:3].requires_grad_()
    assert torch.autograd.gradcheck(frames.rotation_from_vector, vector, eps=1e-6, atol=1e-6)


def test_gradient_at_zero_is_the_cross_matrix() -> None:
    """Near the identity a rotation vector acts by the cross product."""
    jacobian = torch.autograd.functional.jacobian(frames.rotation_from_vector, torch.zeros(3, dtype=torch.float64))
    for axis in range(3):
        generator = frames.cross_matrix(torch.eye(3, dtype=torch.float64)[axis])
        torch.testing.assert_close(jacobian[..., axis], generator)


@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_cross_matrix_is_the_cross_product(seed: int) -> None:
    """cross_matrix(a) b = a x b, and it is skew-symmetric."""
    a, b = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    matrix = frames.cross_matrix(a)
    torch.testing.assert_close((matrix @ b[..., None])[..., 0], torch.linalg.cross(a, b))
    torch.testing.assert_close(matrix, -matrix.transpose(-1, -2))


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_look_at(seed: int) -> None:
    """The target lies on the optical axis in front, and up points up in the picture (-y)."""
    position, target, up = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    world_from_camera = frames.look_at(position, target, up)
    assert_rigid(world_from_camera)
    camera_from_world = frames.invert_rigid(world_from_camera)
    distance_m = (target - position).norm()
    expected = torch.stack([torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64), distance_m])
    torch.testing.assert_close(frames.transform_points(camera_from_world, target[None])[0], expected)
    up_camera = frames.transform_directions(camera_from_world, up[None])[0]
    assert up_camera[0].abs() < 1e-9
    assert up_camera[1] < 0
    torch.testing.assert_close(world_from_camera[:3, 3], position)


def test_look_at_example() -> None:
    """From +x towards the origin with z up, the picture's right is +y."""
    origin, up = torch.zeros(3, dtype=torch.float64), torch.tensor([0.0, 0, 1], dtype=torch.float64)
    world_from_camera = frames.look_at(torch.tensor([2.0, 0, 0], dtype=torch.float64), origin, up)
    expected = torch.tensor([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]], dtype=torch.float64)
    torch.testing.assert_close(world_from_camera[:3, :3], expected)


def test_gl_camera_axes() -> None:
    """OpenGL's camera looks along -z with +y up; the swap is a rotation and its own inverse."""
    swap = frames.CAMERA_GL_FROM_CAMERA
    assert_rigid(swap)
    torch.testing.assert_close(swap @ swap, torch.eye(4, dtype=torch.float64))
    ours = {"right": [1.0, 0, 0], "down": [0.0, 1, 0], "forward": [0.0, 0, 1]}
    gl = {"right": [1.0, 0, 0], "down": [0.0, -1, 0], "forward": [0.0, 0, -1]}
    for name, direction in ours.items():
        found = frames.transform_directions(swap, torch.tensor([direction], dtype=torch.float64))
        assert found.tolist() == [gl[name]]


def test_y_up_from_z_up() -> None:
    """Up stays up, x stays x, and handedness is kept (glTF)."""
    swap = frames.Y_UP_FROM_Z_UP
    assert_rigid(swap)
    axes = frames.transform_directions(swap, torch.eye(3, dtype=torch.float64))
    assert axes.tolist() == [[1, 0, 0], [0, 0, -1], [0, 1, 0]]


def test_pixel_centres() -> None:
    """The first pixel's centre is (0.5, 0.5); x grows to the right and y down."""
    centres_px = frames.pixel_centres_px(2, 3)
    assert centres_px[0].tolist() == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5]]
    assert centres_px[1, 0].tolist() == [0.5, 1.5]
    assert frames.pixel_centres_px(1, 1, dtype=torch.float64).dtype == torch.float64
