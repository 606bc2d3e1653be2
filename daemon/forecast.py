"""When will it be done?  From how long past jobs of like size took, with the spread that they had.  Pure.

A forecast without experience would be a guess: fewer than three past jobs give none, except for a running job,
whose own pace is known.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST_PAST_JOBS = 3
FIRST_FRACTION = 0.05
"""Progress below which a job's own pace says nothing."""


@dataclass(frozen=True)
class Estimate:
    """A duration in seconds.

    Attributes:
        middle_s: As likely too long as too short.
        low_s, high_s: Eight of ten jobs lie between them; both None where the spread is not known.
    """

    middle_s: float
    low_s: float | None = None
    high_s: float | None = None

    def after(self, first: "Estimate") -> "Estimate":
        """The end of this when it begins at the end of ``first``; independent spreads add up as squares do."""
        middle_s = first.middle_s + self.middle_s
        if first.low_s is None or first.high_s is None or self.low_s is None or self.high_s is None:
            return Estimate(middle_s)
        below_s = math.hypot(first.middle_s - first.low_s, self.middle_s - self.low_s)
        above_s = math.hypot(first.high_s - first.middle_s, self.high_s - self.middle_s)
        return Estimate(middle_s, max(middle_s - below_s, 0.0), middle_s + above_s)

    def to_json(self) -> dict[str, object]:
        """As in status.json: ``eta_s`` and ``eta_range_s``."""
        about: dict[str, object] = {"eta_s": round(self.middle_s)}
        if self.low_s is not None and self.high_s is not None:
            about["eta_range_s"] = [round(self.low_s), round(self.high_s)]
        return about


NOW = Estimate(0.0, 0.0, 0.0)


def whole_job(past_s: Sequence[float]) -> Estimate | None:
    """How long a job will take, from the durations of past ones: their median and deciles."""
    if len(past_s) < FEWEST_PAST_JOBS:
        return None
    deciles = statistics.quantiles(past_s, n=10, method="inclusive")
    return Estimate(deciles[4], deciles[0], deciles[8])


def time_left(past_s: Sequence[float], elapsed_s: float, fraction: float) -> Estimate | None:
    """How much longer a running job will take.

    Args:
        past_s: Durations of past jobs of like size.
        elapsed_s: How long it has run.
        fraction: How far it says it is, 0 to 1.
    """
    # What has run for a minute is not one of the jobs that took half a minute.
    rest = whole_job([past - elapsed_s for past in past_s if past > elapsed_s])
    if rest is not None:
        return rest
    return Estimate(elapsed_s / fraction - elapsed_s) if fraction > FIRST_FRACTION else None


def queue_ends(workers_free: Sequence[Estimate | None], durations: Sequence[Estimate | None]) -> list[Estimate | None]:
    """When each queued job ends, if every free worker takes the next one.

    Args:
        workers_free: When each worker is free; None: not known.
        durations: Of the queued jobs in order; None: not known.

    Returns:
        One end per job; None from where on something ahead is not known.
    """
    free = [moment for moment in workers_free if moment is not None]
    is_known = bool(free) and len(free) == len(workers_free)
    ends: list[Estimate | None] = []
    for duration in durations:
        is_known = is_known and duration is not None
        if not is_known or duration is None:
            ends.append(None)
            continue
        first = min(range(len(free)), key=lambda index: free[index].middle_s)
        free[first] = duration.after(free[first])
        ends.append(free[first])
    return ends


def in_words(estimate: Estimate) -> str:
    """An estimate as people say it.

    Example:
        >>> in_words(Estimate(95, 80, 130))
        'about 2 min (80 s to 2 min)'
    """
    about = f"about {duration_in_words(estimate.middle_s)}"
    if estimate.low_s is None or estimate.high_s is None:
        return about
    low, high = duration_in_words(estimate.low_s), duration_in_words(estimate.high_s)
    return about if low == high else f"{about} ({low} to {high})"


def duration_in_words(duration_s: float) -> str:
    """Seconds below a minute and a half, then minutes, then hours."""
    if duration_s < 90:
        return f"{duration_s:.0f} s"
    if duration_s < 90 * 60:
        return f"{duration_s / 60:.0f} min"
    return f"{duration_s / 3600:.1f} h"
