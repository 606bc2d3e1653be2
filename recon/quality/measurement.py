"""All measurements of one mesh, and the sentences a user should read."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from recon.arrays import Float, Tensor
from recon.quality.agreement import flipped_face_count, outline_scores, photo_agreement
from recon.quality.comparison import SSIM_WINDOW_PX, depth_scores, picture_scores
from recon.quality.rendering import FirstHits, Surface, first_hits, photograph, surface_on
from recon.quality.surface import surface_shares
from recon.quality.topology import check_mesh
from recon.quality.warnings import find_warnings
from recon.raster import Rasterizer
from recon.scene import Capture, TexturedMesh, View
from recon.scores import QualityReport, Thresholds, ViewQuality, ViewScores

COMPARISON_THREADS = 4
"""More would only hold more pictures in memory."""


def measure_quality(
    textured: TexturedMesh, capture: Capture, raster: Rasterizer, device: torch.device
) -> QualityReport:
    """See ``recon.quality.measure``."""
    surface = surface_on(textured, device)
    photographed = capture.photographed().views
    all_hits = [_hits(surface, view, raster) for view in capture.views]
    with ThreadPoolExecutor(COMPARISON_THREADS) as pool:  # views are compared while the next one is drawn
        pending = [pool.submit(_picture_scores, view, _drawn(surface, view, raster)) for view in photographed]
        views = tuple(
            _view_quality(surface, view, hits, scores.result(), capture.is_metric)
            for view, hits, scores in zip(capture.views, all_hits, pending, strict=True)
        )
    mean = _mean(views)
    thresholds = Thresholds()
    report = QualityReport(
        verdict=thresholds.verdict(mean.psnr_db, mean.ssim),
        thresholds=thresholds,
        is_metric=capture.is_metric,
        mean=mean,
        views=views,
        surface=surface_shares(textured),
        mesh=check_mesh(textured.mesh, flipped_face_count(surface, all_hits)),
        photos=photo_agreement(photographed, surface, _hits_of_photographs(surface, capture, all_hits, raster)),
    )
    return report.model_copy(update={"warnings": find_warnings(report)})


def _hits(surface: Surface, view: View, raster: Rasterizer) -> FirstHits:
    """On the depth image's grid where there is one, so that measured depths are compared unresampled."""
    height_px, width_px = view.image_srgb.shape[:2] if view.depth is None else view.depth.depth_z.shape
    return first_hits(surface, view.posed_camera, int(height_px), int(width_px), raster)


def _hits_of_photographs(
    surface: Surface, capture: Capture, all_hits: Sequence[FirstHits], raster: Rasterizer
) -> list[FirstHits]:
    """What the photographs' own cameras hit, where they differ from those of the depths."""
    pairs = zip(capture.views, capture.photographed().views, all_hits, strict=True)
    return [hits if photo is view else _hits(surface, photo, raster) for view, photo, hits in pairs]


def _drawn(surface: Surface, view: View, raster: Rasterizer) -> Float[Tensor, "h w 4"] | None:
    """The mesh as the view's camera sees it, or None when there is nothing to compare it with."""
    return None if _reason_not_to_compare(view) else photograph(surface, view.posed_camera, raster)


def _picture_scores(view: View, drawn: Float[Tensor, "h w 4"] | None) -> dict[str, float]:
    return {} if drawn is None else picture_scores(drawn, view)


def _view_quality(
    surface: Surface, view: View, hits: FirstHits, pictures: dict[str, float], is_metric: bool
) -> ViewQuality:
    note = _reason_not_to_compare(view)
    scores = depth_scores(hits, view, surface.diagonal, is_metric)
    outlines = {} if note else outline_scores(view, surface, hits)
    return ViewQuality.model_validate({"name": view.name, "note": note, **pictures, **scores, **outlines})


def _reason_not_to_compare(view: View) -> str:
    """Why a photograph cannot be compared; empty when it can."""
    if min(view.height_px, view.width_px) < SSIM_WINDOW_PX:
        return f"The photograph is smaller than {SSIM_WINDOW_PX} x {SSIM_WINDOW_PX} pixels."
    if not bool((view.foreground_alpha > 0.5).any()):
        return "No object was found in the photograph."
    return ""


def _mean(views: Sequence[ViewQuality]) -> ViewScores:
    """Mean of every score over the views that have it."""
    means: dict[str, float | None] = {}
    for name in ViewScores.model_fields:
        values = [value for view in views if (value := getattr(view, name)) is not None]
        means[name] = sum(values) / len(values) if values else None
    return ViewScores(**means)
