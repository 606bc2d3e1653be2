"""The whole measurement on a box whose photographs are exact."""

from dataclasses import replace

import pytest
import torch

import meshes
from recon.quality import QualityReport, measure
from recon.raster.torch_raster import TorchRasterizer
from recon.scene import Capture, TexturedMesh, TriangleMesh

CPU = torch.device("cpu")


def measured(textured: TexturedMesh, capture: Capture) -> QualityReport:
    return measure(textured, capture, TorchRasterizer(), CPU)


def test_perfect_result_is_normal_and_silent() -> None:
    """The true box scores without fault in every view and gives nothing to warn of."""
    report = measured(meshes.textured_box(), meshes.box_capture())
    assert report.verdict == "normal"
    assert report.warnings == ()
    assert len(report.views) == 6
    assert min(view.psnr_db for view in report.views if view.psnr_db) > 90
    assert report.mean.ssim == pytest.approx(1, abs=1e-5)
    assert report.mean.mask_iou == 1
    assert report.mean.photo_depth_iou == 1
    assert report.mean.depth_rmse_m == pytest.approx(0, abs=1e-6)
    assert report.surface.observed_fraction == 1
    assert report.mesh.is_watertight


def test_mean_is_the_mean_over_views() -> None:
    """Each mean equals the average of the views' own scores."""
    report = measured(meshes.textured_box(0.45), meshes.box_capture())
    assert report.mean.psnr_db == pytest.approx(sum(view.psnr_db or 0 for view in report.views) / 6)
    assert report.mean.depth_mae_m == pytest.approx(0.05, abs=1e-6)


def test_wrong_colours_fail() -> None:
    """A box with its texture inverted is a failure, and the first sentence says so."""
    box = meshes.textured_box()
    report = measured(
        TexturedMesh(box.mesh, box.uv, box.face_uv, 1 - box.texture_srgb, box.coverage), meshes.box_capture()
    )
    assert report.verdict == "failure"
    assert report.warnings[0].startswith("The mesh does not repeat its photographs well: PSNR")


def test_views_that_cannot_be_compared_are_named_and_left_out() -> None:
    """A photograph without an object has no score, a note, and no part in the mean."""
    capture = meshes.box_capture()
    blank = replace(capture.views[2], foreground_alpha=torch.zeros(64, 64))
    views = (*capture.views[:2], blank, *capture.views[3:])
    report = measured(meshes.textured_box(), replace(capture, views=views))
    assert report.views[2].psnr_db is None
    assert report.views[2].note == "No object was found in the photograph."
    assert report.mean.psnr_db is not None
    assert report.mean.psnr_db > 90
    assert any("side_2" in warning for warning in report.warnings)


def test_nothing_to_compare_is_a_failure() -> None:
    """When no photograph can be compared, the quality is unknown and that is never called normal."""
    capture = meshes.box_capture()
    tiny = tuple(
        replace(view, image_srgb=view.image_srgb[:4, :4], foreground_alpha=view.foreground_alpha[:4, :4])
        for view in capture.views
    )
    report = measured(meshes.textured_box(), replace(capture, views=tiny))
    assert report.verdict == "failure"
    assert report.mean.psnr_db is None
    assert report.warnings[0].startswith("No photograph could be compared")


def test_photographs_without_depth_are_measured() -> None:
    """A capture of photographs alone gets every picture score and no depth score."""
    capture = meshes.box_capture()
    views = tuple(replace(view, depth=None) for view in capture.views)
    report = measured(meshes.textured_box(), replace(capture, views=views))
    assert report.verdict == "normal"
    assert report.mean.depth_mae_percent is None


def test_inside_out_mesh_is_noticed() -> None:
    """A mesh whose faces look inwards draws the same pictures, and is reported all the same."""
    box = meshes.textured_box()
    turned = TexturedMesh(
        TriangleMesh(box.mesh.positions_world, box.mesh.faces.flip(1)),
        box.uv,
        box.face_uv.flip(1),
        box.texture_srgb,
        box.coverage,
    )
    report = measured(turned, meshes.box_capture())
    assert report.mesh.flipped_faces == 12
    assert "The mesh is inside out." in report.warnings


def test_shape_of_unknown_size_says_so() -> None:
    """Without a metric scale the depth error is in percent only and a warning explains the unit."""
    report = measured(meshes.textured_box(), meshes.box_capture(is_metric=False))
    assert report.mean.depth_mae_m is None
    assert report.mean.depth_mae_percent is not None
    assert any("true size" in warning for warning in report.warnings)
