"""The atlas is a bijection whose size follows the photographs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scenes
import texture_scenes
from recon.scene import TriangleMesh, batch_cameras
from recon.texture.atlas import Atlas, build_atlas, choose_size_px
from recon.texture.scanlines import covered_texels


def overlap_count(atlas: Atlas) -> int:
    """Texels that belong to more than one face."""
    _, row, column = covered_texels(atlas.corners_px, atlas.face_corners)
    _, count = torch.unique(row * atlas.size_px + column, return_counts=True)
    return int((count > 1).sum())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.0, 0.6))
def test_no_two_faces_overlap(seed: int, strength: float) -> None:
    """Spheres bent by random waves, with deep folds: no more than a stray border texel belongs to two faces."""
    mesh = texture_scenes.ball(3)
    generator = torch.Generator().manual_seed(seed)
    waves = torch.randn(3, 3, generator=generator) * 40
    bent = mesh.positions_world * (1 + strength * torch.sin(mesh.positions_world @ waves).mean(1, keepdim=True))
    atlas = build_atlas(TriangleMesh(bent, mesh.faces), 256)
    assert overlap_count(atlas) <= 6
    assert atlas.uv.min() > 0
    assert atlas.uv.max() < 1


def test_a_spiral_ramp_is_taken_apart() -> None:
    """Three turns above one another end in charts that do not overlap."""
    atlas = build_atlas(texture_scenes.staircase(turns=3.0), 256)
    assert overlap_count(atlas) == 0
    assert int(atlas.chart_of_face.max()) >= 2


def test_uv_names_the_same_place_as_texels() -> None:
    """u grows right and v up: the top left corner of the picture is (0, 1)."""
    corners_px = torch.tensor([[0.0, 0.0], [64.0, 16.0]])
    atlas = Atlas(corners_px, torch.tensor([[0, 1, 1]]), torch.tensor([0]), 64)
    assert atlas.uv.tolist() == [[0.0, 1.0], [1.0, 0.75]]


@pytest.mark.parametrize("view_px", [96, 512, 1024])
def test_the_size_follows_the_photographs(view_px: int) -> None:
    """Texels are somewhat smaller than pixels, in steps of 256, never below 512."""
    scene = scenes.sphere()
    cameras = [batch_cameras([camera], view_px, view_px, "cpu") for camera in scenes.orbit6_cameras(scene, view_px)]
    size_px = choose_size_px(texture_scenes.ball(), cameras)
    assert size_px % 256 == 0
    texels_per_metre = size_px * (0.58 / (4 * torch.pi * 0.1**2)) ** 0.5
    pixels_per_metre = float(cameras[0].focal_px[0, 0]) / (3 * scene.diagonal_m)
    assert size_px == 512 if view_px == 96 else 1.2 < texels_per_metre / pixels_per_metre < 1.7


def test_the_same_mesh_gives_the_same_atlas() -> None:
    """Bit for bit."""
    one, two = (build_atlas(texture_scenes.ring(), 256) for _ in range(2))
    assert torch.equal(one.corners_px, two.corners_px)
    assert torch.equal(one.face_corners, two.face_corners)
