"""Everything about a configuration that can be refused before the daemon serves, with the place of each mistake."""

from pathlib import Path

from pydantic import ValidationError

from daemon.config import Config, check_folders, config_file, load_config, place_of
from daemon.config_file import read_toml
from daemon.errors import ConfigError
from daemon.mistakes import explain
from daemon.notify import unusable_receivers
from daemon.options import JobOptions


def load_checked_config(file: Path | None = None, **overrides: object) -> Config:
    """Read a configuration and refuse what could only fail later.

    Args:
        file: As for ``load_config``.
        overrides: As for ``load_config``.

    Raises:
        ConfigError: One line for each mistake.
    """
    config = load_config(file, **overrides)
    chosen = config_file(file)
    text = read_toml(chosen)[1] if chosen is not None else ""
    mistakes = [place_of(path, chosen, text) + sentence for path, sentence in _mistakes(config)]
    if mistakes:
        raise ConfigError("\n".join(mistakes))
    return config


def _mistakes(config: Config) -> list[tuple[tuple[int | str, ...], str]]:
    found: list[tuple[tuple[int | str, ...], str]] = []
    try:
        JobOptions.model_validate(config.defaults)
    except ValidationError as error:
        found += [(("defaults", *path), f"defaults: {sentence}") for path, sentence in explain(error, JobOptions)]
    try:
        check_folders(config)
    except ConfigError as error:
        found.append((("state",) if "state" in str(error) else ("root",), str(error)))
    for name in unusable_receivers(config.notify):
        table = "webhooks" if name in config.notify.webhooks else "targets"
        wanted = "a URL that Apprise knows"
        if table == "webhooks":
            wanted = "a secret made of whsec_ and 24 to 64 bytes in base64"
        found.append((("notify", table, name), f"notify.{table}.{name} needs {wanted}"))
    return found
