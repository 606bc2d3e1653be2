"""A report in words and rows."""

import tomllib
from pathlib import Path

import pytest

import reports
from recon.previews.report_page import (
    advice,
    loss_curves,
    score_rows,
    settings_text,
    stage_rows,
    technical_rows,
    view_rows,
)
from recon.report import LossRecord, Report
from recon.scores import QualityReport, ViewScores
from recon.settings import Settings


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder: Path = tmp_path_factory.mktemp("results")
    return reports.box_report(folder)


def with_scores(quality: QualityReport, **scores: float | None) -> QualityReport:
    return quality.model_copy(update={"mean": ViewScores.model_validate(scores)})


@pytest.mark.parametrize(
    ("psnr_db", "ssim", "states"),
    [(26.0, 0.8, ("normal", "warning")), (21.0, 0.9, ("warning", "normal")), (12.0, 0.1, ("failure", "failure"))],
)
def test_each_score_is_judged_on_its_own(report: Report, psnr_db: float, ssim: float, states: tuple[str, str]) -> None:
    """A good PSNR stays green beside a poor SSIM, so that the reader sees which of them failed."""
    rows = score_rows(with_scores(report.models[0].quality, psnr_db=psnr_db, ssim=ssim))
    assert (rows[0].state, rows[1].state) == states
    assert rows[0].value == f"{psnr_db:.1f} dB"


def test_missing_numbers_are_said_to_be_missing(report: Report) -> None:
    """What could not be measured reads n/a, never 0."""
    rows = {row.label: row.value for row in score_rows(with_scores(report.models[0].quality))}
    assert rows["Colours (PSNR)"] == "n/a"
    assert rows["Depth error"] == "n/a"


@pytest.mark.parametrize(("metres", "shown"), [(0.00125, "1.25 mm"), (None, "0.500 %")])
def test_depth_error_is_in_millimetres_only_where_the_scale_is_known(
    report: Report, metres: float | None, shown: str
) -> None:
    """Without a metric scale the row gives percent."""
    quality = with_scores(report.models[0].quality, depth_mae_m=metres, depth_mae_percent=0.5)
    assert {row.label: row.value for row in score_rows(quality)}["Depth error"] == shown


def test_views_keep_their_order_and_mask_source(report: Report) -> None:
    """One row per view with its scores and where its mask came from."""
    rows = view_rows(report.models[0].quality, report.capture)
    assert [row.name for row in rows] == [f"side_{side}" for side in range(6)]
    assert rows[0].cells == ("99.0", "1.000", "0.000", "100.0%", "100.0%")
    assert rows[0].mask_source == "alpha"


def test_stage_bars_are_relative_to_the_longest(report: Report) -> None:
    """4 s fill the bar, 1 s a quarter."""
    rows = stage_rows(report.models[0])
    assert [(row.name, row.seconds, row.percent) for row in rows] == [
        ("geometry", "1.0", 25.0),
        ("texture", "4.0", 100),
    ]


def test_loss_curve_is_logarithmic() -> None:
    """A tenfold fall per step is a straight line from corner to corner; a term that is always 0 has no curve."""
    history = tuple(LossRecord(step=step, stage="", terms={"depth": 10.0**-step, "zero": 0}) for step in range(3))
    (curve,) = loss_curves(history, is_metric=True)
    assert (curve.name, curve.first, curve.last, curve.steps) == ("depth", "1", "0.01", 2)
    assert curve.points == "0.0,5.0 200.0,50.0 400.0,95.0"


def test_constant_loss_is_a_flat_line() -> None:
    """A term that never changes does not divide by zero."""
    history = tuple(LossRecord(step=step, stage="", terms={"depth": 2.0}) for step in range(2))
    (curve,) = loss_curves(history, is_metric=True)
    assert curve.points == "0.0,5.0 400.0,5.0"


@pytest.mark.parametrize(("is_metric", "unit"), [(True, "mm"), (False, "thousandths of the camera distance")])
def test_lengths_of_losses_have_a_unit(is_metric: bool, unit: str) -> None:
    """A length is shown in millimetres, or where nothing fixes the scale relative to the camera distance."""
    history = tuple(LossRecord(step=step, stage="", terms={"depth_m": 0.002 / (step + 1)}) for step in range(2))
    (curve,) = loss_curves(history, is_metric=is_metric)
    assert (curve.name, curve.first, curve.last) == (f"Distance to the depth images, {unit}", "2", "1")


def test_colours_are_told_in_steps(report: Report) -> None:
    """20 dB is a root mean square difference of a tenth of the range: 26 of 255 steps (25.5)."""
    (row, *_) = score_rows(with_scores(report.models[0].quality, psnr_db=20.0, ssim=0.8))
    assert "typically 26 of 255 steps off" in row.meaning


def poor(report: Report, **changes: object) -> Report:
    model = report.models[0]
    quality = model.quality.model_copy(update={"verdict": "failure", **changes})
    return report.model_copy(update={"models": (model.model_copy(update={"quality": quality}),)})


def test_advice_names_the_cause(report: Report) -> None:
    """Photographs that contradict each other, unseen sides and wrong outlines are told apart."""
    assert advice(report) == ()
    quality = report.models[0].quality
    photos = quality.photos.model_copy(update={"agreement_db": 12.0})
    assert "12.0 dB" in advice(poor(report, photos=photos))[0]
    surface = quality.surface.model_copy(update={"observed_fraction": 0.4})
    assert "40%" in advice(poor(report, surface=surface))[0]
    outline = quality.mean.model_copy(update={"mask_iou": 0.6})
    assert "outlines do not match" in advice(poor(report, mean=outline))[0]


def test_settings_are_valid_toml(report: Report) -> None:
    """What is shown can be saved as job.toml and means the same."""
    assert tomllib.loads(settings_text(report)) == report.settings.model_dump(mode="json", exclude_defaults=True)
    everything = Settings.model_validate(tomllib.loads(settings_text(report, only_changed=False)))
    assert everything == report.settings


def test_technical_rows_hold_versions_facts_and_hashes(report: Report) -> None:
    """Everything needed to repeat the job is on the page."""
    rows = dict(technical_rows(report))
    assert rows["torch"] == "2.6"
    assert rows["nvdiffrec: grid_resolution"] == "128"
    assert rows["sha256 of front.png"] == "ab" * 32
