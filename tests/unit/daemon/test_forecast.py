"""When a job will be done."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.forecast import NOW, Estimate, duration_in_words, in_words, queue_ends, time_left, whole_job

durations = st.lists(st.floats(1.0, 1e5), min_size=3, max_size=20)


def test_few_jobs_teach_nothing() -> None:
    """Two past jobs give no forecast, three do."""
    assert whole_job([10.0, 20.0]) is None
    assert whole_job([10.0, 20.0, 30.0]) == Estimate(20.0, 12.0, 28.0)


@given(past_s=durations)
def test_band_holds_the_middle(past_s: list[float]) -> None:
    """The median lies between the deciles, and all three between the extremes."""
    estimate = whole_job(past_s)
    assert estimate is not None
    assert estimate.low_s is not None
    assert estimate.high_s is not None
    rounding_s = 1e-9
    assert min(past_s) <= estimate.low_s + rounding_s
    assert estimate.low_s <= estimate.middle_s + rounding_s
    assert estimate.middle_s <= estimate.high_s + rounding_s
    assert estimate.high_s <= max(past_s) + rounding_s


def test_running_job_is_compared_with_those_that_ran_as_long() -> None:
    """After 60 s only the past jobs longer than 60 s count; quick ones say nothing any more."""
    past_s = [10.0, 20.0, 100.0, 120.0, 140.0]
    assert time_left(past_s, 60.0, 0.1) == Estimate(60.0, 44.0, 76.0)


def test_job_slower_than_all_before_goes_by_its_own_pace() -> None:
    """A quarter done after 200 s: 600 s are left, with no band; before it has moved nothing is said."""
    assert time_left([10.0] * 5, 200.0, 0.25) == Estimate(600.0)
    assert time_left([10.0] * 5, 200.0, 0.01) is None


@given(past_s=durations, elapsed_s=st.floats(0, 1e5), fraction=st.floats(0, 1))
def test_time_left_is_never_negative(past_s: list[float], elapsed_s: float, fraction: float) -> None:
    """Whatever a job claims, the future is ahead."""
    estimate = time_left(past_s, elapsed_s, fraction)
    assert estimate is None or estimate.middle_s >= 0
    assert estimate is None or estimate.low_s is None or estimate.low_s >= 0


def test_spreads_add_up_as_squares() -> None:
    """Two jobs of 100 s that may take 30 s more take 200 s and may take 42 s more."""
    one = Estimate(100.0, 70.0, 130.0)
    both = one.after(one)
    assert (both.middle_s, both.low_s, both.high_s) == pytest.approx((200.0, 157.57, 242.43), abs=0.01)
    assert one.after(Estimate(50.0)) == Estimate(150.0)


def test_queue_is_served_by_every_worker() -> None:
    """With one idle worker and one busy for 30 s, jobs of 20 s end after 20, 40, 50 and 60 s."""
    ends = queue_ends([NOW, Estimate(30.0)], [Estimate(20.0)] * 4)
    assert [end and end.middle_s for end in ends] == [20.0, 40.0, 50.0, 60.0]


def test_unknown_job_hides_everything_behind_it() -> None:
    """Who comes after a job of unknown length has no forecast; nor has a queue before a worker of unknown state."""
    ends = queue_ends([NOW], [Estimate(20.0), None, Estimate(20.0)])
    assert [end is None for end in ends] == [False, True, True]
    assert queue_ends([NOW, None], [Estimate(20.0)]) == [None]
    assert queue_ends([], [Estimate(20.0)]) == [None]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    """Seconds, minutes, hours."""
    assert duration_in_words(seconds) == words


def test_estimates_in_words() -> None:
    """The band is told where it says more than the middle."""
    assert in_words(Estimate(95, 80, 130)) == "about 2 min (80 s to 2 min)"
    assert in_words(Estimate(20, 20, 20)) == in_words(Estimate(20)) == "about 20 s"
