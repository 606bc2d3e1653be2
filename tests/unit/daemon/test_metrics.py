"""What is taken from a job's summary, which a worker wrote."""

import pytest

from daemon.metrics import stage_seconds


def test_stages_of_every_model_are_found() -> None:
    """(model, stage, seconds), whatever the number of models."""
    summary = {"models": {"nvdiffrec": {"seconds_per_stage": {"texture": 1.5}}, "reconviagen": {"seconds": 3.0}}}
    assert stage_seconds(summary) == [("nvdiffrec", "texture", 1.5)]


@pytest.mark.parametrize(
    "summary",
    [
        {},
        {"models": 3},
        {"models": {"nvdiffrec": []}},
        {"models": {"nvdiffrec": {"seconds_per_stage": {"texture": "long"}}}},
        {"models": {"nvdiffrec": {"seconds_per_stage": {"a made-up stage": 1.0}}}},
        {"models": {'evil"} 1\nmeshdrop_healthy 1': {"seconds_per_stage": {"texture": 1.0}}}},
    ],
)
def test_nothing_else_gets_into_the_metrics(summary: dict[str, object]) -> None:
    """A worker that was taken over can make no series of its own."""
    assert stage_seconds(summary) == []
