"""Mistakes in options and configuration are answered with the key that was meant."""

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from daemon.mistakes import explain, explain_first, nearest, valid_keys


class Depth(BaseModel):
    """A table within a table."""

    model_config = ConfigDict(extra="forbid")
    unit_m: float = 0.001


class Options(BaseModel):
    """A table."""

    model_config = ConfigDict(extra="forbid")
    texture_px: int = 1024
    depth: Depth = Depth()


def mistakes_of(values: dict[str, object]) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Options.model_validate(values)
    return caught.value


def test_a_misspelt_key_names_its_nearest() -> None:
    """Also inside a table, where only that table's keys come into question."""
    assert explain_first(mistakes_of({"textur_px": 1}), Options) == (
        "textur_px",
        "unknown key 'textur_px'; did you mean texture_px?",
    )
    key, sentence = explain_first(mistakes_of({"depth": {"unit": 1}}), Options)
    assert (key, sentence) == ("depth.unit", "unknown key 'depth.unit'; did you mean unit_m?")


def test_a_key_like_no_other_names_none() -> None:
    """A guess that is far off would mislead."""
    assert explain_first(mistakes_of({"zzz": 1}), Options)[1] == "unknown key 'zzz'"
    assert nearest("zzz", {"texture_px"}) == ""


def test_a_wrong_value_names_its_key() -> None:
    """With what is wrong about it."""
    key, sentence = explain_first(mistakes_of({"texture_px": "large"}), Options)
    assert key == "texture_px"
    assert sentence.startswith("texture_px: ")


def test_all_mistakes_are_told() -> None:
    """Whoever corrects one need not find the next by trying."""
    found = explain(mistakes_of({"textur_px": 1, "depth": {"unit_m": "far"}}), Options)
    assert {path for path, _ in found} == {("textur_px",), ("depth", "unit_m")}


def test_keys_below_something_that_is_no_table() -> None:
    """Have no alternatives."""
    assert valid_keys(Options, ("texture_px", "x")) == set()
    assert valid_keys(Options, ("depth", "x")) == {"unit_m"}
