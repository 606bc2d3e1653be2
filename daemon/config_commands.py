"""``meshdrop config check`` and ``meshdrop config show``."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel, SecretStr

from daemon.config import Config, config_file
from daemon.errors import ConfigError
from daemon.preflight import load_checked_config

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file (TOML).")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
MASK = "********"


def check(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Name every mistake in the configuration, with its line.

    Exits 0 if the daemon would start with it.
    """
    try:
        load_checked_config(config)
    except ConfigError as error:
        if not as_json:
            raise
        typer.echo(json.dumps({"mistakes": str(error).splitlines()}))
        raise typer.Exit(error.exit_code) from None
    if as_json:
        typer.echo(json.dumps({"mistakes": []}))
    else:
        typer.echo(f"{config_file(config) or 'the environment'}: the configuration is good")


def show(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print every key with its value in force.

    As TOML; secrets are masked, defaults are marked, keys without a value are comments.
    """
    settings = load_checked_config(config)
    if as_json:
        typer.echo(json.dumps(masked(settings), indent=1))
    else:
        typer.echo("\n".join(toml_lines(settings)))


def masked(value: object) -> object:
    """A value with everything secret replaced, ready for JSON."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, BaseModel):
        return {name: masked(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {str(key): masked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def toml_lines(config: Config) -> Iterator[str]:
    """The whole configuration as a file that means the same, secrets apart."""
    values = masked(config)
    assert isinstance(values, dict)
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    yield from _pairs({name: value for name, value in values.items() if name not in tables}, config)
    for name, table in tables.items():
        yield ""
        yield f"[{name}]"
        model = getattr(config, name)
        yield from _pairs(table, model if isinstance(model, BaseModel) else None)


def _pairs(values: dict[str, object], model: BaseModel | None) -> Iterator[str]:
    for key, value in values.items():
        if value is None:
            yield f"# {_key(key)} is not set"
            continue
        is_default = model is not None and getattr(model, key) == type(model).model_fields[key].default
        yield f"{_key(key)} = {_toml(value)}{'  # default' if is_default else ''}"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key)


def _toml(value: object) -> str:
    """A value on one line; JSON's strings, numbers and booleans are TOML's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value)
