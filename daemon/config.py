"""The operator's configuration: a TOML file, then the environment on top; all of it checked before use.

A key is set from the environment as ``MESHDROP_SECTION__KEY``, for example ``MESHDROP_WORKER__MAX_JOBS=10``.
Lists and tables are written as JSON there.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from daemon.errors import ConfigError
from daemon.folders import TreeLimits
from recon.settings import ReconViaGenInstallation

Seconds = Annotated[float, Field(gt=0, le=1e7)]
Bytes = Annotated[int, Field(ge=0)]

RESERVED_ENVIRONMENT = frozenset({"MESHDROP_CONFIG", "MESHDROP_FAILPOINT", "MESHDROP_GPU"})
"""Names with our prefix that are not keys of the configuration."""

DEFAULT_FILE = Path("/etc/meshdrop/meshdrop.toml")


class Table(BaseModel):
    """A frozen table that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class IntakeConfig(Table):
    """When a folder counts as complete."""

    scan_s: Seconds = 1.0
    """Pause between scans of the share; events only shorten it."""
    settle_s: Annotated[float, Field(ge=0)] = 2.0
    """How long a folder must not change before it is taken."""
    network_settle_s: Annotated[float, Field(ge=0)] = 65.0
    """The same on NFS and SMB mounts, whose attribute caches may hide changes for 60 s (nfs(5), acregmax)."""
    damaged_after_s: Seconds = 60.0
    """How long a damaged or cut-off picture may stay unchanged before it counts as damaged for good."""
    incomplete_after_s: Seconds = 900.0
    """How long an incomplete folder may stay unchanged before it fails."""
    prefetch: Annotated[int, Field(ge=1, le=64)] = 2
    """Queued jobs whose files are copied ahead of their turn."""
    give_up_after_s: Seconds = 86_400.0
    """How long a passing trouble (disk full, share not writable) may last before it fails the job."""


class LimitsConfig(Table):
    """What is refused before any picture is decoded."""

    max_files: Annotated[int, Field(ge=1)] = 2_000
    max_depth: Annotated[int, Field(ge=1, le=16)] = 5
    max_file_bytes: Bytes = 1 << 29
    max_job_bytes: Bytes = 1 << 32
    max_image_pixels: Annotated[int, Field(ge=4096)] = 64_000_000
    max_archive_ratio: Annotated[float, Field(gt=1)] = 200.0
    """Unpacked bytes per packed byte above which an archive counts as a bomb."""

    @property
    def tree(self) -> TreeLimits:
        """The part that the folder walk needs."""
        return TreeLimits(self.max_files, self.max_depth, self.max_file_bytes, self.max_job_bytes)


class WorkerConfig(Table):
    """The processes that reconstruct."""

    entry: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] = "recon:reconstruct"
    """The function that runs a job, as ``module:function``."""
    preload: tuple[str, ...] = ("recon.pipeline",)
    """Modules that a fresh worker loads before its first job."""
    gpus: tuple[int, ...] = ()
    """CUDA device numbers, one worker each; empty: one worker that sees all."""
    max_jobs: Annotated[int, Field(ge=1)] = 50
    """Jobs after which a worker is replaced by a fresh one."""
    max_attempts: Annotated[int, Field(ge=1, le=10)] = 2
    job_timeout_s: Seconds = 3_600.0
    stage_timeout_s: Seconds = 1_800.0
    """Longest time without a progress report."""
    heartbeat_timeout_s: Seconds = 120.0
    """Longest time without a sign of life; long, because native code may hold the interpreter."""
    start_timeout_s: Seconds = 300.0
    cancel_grace_s: Seconds = 1.5
    """Time that a worker has to stop by itself before its process group is killed."""
    memory_bytes: Bytes = 0
    """Most memory that a worker may use; 0: no limit of ours."""
    output_bytes: Bytes = 1 << 33
    """Largest results of one job."""


class CancelConfig(Table):
    """How a job is cancelled."""

    confirm: bool = False
    """Whether CANCEL must be followed by CANCEL.confirm."""


class DiskConfig(Table):
    """Free space that must remain."""

    min_free_bytes: Bytes = 1 << 29
    """Below this, in STATE or on the share, no job is taken; work waits."""


class RetentionConfig(Table):
    """Old outcomes that are removed; 0 keeps them for ever."""

    done_after_s: Annotated[float, Field(ge=0)] = 0.0
    failed_after_s: Annotated[float, Field(ge=0)] = 0.0


