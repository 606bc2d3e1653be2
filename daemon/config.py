"""The operator's configuration: a TOML file, then the environment on top; all of it checked before use.

A key is set from the environment as ``MESHDROP_SECTION__KEY``, for example ``MESHDROP_WORKER__MAX_JOBS=10``.
Lists and tables are written as JSON there.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from daemon.config_file import line_of, read_toml
from daemon.errors import ConfigError
from daemon.folders import TreeLimits
from daemon.mistakes import explain, nearest
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
    """Files in one job, folders included."""
    max_depth: Annotated[int, Field(ge=1, le=16)] = 5
    """Folders inside one another."""
    max_file_bytes: Annotated[int, Field(ge=1)] = 1 << 29
    """Largest single file."""
    max_job_bytes: Annotated[int, Field(ge=1)] = 1 << 32
    """All files of one job together."""
    max_image_pixels: Annotated[int, Field(ge=4096)] = 64_000_000
    """Width times height of one picture."""
    max_archive_ratio: Annotated[float, Field(gt=1)] = 200.0
    """Unpacked bytes per packed byte above which an archive counts as a bomb."""

    @model_validator(mode="after")
    def _fit_a_file_into_a_job(self) -> Self:
        if self.max_file_bytes > self.max_job_bytes:
            raise ValueError("max_file_bytes must not be larger than max_job_bytes")
        return self

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
    gpus: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """CUDA device numbers, one worker each; empty: one worker that sees all."""
    max_jobs: Annotated[int, Field(ge=1)] = 50
    """Jobs after which a worker is replaced by a fresh one."""
    max_attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """Runs of a job whose worker died, hung or ran out of memory."""
    job_timeout_s: Seconds = 3_600.0
    """Longest time of one attempt."""
    stage_timeout_s: Seconds = 1_800.0
    """Longest time that one stage may take."""
    heartbeat_timeout_s: Seconds = 120.0
    """Longest time without a sign of life; long, because native code may hold the interpreter."""
    start_timeout_s: Seconds = 300.0
    """Longest time in which a fresh worker loads its modules."""
    cancel_grace_s: Seconds = 1.5
    """Time that a worker has to stop by itself before its process group is killed."""
    memory_bytes: Bytes = 0
    """Most memory that a worker may use; 0: no limit of ours."""
    output_bytes: Bytes = 1 << 33
    """Largest results of one job; more stops it while it writes."""
    probe_s: Seconds = 60.0
    """Pause between tests of the GPU with a real kernel, in a worker that waits for a job."""

    @model_validator(mode="after")
    def _use_each_gpu_once(self) -> Self:
        if len(set(self.gpus)) < len(self.gpus):
            raise ValueError("gpus names a device twice")
        return self


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
    """Age at which a folder in done/ is removed."""
    failed_after_s: Annotated[float, Field(ge=0)] = 0.0
    """Age at which a folder in failed/ is removed."""
    min_free_bytes: Bytes = 0
    """Below this on the share the oldest outcomes go, whatever their age."""


TargetName = Annotated[str, Field(pattern=r"^[\w-]{1,64}$")]
NotifyEvent = Literal["done", "failed", "cancelled", "stuck"]


class Webhook(Table):
    """A receiver of signed JSON messages, by the Standard Webhooks specification."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]
    """Where the message is posted; a name and password do not belong here."""
    secret: Annotated[SecretStr, Field(min_length=24)]
    """Shared with the receiver, who checks the signature with it: whsec_ and 24 to 64 bytes in base64."""


class NotifyConfig(Table):
    """Who hears of finished jobs and of a queue that is stuck."""

    targets: dict[TargetName, SecretStr] = {}
    """Apprise URLs (mail, chat, ...) by a name of your choice; a job.toml may name some of them."""
    webhooks: dict[TargetName, Webhook] = {}
    """Signed webhooks by name, each a table with url and secret; a job.toml may name them too."""
    on: tuple[NotifyEvent, ...] = ("done", "failed", "stuck")
    """What all targets hear of; a job that names its own targets is told to those alone."""
    stuck_after_s: Seconds = 3_600.0
    """The queue is stuck when jobs wait and no job has come forward for so long."""
    give_up_after_s: Seconds = 86_400.0
    """How long a message is offered to a receiver that does not answer."""

    @model_validator(mode="after")
    def _name_each_receiver_once(self) -> Self:
        if twice := self.targets.keys() & self.webhooks.keys():
            raise ValueError(f"targets and webhooks share the name {min(twice)}")
        return self


class LogConfig(Table):
    """The log on standard error."""

    format: Literal["auto", "json", "console"] = "auto"
    """auto: readable on a terminal, JSON otherwise."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important events that are written."""


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
        ConfigError: The file cannot be read, or keys or values are wrong: one line for each mistake, with its place
            and the nearest valid key.
    """
    chosen = config_file(file)
    data, text = read_toml(chosen) if chosen is not None else ({}, "")
    _refuse_unknown_environment(os.environ)
    try:
        config = Config(**data | {key: value for key, value in overrides.items() if value is not None})  # type: ignore[arg-type]  # validated right here
    except SettingsError as error:
        raise ConfigError(f"environment: {error}") from None
    except ValidationError as error:
        mistakes = [f"{place_of(path, chosen, text)}{sentence}" for path, sentence in explain(error, Config)]
        raise ConfigError("\n".join(mistakes)) from None
    return config.model_copy(update={"root": config.root.absolute(), "state": config.state.absolute()})


def config_file(file: Path | None = None) -> Path | None:
    """The file that ``load_config`` reads; None where none is asked for and none is installed."""
    if file is not None or "MESHDROP_CONFIG" in os.environ:
        return file or Path(os.environ["MESHDROP_CONFIG"])
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def place_of(path: Sequence[int | str], file: Path | None, text: str) -> str:
    """Where the operator wrote a key, as the beginning of a message: the variable, or file and line, or nothing."""
    names = ["MESHDROP_" + "__".join(str(part) for part in path[:depth]).upper() for depth in range(len(path), 0, -1)]
    for name in names:
        if name in {variable.upper() for variable in os.environ}:
            return f"environment variable {name}: "
    line = line_of(text, path) if file is not None else None
    return f"{file}:{line}: " if line is not None else ""


def _refuse_unknown_environment(environment: Mapping[str, str]) -> None:
    valid = {f"MESHDROP_{name.upper()}" for name in Config.model_fields}
    for name in environment:
        top = name.upper().split("__")[0]
        if name.upper().startswith("MESHDROP_") and top not in valid and name not in RESERVED_ENVIRONMENT:
            raise ConfigError(f"environment variable {name} is not known{nearest(top, valid)}")


def check_folders(config: Config) -> None:
    """Refuse a layout in which the daemon would eat its own output.

    Raises:
        ConfigError: The folders overlap, or STATE is inside a watched folder.
    """
    root, state = config.root.resolve(), config.state.resolve()
    seen: dict[tuple[int, int], str] = {}
    for name in ("inbox", "done", "failed"):
        folder = (root / name).resolve()
        if folder != root / name:
            raise ConfigError(f"{config.root / name} must be a plain folder inside the root, not a link to {folder}")
        if state == folder or folder in state.parents or state in folder.parents:
            raise ConfigError(f"state ({state}) and {folder} must not contain each other")
        if folder.exists():
            status = folder.stat()
            other = seen.setdefault((status.st_dev, status.st_ino), name)
            if other != name:
                raise ConfigError(f"{other} and {name} in {root} are the same folder, mounted twice")
