"""Seconds per stage and one fraction that never falls."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from recon.errors import Cancelled
from recon.progress import STAGES, ProgressUpdate
from recon.stage_clock import SHARED_STAGES, STAGE_SHARES, StageClock


def run_through(clock: StageClock, models: tuple[str, ...]) -> None:
    """Every stage in order, with progress within each, as the pipeline goes."""
    for stage in SHARED_STAGES:
        clock.enter(stage, 0.0)
    for index, model in enumerate(models):
        clock.start_model(model, index)
        for stage in STAGES[len(SHARED_STAGES) :]:
            for fraction in (0.0, 0.5, 1.0):
                clock.enter(stage, fraction)
    clock.stop()


def test_shares_cover_every_stage() -> None:
    """Each stage has a share of the time, and together they are the whole."""
    assert tuple(STAGE_SHARES) == STAGES
    assert sum(STAGE_SHARES.values()) == pytest.approx(1)


@pytest.mark.parametrize("models", [("nvdiffrec",), ("nvdiffrec", "reconviagen")])
def test_fractions_rise_from_zero_to_one(models: tuple[str, ...]) -> None:
    """For one model and for two: never back, 0 at the start, 1 at the end, an equal part for each model."""
    updates: list[ProgressUpdate] = []
    run_through(StageClock(updates.append, len(models)), models)
    fractions = [update.fraction for update in updates]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == pytest.approx(1)
    shared = sum(STAGE_SHARES[stage] for stage in SHARED_STAGES)
    for index, model in enumerate(models):
        reached = max(update.fraction for update in updates if update.model == model)
        assert reached == pytest.approx(shared + (1 - shared) * (index + 1) / len(models))


def test_updates_name_the_model_and_the_stage() -> None:
    """Shared stages belong to no model; the others to the model at work."""
    updates: list[ProgressUpdate] = []
    run_through(StageClock(updates.append, 2), ("one", "two"))
    assert [update.model for update in updates[:2]] == ["", ""]
    assert [update.stage for update in updates[:2]] == list(SHARED_STAGES)
    for model in ("one", "two"):
        stages = dict.fromkeys(update.stage for update in updates if update.model == model)
        assert tuple(stages) == STAGES[len(SHARED_STAGES) :]


def test_a_stage_that_goes_back_does_not_show() -> None:
    """Progress that falls, or lies outside 0 to 1, is reported as the furthest point reached."""
    updates: list[ProgressUpdate] = []
    clock = StageClock(updates.append, 1)
    for stage, fraction in (("geometry", 0.8), ("geometry", 0.2), ("capture", 0.0), ("geometry", 7.0)):
        clock.enter(stage, fraction)
    first, *rest = [update.fraction for update in updates]
    assert rest[:2] == [first, first]
    assert rest[2] == pytest.approx(sum(STAGE_SHARES[stage] for stage in STAGES[:3]))


def test_seconds_are_counted_per_model_with_the_shared_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that ticks one second a look: shared stages count for both models, a stage entered twice adds up."""
    ticks = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    clock = StageClock(lambda update: None, 2)
    clock.enter("capture", 0.0)
    clock.start_model("one", 0)
    for stage in ("geometry", "texture", "geometry"):
        clock.enter(stage, 0.0)
    clock.start_model("two", 1)
    clock.enter("export", 0.0)
    clock.stop()
    assert clock.seconds_of("one") == {"capture": 1, "geometry": 2, "texture": 1}
    assert clock.seconds_of("two") == {"capture": 1, "export": 1}


def test_a_picture_is_announced_without_moving_on() -> None:
    """A preview comes with the model, stage and fraction that were reported last."""
    updates: list[ProgressUpdate] = []
    clock = StageClock(updates.append, 1)
    clock.start_model("one", 0)
    clock.enter("optimise", 0.5)
    clock.show(Path("preview.png"))
    assert updates[1] == replace(updates[0], preview=Path("preview.png"))


def test_the_callers_cancellation_passes_through() -> None:
    """What the progress callback raises leaves ``enter``; the stage at work is still on record."""

    def cancel(update: ProgressUpdate) -> None:
        raise Cancelled

    clock = StageClock(cancel, 1)
    with pytest.raises(Cancelled):
        clock.enter("cameras", 0.0)
    assert clock.stage == "cameras"
    clock.stop()
    assert clock.stage == ""
