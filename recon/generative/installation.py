"""What of ReconViaGen must lie on the disk, and what is wrong with it.

Loads no numerical library, so that ``meshdrop doctor`` can ask.  Only the beginnings of checkpoint files are read;
whether every tensor finds its place in the model is checked when the model is loaded.
"""

import importlib.util
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from recon.errors import InvalidWeights, ModelUnavailable, ReconError
from recon.settings import ReconViaGenInstallation

REVISION = "34aed302e4221bbbd705383b5b4cbfaf67579edb"
"""The commit of the v0.2 branch that the adapter was tried with."""

SOURCE_FILES = ("trellis/pipelines/trellis_image_to_3d.py", "wheels/vggt/vggt/models/vggt.py")
"""Of the checkout, relative to ``source_dir``."""

PACKAGES = ("easydict", "einops", "safetensors", "torchvision")
"""Python packages that the mesh path really uses; ``pip install 'meshdrop[reconviagen]'`` brings them."""

PIPELINE_DIR, VGGT_DIR, DINO_DIR = "trellis-vggt-v0-2", "vggt-object-v0-1", "dinov2"
"""Folders of ``weights_dir``: two of Stable-X's repositories and a checkout of facebookresearch/dinov2."""

NEEDED_MODELS = (
    "sparse_structure_flow_model",
    "sparse_structure_decoder",
    "sparse_structure_vggt_cond",
    "slat_flow_model",
    "slat_vggt_cond",
    "slat_decoder_mesh",
)
"""Parts of the pipeline that a mesh needs; the Gaussian and radiance-field decoders are never loaded."""

MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format."""

INSTALL_HINT = "Ask the operator to install the model as docs/models.md says; meshdrop doctor checks each part."


@dataclass(frozen=True)
class Checkpoint:
    """One model of the pipeline on the disk: ``<path>.json`` and ``<path>.safetensors``."""

    key: str
    path: Path

    @property
    def config_file(self) -> Path:
        return Path(f"{self.path}.json")

    @property
    def weights_file(self) -> Path:
        return Path(f"{self.path}.safetensors")


class Installation:
    """A checkout and a folder of weights, as configured.

    Raises:
        ModelUnavailable: One of the two is not configured.
    """

    def __init__(self, settings: ReconViaGenInstallation) -> None:
        if settings.source_dir is None or settings.weights_dir is None:
            missing = "source_dir" if settings.source_dir is None else "weights_dir"
            raise ModelUnavailable(
                f"ReconViaGen is not installed here: reconviagen.{missing} is not set in the configuration.",
                details={"missing": f"reconviagen.{missing}"},
            )
        self.source_dir = settings.source_dir
        self.weights_dir = settings.weights_dir

    @property
    def vggt_weights_file(self) -> Path:
        return self.weights_dir / VGGT_DIR / "model.safetensors"

    @property
    def vggt_config_file(self) -> Path:
        return self.weights_dir / VGGT_DIR / "config.json"

    @property
    def pipeline_file(self) -> Path:
        return self.weights_dir / PIPELINE_DIR / "pipeline.json"

    @property
    def dino_dir(self) -> Path:
        return self.weights_dir / DINO_DIR

    @cached_property
    def pipeline_arguments(self) -> dict[str, object]:
        """What pipeline.json says, with only the models that a mesh needs.

        Raises:
            InvalidWeights: It is missing, no JSON, or lacks a model or an entry.
        """
        arguments = _read_json(self.pipeline_file).get("args")
        if not isinstance(arguments, dict) or not isinstance(arguments.get("models"), dict):
            raise _invalid(self.pipeline_file, 'has no "args" with "models"')
        for name in ("sparse_structure_sampler", "slat_sampler", "slat_normalization", "image_cond_model"):
            if name not in arguments:
                raise _invalid(self.pipeline_file, f'lacks "{name}"')
        models = arguments["models"]
        absent = [name for name in NEEDED_MODELS if not isinstance(models.get(name), str)]
        if absent:
            raise _invalid(self.pipeline_file, f"names no {' and no '.join(absent)}")
        return arguments | {"models": {name: models[name] for name in NEEDED_MODELS}}

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The pipeline's models.

        Raises:
            InvalidWeights: As ``pipeline_arguments``.
        """
        models = self.pipeline_arguments["models"]
        assert isinstance(models, dict)
        folder = self.weights_dir / PIPELINE_DIR
        return tuple(Checkpoint(name, folder / path) for name, path in models.items())

    def faults(self) -> Iterator[ReconError]:
        """Everything that is missing or damaged, each with what to do about it."""
        absent = [name for name in SOURCE_FILES if not (self.source_dir / name).is_file()]
        if absent:
            yield ModelUnavailable(
                f"{self.source_dir} is not a checkout of ReconViaGen v0.2: {absent[0]} is not there.",
                suggestion=INSTALL_HINT,
                details={"missing": str(self.source_dir / absent[0]), "revision": REVISION},
            )
        for package in PACKAGES:
            if importlib.util.find_spec(package) is None:
                yield ModelUnavailable(
                    f"The Python package {package}, which ReconViaGen needs, is not installed.",
                    suggestion="Ask the operator to run pip install 'meshdrop[reconviagen]'.",
                    details={"missing": package},
                )
        yield from self._weight_faults()

    def _weight_faults(self) -> Iterator[ReconError]:
        files = [self.vggt_weights_file]
        try:
            checkpoints = self.checkpoints()
        except InvalidWeights as error:
            yield error
        else:
            files += [checkpoint.weights_file for checkpoint in checkpoints]
            for checkpoint in checkpoints:
                yield from _faults_of(_read_model_config, checkpoint.config_file)
        yield from _faults_of(_read_json, self.vggt_config_file)
        for file in files:
            yield from _faults_of(read_tensor_names, file)
        if not (self.dino_dir / "hubconf.py").is_file():
            yield _invalid(self.dino_dir / "hubconf.py", "is not there; it belongs to a checkout of DINOv2")
        if not any(self.weights_dir.glob("dinov2_*.pth")):
            yield _invalid(self.weights_dir / "dinov2_vitl14_reg4_pretrain.pth", "is not there")


