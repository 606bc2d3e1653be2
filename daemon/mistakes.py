"""What is wrong with an options file or a configuration, in words that name the nearest valid key."""

import difflib

from pydantic import BaseModel, ValidationError


def nearest(word: str, valid: "set[str] | list[str]") -> str:
    """A hint at the valid key that was probably meant, or an empty string."""
    close = difflib.get_close_matches(word, sorted(valid), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def valid_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> set[str]:
    """The keys that are allowed beside the last part of ``path``."""
    for part in path[:-1]:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return set()
        model = annotation
    return set(model.model_fields)


def explain(error: ValidationError, model: type[BaseModel]) -> list[tuple[tuple[int | str, ...], str]]:
    """The mistakes of a validation as (path, sentence), with the nearest valid key for an unknown one."""
    mistakes = []
    for mistake in error.errors(include_url=False, include_input=False):
        path = mistake["loc"]
        key = ".".join(str(part) for part in path)
        if mistake["type"] == "extra_forbidden":
            sentence = f"unknown key {key!r}{nearest(str(path[-1]), valid_keys(model, path))}"
        else:
            sentence = f"{key}: {mistake['msg'].removeprefix('Value error, ')}"
        mistakes.append((path, sentence))
    return mistakes


def explain_first(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """The first mistake of a validation as (key, sentence)."""
    path, sentence = explain(error, model)[0]
    return ".".join(str(part) for part in path), sentence
