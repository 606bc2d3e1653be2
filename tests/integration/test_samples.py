"""examples/samples/ is what a daemon really writes."""

import json
from pathlib import Path

import pytest

import make_samples

SAMPLES = make_samples.SAMPLES
RELATIVE, ABSOLUTE = 0.15, 0.02
"""Other processors round differently, and a reconstruction amplifies that; a change of ours is larger."""


def differences(stored: object, made: object, place: str) -> list[str]:
    """Where two documents differ: keys, kinds and words exactly, numbers within the tolerance."""
    if isinstance(stored, dict) and isinstance(made, dict):
        missing = [f"{place}.{key}: only in one" for key in sorted(stored.keys() ^ made.keys())]
        inner = [differences(stored[key], made[key], f"{place}.{key}") for key in stored.keys() & made.keys()]
        return missing + [found for several in inner for found in several]
    if isinstance(stored, list) and isinstance(made, list):
        if len(stored) != len(made):
            return [f"{place}: {len(stored)} and {len(made)} entries"]
        inner = [differences(*pair, f"{place}[{index}]") for index, pair in enumerate(zip(stored, made, strict=True))]
        return [found for several in inner for found in several]
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (stored, made))
    is_same = made == pytest.approx(stored, rel=RELATIVE, abs=ABSOLUTE) if is_number else stored == made
    return [] if is_same else [f"{place}: {stored!r} and {made!r}"]


@pytest.mark.slow
def test_samples_are_current() -> None:
    """Made again, every sample is the stored one; if not: python examples/make_samples.py."""
    made = make_samples.make_samples()
    stored = {path.relative_to(SAMPLES).as_posix() for path in SAMPLES.rglob("*") if path.is_file()}
    assert set(made) == stored
    for name, text in made.items():
        old = (SAMPLES / name).read_text("utf-8")
        if Path(name).suffix == ".json":
            assert differences(json.loads(old), json.loads(text), name) == []
        else:
            assert old == text, name


def test_the_comparison_can_fail() -> None:
    """A lost key, another word and a number that moved are each noticed."""
    stored = {"verdict": "normal", "psnr_db": 27.0, "views": [{"name": "a"}]}
    made = {"verdict": "warning", "psnr_db": 20.0, "views": []}
    assert len(differences(stored, made, "")) == 3
    assert differences(stored, stored | {"psnr_db": 27.1}, "") == []
    assert differences(stored, {"verdict": "normal"}, "") != []
