"""job.toml and job.json: what the person who drops a folder may decide.

The words are those of ``recon.Settings`` and a few of the daemon's own.  A small file, a strict schema, no paths,
no code; a mistake names the nearest valid word.
"""

import json
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from daemon.mistakes import explain_first
from daemon.names import MAX_OPTIONS_BYTES
from recon.errors import InvalidOptions
from recon.settings import JobSettings, ReconViaGenInstallation, Settings

MAX_NESTING = 8
"""Deeper tables than any key needs; parsers recurse."""


class JobOptions(JobSettings):
    """All options of one job."""

    priority: Annotated[int, Field(ge=-10, le=10)] = 0
    """Higher runs earlier."""
    notify: tuple[Annotated[str, Field(max_length=200)], ...] = ()
    """Names of the operator's notification targets that should hear of this job."""
    zip: bool = False
    """Also pack the results into one archive."""
    on_low_quality: Literal["fail", "keep"] = "fail"
    """What to do with a result whose quality is a failure."""
    incomplete_after_s: Annotated[float, Field(gt=0, le=1e7)] | None = None
    """How long this folder may stay incomplete without a change; None: as the operator says."""

    def settings_on(self, installation: ReconViaGenInstallation) -> Settings:
        """The part that the reconstruction needs, with what only the operator may say."""
        chosen = {name: getattr(self, name) for name in JobSettings.model_fields}
        return Settings.model_validate(chosen | {"installation": installation})


def parse_options(name: str, data: bytes) -> dict[str, object]:
    """Read one options file into plain values.

    Raises:
        InvalidOptions: Too large, not UTF-8, or not TOML/JSON; says in which line.
    """
    if len(data) > MAX_OPTIONS_BYTES:
        raise InvalidOptions(f"{name} is larger than {MAX_OPTIONS_BYTES} bytes.", file=name)
    try:
        text = data.decode("utf-8-sig")
        values = tomllib.loads(text) if name.lower().endswith(".toml") else json.loads(text)
        # JSON can spell half a character, which no file system and no table can hold.
        json.dumps(values, ensure_ascii=False, default=str).encode()
    except UnicodeError:
        raise InvalidOptions(f"{name} is not a plain text file in UTF-8.", file=name) from None
    except (ValueError, RecursionError) as error:
        raise InvalidOptions(f"{name} cannot be read: {str(error)[:200] or 'nested too deeply'}.", file=name) from None
    if not isinstance(values, dict) or _nesting(values) > MAX_NESTING:
        raise InvalidOptions(f"{name} must hold a flat table of options.", file=name)
    return values


def _nesting(value: object, limit: int = MAX_NESTING + 1) -> int:
    if limit == 0 or not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max((_nesting(item, limit - 1) for item in inner), default=0)


def build_options(
    values: Mapping[str, object], defaults: Mapping[str, object], max_image_pixels: int, file: str
) -> JobOptions:
    """Check the values and fill in the operator's defaults.

    Args:
        values: From the job's own file.
        defaults: From the configuration.
        max_image_pixels: The operator's limit; a job may lower it, never raise it.
        file: Named in the error.

    Raises:
        InvalidOptions: An unknown key (with the nearest valid one) or a value out of range.
    """
    try:
        options = JobOptions.model_validate(_merged(defaults, values))
    except ValidationError as error:
        key, sentence = explain_first(error, JobOptions)
        end = "" if sentence.endswith("?") else "."
        raise InvalidOptions(f"{file}: {sentence}{end}", file=file, details={"key": key}) from None
    return options.model_copy(update={"max_image_pixels": min(options.max_image_pixels, max_image_pixels)})


@lru_cache(maxsize=4)
def default_options(defaults_json: str, max_image_pixels: int) -> JobOptions:
    """The options of a job without a file, shared by all of them.

    Raises:
        InvalidOptions: The operator's defaults hold a mistake.
    """
    return build_options({}, json.loads(defaults_json), max_image_pixels, "the configuration's defaults")


def _merged(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
