"""What counts as a problem, one sentence each."""

from typing import Any

import pytest

from daemon.health import STALE_SCAN_S, UNREADY_GRACE_S, problems


def well() -> dict[str, Any]:
    """The report of a daemon without problems."""
    probe = {"error": "", "gpus": []}
    return {
        "is_stopped": False,
        "is_online": True,
        "offline_reason": "",
        "share": {"is_writable": True, "write_error": "", "scan_age_s": 1.0},
        "disk": {"state": {"free_bytes": 10, "min_free_bytes": 10}},
        "workers": [{"gpu": 0, "probe": probe, "unready_s": 0.0}],
        "queue": {"is_stuck": False, "oldest_s": 0.0},
        "models": {},
    }


def test_a_healthy_daemon_has_no_problems() -> None:
    """Exactly at every limit, too."""
    report = well()
    report["share"]["scan_age_s"] = STALE_SCAN_S
    report["workers"][0]["unready_s"] = UNREADY_GRACE_S
    assert problems(report) == []
    report["share"]["scan_age_s"] = None
    report["workers"][0]["probe"] = None
    assert problems(report) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("is_stopped",), True, "stopped"),
        (("share", "is_writable"), False, "cannot be written"),
        (("share", "scan_age_s"), STALE_SCAN_S + 1, "last scanned 61 s ago"),
        (("disk", "state", "free_bytes"), 9, "no job is taken"),
        (("workers", 0, "probe", "error"), "CUDA error", "GPU 0 cannot use its GPU: CUDA error"),
        (("workers", 0, "unready_s"), UNREADY_GRACE_S + 1, "not been ready for 61 s"),
    ],
)
def test_each_fault_is_one_sentence(path: tuple[str | int, ...], value: object, said: str) -> None:
    """And says which part it is about."""
    report: Any = well()
    place = report
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    (sentence,) = problems(report)
    assert said in sentence


def test_a_share_that_is_away_explains_the_rest() -> None:
    """That it cannot be written either is not worth a sentence of its own."""
    report = well()
    report |= {"is_online": False, "offline_reason": "the share is offline"}
    report["share"] |= {"is_writable": False, "scan_age_s": 1e6}
    assert problems(report) == ["the share is offline"]
