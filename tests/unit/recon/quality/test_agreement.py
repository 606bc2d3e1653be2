"""Inputs that disagree by a known amount are reported to disagree by that amount."""

import math
from dataclasses import replace

import pytest
import torch

import meshes
from recon.quality.agreement import flipped_face_count, outline_scores, photo_agreement
from recon.quality.rendering import Surface, first_hits, surface_on
from recon.raster.torch_raster import TorchRasterizer
from recon.scene import DepthMap, TexturedMesh, TriangleMesh, View

CPU = torch.device("cpu")


@pytest.fixture
def surface() -> Surface:
    return surface_on(meshes.textured_box(), CPU)


def outlines_of(view: View, surface: Surface) -> dict[str, float]:
    return outline_scores(view, surface, first_hits(surface, view.posed_camera, 64, 64, TorchRasterizer()))


def test_equal_outlines_agree(surface: Surface) -> None:
    """Photograph and depth of the same square overlap fully."""
    assert outlines_of(meshes.box_view(1), surface) == {"photo_depth_iou": 1, "depth_outside_fraction": 0}


def test_shifted_depth_outline_is_measured(surface: Surface) -> None:
    """A depth image shifted by 2 of 32 pixels shares 30/34 of the outline and lies outside by 2/32."""
    view = meshes.box_view(1)
    assert view.depth is not None
    depth = DepthMap(view.depth.depth_z.roll(2, 1), view.depth.valid_mask.roll(2, 1))
    # the shifted square reaches 2 px beyond the box, which must still count as near it
    outlines = outlines_of(replace(view, depth=depth), replace(surface, diagonal=6.0))
    assert outlines == pytest.approx({"photo_depth_iou": 30 / 34, "depth_outside_fraction": 2 / 32})


def test_missing_depth_is_no_contradiction(surface: Surface) -> None:
    """Depth that ends 4 pixels before the outline lowers the overlap, yet none of it lies outside."""
    view = meshes.box_view(1)
    assert view.depth is not None
    valid_mask = view.depth.valid_mask & view.depth.valid_mask.roll(4, 1)
    outlines = outlines_of(replace(view, depth=replace(view.depth, valid_mask=valid_mask)), surface)
    assert outlines == pytest.approx({"photo_depth_iou": 28 / 32, "depth_outside_fraction": 0})


def test_depth_that_shows_the_surroundings_is_not_an_outline(surface: Surface) -> None:
    """With a wall behind the object there is nothing to compare."""
    view = meshes.box_view(1)
    depth_z = torch.where(view.depth.valid_mask, view.depth.depth_z, 9.0)
    assert outlines_of(replace(view, depth=DepthMap(depth_z, torch.ones(64, 64, dtype=torch.bool))), surface) == {}


@pytest.mark.parametrize("change", [{"depth": None}, {"mask_source": "depth"}])
def test_outline_needs_two_sources(surface: Surface, change: dict[str, object]) -> None:
    """Without depth, or with a mask made from the depth, agreement means nothing."""
    assert outlines_of(replace(meshes.box_view(1), **change), surface) == {}


def test_faces_seen_from_behind_are_counted() -> None:
    """All faces of an inside-out box are flipped, none of a sound one; a single reversed face counts once."""
    box = meshes.textured_box()
    one_turned = box.mesh.faces.clone()
    one_turned[7] = one_turned[7].flip(0)
    for faces, expected in ((box.mesh.faces, 0), (box.mesh.faces.flip(1), 12), (one_turned, 1)):
        mesh = TriangleMesh(box.mesh.positions_world, faces)
        surface = surface_on(TexturedMesh(mesh, box.uv, box.face_uv, box.texture_srgb, box.coverage), CPU)
        hits = [first_hits(surface, meshes.front_camera(normal), 64, 64, TorchRasterizer()) for normal in meshes.SIDES]
        assert flipped_face_count(surface, hits) == expected


def grid_plate() -> Surface:
    """A finely divided square of side 1 in the plane x = 0.5, facing +x."""
    steps = torch.linspace(-0.5, 0.5, 21)
    y, z = torch.meshgrid(steps, steps, indexing="ij")
    positions = torch.stack([torch.full_like(y, 0.5), y, z], -1).view(-1, 3)
    corner = (torch.arange(20)[:, None] * 21 + torch.arange(20)).view(-1)
    faces = torch.cat(
        [torch.stack([corner, corner + 21, corner + 22], 1), torch.stack([corner, corner + 22, corner + 1], 1)]
    )
    return Surface(positions, faces, torch.zeros(1, 2), torch.zeros_like(faces), torch.zeros(2, 2, 3), math.sqrt(2))


def test_photographs_that_differ_are_measured_against_their_mean() -> None:
    """Two photographs of one plate, 0.2 apart in every channel, lie 0.1 from their mean: 20 dB."""
    surface = grid_plate()
    view = meshes.box_view(0)
    brighter = replace(view, image_srgb=view.image_srgb * 0.5 + 0.2)
    darker = replace(view, image_srgb=view.image_srgb * 0.5)
    hits = first_hits(surface, view.posed_camera, 64, 64, TorchRasterizer())
    agreement = photo_agreement([brighter, darker], surface, [hits, hits])
    assert agreement.agreement_db == pytest.approx(20, abs=1e-3)
    assert agreement.overlap_fraction == 1


def test_equal_photographs_agree_to_the_limit() -> None:
    """The same photograph twice agrees to 99 dB, or as near as single precision comes."""
    surface = grid_plate()
    view = meshes.box_view(0)
    hits = first_hits(surface, view.posed_camera, 64, 64, TorchRasterizer())
    agreement_db = photo_agreement([view, view], surface, [hits, hits]).agreement_db
    assert agreement_db is not None
    assert agreement_db > 60


def test_views_of_different_sides_share_nothing() -> None:
    """The six straight views of a box overlap nowhere, so no agreement is claimed."""
    surface = surface_on(meshes.textured_box(), CPU)
    views = meshes.box_capture().views
    hits = [first_hits(surface, view.posed_camera, 64, 64, TorchRasterizer()) for view in views]
    agreement = photo_agreement(views, surface, hits)
    assert (agreement.overlap_fraction, agreement.agreement_db) == (0.0, None)
