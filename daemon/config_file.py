"""The configuration's TOML file: its values, and the line in which a value stands."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from daemon.errors import ConfigError


def read_toml(file: Path) -> tuple[dict[str, object], str]:
    """The values of a file and its text.

    Raises:
        ConfigError: It cannot be read or is no TOML; says in which line.
    """
    try:
        text = file.read_text("utf-8")
        return tomllib.loads(text), text
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None


def line_of(text: str, path: Sequence[int | str]) -> int | None:
    """The line of valid TOML in which the value at ``path``, or the nearest table around it, begins.

    The value is complete at the end of the shortest run of first lines that parses and contains it, and begins
    after the one before.  That holds for every spelling (dotted keys, inline tables, strings of several lines), at
    the price of parsing the file once per line, which only a mistake costs.
    """
    lines = text.splitlines()
    for depth in range(len(path), 0, -1):
        last_whole = 0
        for count in range(1, len(lines) + 1):
            try:
                values = tomllib.loads("\n".join(lines[:count]))
            except tomllib.TOMLDecodeError:
                continue
            if _contains(values, path[:depth]):
                return _first_meaningful(lines, last_whole, count)
            last_whole = count
    return None


def _contains(values: object, path: Sequence[int | str]) -> bool:
    for part in path:
        if isinstance(values, list):
            values = dict(enumerate(values))
        if not isinstance(values, dict) or part not in values:
            return False
        values = values[part]
    return True


def _first_meaningful(lines: Sequence[str], start: int, end: int) -> int:
    """The number, from 1, of the first line in ``lines[start:end]`` that is neither empty nor a comment."""
    return next((index + 1 for index in range(start, end) if lines[index].strip()[:1] not in ("", "#")), end)