def read_tensor_names(file: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by tensor name of a safetensors file, from its header.

    Raises:
        InvalidWeights: The file is missing, is no safetensors file, or ends before its last tensor.
    """
    try:
        with file.open("rb") as stream:
            (header_bytes,) = struct.unpack("<Q", stream.read(8))
            if header_bytes > MAX_HEADER_BYTES:
                raise ValueError("its header is too long")
            header = json.loads(stream.read(header_bytes))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = 8 + header_bytes + max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
        shapes = {name: tuple(int(size) for size in entry["shape"]) for name, entry in tensors.items()}
    except OSError as error:
        raise _invalid(file, f"cannot be read ({error.strerror})") from error
    except (struct.error, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise _invalid(file, "is not a safetensors file") from error
    size_bytes = file.stat().st_size
    if size_bytes != end:
        raise _invalid(file, f"is cut off or damaged: {size_bytes} bytes where its header says {end}")
    return shapes


def _read_model_config(file: Path) -> dict[str, object]:
    config = _read_json(file)
    if not isinstance(config.get("name"), str) or not isinstance(config.get("args"), dict):
        raise _invalid(file, 'lacks "name" or "args"')
    return config


def _read_json(file: Path) -> dict[str, object]:
    try:
        value = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise _invalid(file, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise _invalid(file, "is not JSON") from error
    if not isinstance(value, dict):
        raise _invalid(file, "does not hold a JSON object")
    return value


def _faults_of(read: object, file: Path) -> Iterator[ReconError]:
    try:
        read(file)  # type: ignore[operator]
    except InvalidWeights as error:
        yield error


def _invalid(file: Path, what: str) -> InvalidWeights:
    return InvalidWeights(f"The weight file {file} {what}.", details={"file": str(file)})