class NotifyConfig(Table):
    """Who hears of finished jobs."""

    targets: dict[str, str] = {}
    """Apprise URLs by name; a job.toml may name some of them."""
    on: tuple[Literal["done", "failed", "cancelled"], ...] = ("done", "failed")
    """Outcomes that all targets hear of, unless the job names its own."""


class LogConfig(Table):
    """The log on standard error."""

    format: Literal["auto", "json", "console"] = "auto"
    """auto: readable on a terminal, JSON otherwise."""
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(BaseSettings):
    """Everything that the operator decides."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="MESHDROP_", env_nested_delimiter="__", case_sensitive=False
    )

    root: Path
    """The folder that is exported to users."""
    state: Path = Path("/var/lib/meshdrop")
    """The daemon's private folder, on a local disk."""
    intake: IntakeConfig = IntakeConfig()
    limits: LimitsConfig = LimitsConfig()
    worker: WorkerConfig = WorkerConfig()
    cancel: CancelConfig = CancelConfig()
    disk: DiskConfig = DiskConfig()
    retention: RetentionConfig = RetentionConfig()
    notify: NotifyConfig = NotifyConfig()
    log: LogConfig = LogConfig()
    reconviagen: ReconViaGenInstallation = ReconViaGenInstallation()
    defaults: dict[str, object] = {}
    """Options for every job, in the words of job.toml; the job's own win."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file; nothing else is read."""
        return env_settings, init_settings

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def done(self) -> Path:
        return self.root / "done"

    @property
    def failed(self) -> Path:
        return self.root / "failed"

    @property
    def work(self) -> Path:
        return self.state / "work"

    @property
    def database(self) -> Path:
        return self.state / "jobs.sqlite3"


def load_config(file: Path | None = None, **overrides: object) -> Config:
    """Read the configuration.

    Args:
        file: A TOML file; default ``$MESHDROP_CONFIG``, then /etc/meshdrop/meshdrop.toml if it is there.
        overrides: Top-level keys from the command line; they win over the file.

    Raises:
        ConfigError: The file cannot be read, or a key or value is wrong; names the nearest valid key.
    """
    data = _read_toml(file) | {key: value for key, value in overrides.items() if value is not None}
    _refuse_unknown_environment(os.environ)
    try:
        config = Config(**data)  # type: ignore[arg-type]  # validated right here
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    return config.model_copy(update={"root": config.root.absolute(), "state": config.state.absolute()})


def _read_toml(file: Path | None) -> dict[str, object]:
    chosen = file or Path(os.environ.get("MESHDROP_CONFIG", DEFAULT_FILE))
    is_asked_for = file is not None or "MESHDROP_CONFIG" in os.environ
    if not is_asked_for and not chosen.exists():
        return {}
    try:
        return tomllib.loads(chosen.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{chosen} cannot be read: {error}") from None


def _refuse_unknown_environment(environment: Mapping[str, str]) -> None:
    valid = {f"MESHDROP_{name.upper()}" for name in Config.model_fields}
    for name in environment:
        top = name.upper().split("__")[0]
        if name.upper().startswith("MESHDROP_") and top not in valid and name not in RESERVED_ENVIRONMENT:
            raise ConfigError(f"environment variable {name} is not known{nearest(top, valid)}")


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


def explain_first(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """The first mistake of a validation as (key, sentence), with the nearest valid key for an unknown one."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        hint = nearest(str(first["loc"][-1]), valid_keys(model, first["loc"]))
        return key, f"unknown key {key!r}{hint}"
    return key, f"{key}: {first['msg']}"


def _explain(error: ValidationError) -> str:
    return explain_first(error, Config)[1]


def check_folders(config: Config) -> None:
    """Refuse a layout in which the daemon would eat its own output.

    Raises:
        ConfigError: The folders overlap, or STATE is inside a watched folder.
    """
    state = config.state.resolve()
    for name in ("inbox", "done", "failed"):
        folder = (config.root / name).resolve()
        if folder.parent != config.root.resolve():
            raise ConfigError(f"{config.root / name} must be a plain folder inside the root, not a link to {folder}")
        if state == folder or folder in state.parents or state in folder.parents:
            raise ConfigError(f"state ({state}) and {folder} must not contain each other")
