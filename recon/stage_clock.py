"""Where a running reconstruction is: seconds per stage, progress to the caller, the stage that failed."""

import time
from pathlib import Path

from recon.progress import STAGES, Progress, ProgressUpdate

STAGE_SHARES = {
    "capture": 0.08,
    "cameras": 0.08,
    "geometry": 0.16,
    "optimise": 0.24,
    "texture": 0.24,
    "export": 0.05,
    "quality": 0.07,
    "previews": 0.08,
}
"""Typical share of the whole time, for progress; they add up to 1."""

SHARED_STAGES = ("capture", "cameras")
"""Done once, whatever the number of models."""


class StageClock:
    """Measures stages and turns their progress into one fraction that never falls."""

    def __init__(self, progress: Progress, model_count: int) -> None:
        self._progress = progress
        self._model_count = model_count
        self._model_index = 0
        self._model = ""
        self._fraction = 0.0
        self._started_s = 0.0
        self.stage = ""
        self._seconds: dict[str, dict[str, float]] = {"": {}}

    def start_model(self, name: str, index: int) -> None:
        """Begin a model; its stages are counted apart from those that all models share."""
        self.stop()
        self._model, self._model_index = name, index
        self._seconds[name] = {}

    def seconds_of(self, model: str) -> dict[str, float]:
        """Seconds of every stage that led to a model's results, the shared ones included."""
        return {stage: round(seconds, 3) for stage, seconds in (self._seconds[""] | self._seconds[model]).items()}

    def enter(self, stage: str, fraction: float) -> None:
        """Announce a stage, or progress within it.

        Raises:
            Cancelled: The caller wants no more of it.
        """
        if stage != self.stage:
            self.stop()
            self.stage, self._started_s = stage, time.monotonic()
        self._fraction = max(self._fraction, self._overall(stage, fraction))
        self._progress(ProgressUpdate(self._model, stage, self._fraction))

    def show(self, preview: Path) -> None:
        """Announce a new picture of the work in progress.

        Raises:
            Cancelled: The caller wants no more of it.
        """
        self._progress(ProgressUpdate(self._model, self.stage, self._fraction, preview))

    def stop(self) -> None:
        """End the current stage."""
        if self.stage:
            elapsed_s = time.monotonic() - self._started_s
            seconds = self._seconds[self._model]
            seconds[self.stage] = seconds.get(self.stage, 0.0) + elapsed_s
        self.stage = ""

    def _overall(self, stage: str, fraction: float) -> float:
        shared = sum(STAGE_SHARES[name] for name in SHARED_STAGES)
        before = sum(STAGE_SHARES[name] for name in STAGES[: STAGES.index(stage)])
        here = before + STAGE_SHARES[stage] * min(max(fraction, 0.0), 1.0)
        if stage in SHARED_STAGES:
            return here
        return shared + (1 - shared) * (self._model_index + (here - shared) / (1 - shared)) / self._model_count
