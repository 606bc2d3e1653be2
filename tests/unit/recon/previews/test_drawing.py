"""Lit pictures of solids whose look is known."""

import pytest
import torch

import meshes
from raster_scenes import uv_sphere
from recon.previews.drawing import (
    AMBIENT,
    BACKGROUND_SRGB,
    CLAY_SRGB,
    LINE_SRGB,
    albedo_srgb,
    coarser,
    headlight,
    lit,
    over_background,
    pixels,
    subject_on,
    with_lines,
)
from recon.previews.studio import side_cameras
from recon.raster.torch_raster import TorchRasterizer
from recon.scene import TriangleMesh

CPU = torch.device("cpu")
RASTER = TorchRasterizer()


def test_box_sides_are_evenly_lit() -> None:
    """Hard edges stay hard: a flat side has one brightness."""
    subject = subject_on(meshes.box_mesh(), CPU)
    cameras = side_cameras(subject.positions_world, "z", 64)["front"]
    fragments = RASTER.rasterize(subject.positions_world, subject.faces, cameras)
    light = headlight(subject, RASTER, fragments, cameras)[..., 0][fragments.hit_mask]
    assert light.std() < 1e-4
    assert 0.9 < light.mean() < 1


def test_spheres_are_smoothly_lit_from_the_upper_left() -> None:
    """Light falls off steadily from the upper left to the ambient light at the lower right."""
    subject = subject_on(uv_sphere(24, 32), CPU)
    cameras = side_cameras(subject.positions_world, "z", 64)["front"]
    fragments = RASTER.rasterize(subject.positions_world, subject.faces, cameras)
    light = headlight(subject, RASTER, fragments, cameras)[0, ..., 0]
    diagonal = light.diagonal()[fragments.hit_mask[0].diagonal()]
    brightest = int(diagonal.argmax())
    assert brightest < 0.45 * len(diagonal)
    assert (diagonal[brightest:].diff() < 1e-3).all()
    assert diagonal.max() > 0.99
    assert diagonal[-1] < AMBIENT + 0.3
    assert light[fragments.hit_mask[0]].min() >= AMBIENT - 1e-6


def test_texture_or_clay() -> None:
    """A textured box shows its sides' colours, a bare mesh the clay's."""
    box = meshes.textured_box()
    for mesh, expected in ((box, meshes.SIDE_COLOURS[3] / 255), (box.mesh, torch.tensor(CLAY_SRGB))):
        subject = subject_on(mesh, CPU)
        cameras = side_cameras(subject.positions_world, "z", 32)["front"]
        fragments = RASTER.rasterize(subject.positions_world, subject.faces, cameras)
        colours = albedo_srgb(subject, RASTER, fragments)[fragments.hit_mask]
        torch.testing.assert_close(colours, expected.expand_as(colours), atol=1e-5, rtol=0)


def test_light_multiplies_linear_light() -> None:
    """Half the light on middle grey is the sRGB code of half its linear value."""
    grey = torch.full((1, 1, 1, 3), 0.5)
    assert lit(grey, torch.full((1, 1, 1, 1), 0.5))[0, 0, 0, 0].item() == pytest.approx(0.3614, abs=1e-3)
    torch.testing.assert_close(lit(grey, torch.ones(1, 1, 1, 1)), grey)


def test_lines_lie_on_the_edges() -> None:
    """Seen from the front, a box's lines are its outline and one diagonal; the rest keeps its colour."""
    subject = subject_on(meshes.box_mesh(), CPU)
    cameras = side_cameras(subject.positions_world, "z", 129)["front"]
    fragments = RASTER.rasterize(subject.positions_world, subject.faces, cameras)
    white = torch.ones(1, 129, 129, 3)
    lines = with_lines(white, RASTER, fragments, 1.0)[0]
    rows, columns = torch.nonzero(fragments.hit_mask[0], as_tuple=True)
    top, bottom, left, right = int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())
    torch.testing.assert_close(lines[64, 64], torch.tensor(LINE_SRGB), atol=0.05, rtol=0)
    for beside in (lines[top : top + 2, 80], lines[bottom - 1 : bottom + 1, 40]):
        assert beside.mean(-1).min() < 0.85
    for beside in (lines[80, left : left + 2], lines[40, right - 1 : right + 1]):
        assert beside.mean(-1).min() < 0.85
    assert (lines[64, [30, 45, 90, 105]] == 1).all()
    assert (lines[~fragments.hit_mask[0]] == 1).all()


def test_dense_lines_are_faint() -> None:
    """Where faces are a few pixels high, the wireframe still shows light and shade."""
    subject = subject_on(uv_sphere(90, 120), CPU)
    cameras = side_cameras(subject.positions_world, "z", 128)["front"]
    fragments = RASTER.rasterize(subject.positions_world, subject.faces, cameras)
    lines = with_lines(torch.ones(1, 128, 128, 3), RASTER, fragments, 1.0)[fragments.hit_mask]
    assert 0.6 < lines.mean() < 0.97


def test_nothing_in_sight_is_background() -> None:
    """A picture without the object is plain, also as a wireframe."""
    subject = subject_on(meshes.box_mesh(), CPU)
    cameras = side_cameras(subject.positions_world + 100.0, "z", 16)["front"]
    fragments = RASTER.rasterize(subject.positions_world, subject.faces, cameras)
    picture = over_background(with_lines(torch.ones(1, 16, 16, 3), RASTER, fragments, 1.0), fragments)
    torch.testing.assert_close(picture, torch.tensor(BACKGROUND_SRGB).expand(1, 16, 16, 3))


def test_pixels_average_samples() -> None:
    """Supersampling is a box filter, and values round to the nearest of 256."""
    samples = torch.tensor([[0.0, 1.0], [1.0, 1.0]])[..., None].expand(2, 2, 3)
    assert pixels(samples, 2).tolist() == [[[191, 191, 191]]]
    assert pixels(torch.full((1, 1, 3), 1.7)).tolist() == [[[255, 255, 255]]]


def test_coarser_texture_keeps_its_mean() -> None:
    """Halving is averaging; what cannot be halved stays."""
    subject = subject_on(meshes.textured_box(), CPU)
    half = coarser(subject, 2)
    assert subject.texture_srgb is not None
    assert half.texture_srgb is not None
    assert half.texture_srgb.shape == (16, 24, 3)
    torch.testing.assert_close(half.texture_srgb.mean(), subject.texture_srgb.mean())
    assert coarser(subject, 100) is subject
    bare = subject_on(TriangleMesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)), CPU)
    assert coarser(bare, 2) is bare
