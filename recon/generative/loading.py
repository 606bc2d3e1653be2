"""Weights from local files into the pipeline, quickly, and every tensor accounted for.

Models are built where they will run and their random initialisation, most of the time that upstream's loading takes,
is left out: every tensor is overwritten, which is checked afterwards.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import torch
from torch.overrides import TorchFunctionMode

from recon.errors import InvalidWeights, ModelUnavailable, OutOfGpuMemory, ReconError
from recon.generative.installation import INSTALL_HINT, Installation, read_tensor_names

UNUSED_VGGT_HEADS = ("camera_head", "point_head", "depth_head", "track_head")
"""The mesh path reads the aggregator's tokens only."""

UPSTREAM_MISTAKES = (AssertionError, AttributeError, ImportError, IndexError, KeyError, TypeError, ValueError)
"""What upstream's code raises when it does not fit its weights, or is of another revision."""

SHOWN_NAMES = 3
"""Tensor names that an error message lists."""


@runtime_checkable
class Pipeline(Protocol):
    """What the adapter uses of ``TrellisVGGTTo3DPipeline``; compared with the real class in tests/gpu."""

    models: dict[str, torch.nn.Module]
    VGGT_model: torch.nn.Module
    low_vram: bool
    _device: torch.device | None

    @staticmethod
    def from_pretrained(path: str) -> "Pipeline": ...

    def run(  # noqa: PLR0913, PLR0917 - upstream's signature
        self,
        image: Any,
        coords: Any = None,
        num_samples: int = 1,
        seed: int = 42,
        sparse_structure_sampler_params: dict[str, object] = ...,
        slat_sampler_params: dict[str, object] = ...,
        formats: list[str] = ...,
        preprocess_image: bool = True,
        mode: str = "stochastic",
    ) -> Any: ...


def load_pipeline(pipeline_class: Any, installation: Installation, device: torch.device, is_low_vram: bool) -> Pipeline:
    """Load the pipeline; call it while upstream's modules are active.

    Args:
        pipeline_class: Upstream's class; its instances are a ``Pipeline`` once loaded.
        device: Where it will run.
        is_low_vram: Keep the weights in the machine's memory; upstream moves each part when it is needed.

    Raises:
        InvalidWeights: A file is missing or damaged, or a tensor of a model is in no file.
        ModelUnavailable: The checkout does not fit (another revision).
        OutOfGpuMemory: There is no room for the weights.
    """
    home = torch.device("cpu") if is_low_vram else device
    module = sys.modules[pipeline_class.__module__]
    try:
        with (
            _filtered_checkpoints(installation) as folder,
            _local_files_only(module, installation),
            _without_initialisation(),
            home,
        ):
            pipeline: Pipeline = pipeline_class.from_pretrained(str(folder))
    except ReconError:
        raise
    except torch.OutOfMemoryError as error:
        raise OutOfGpuMemory("The GPU's memory is not enough for ReconViaGen's weights.") from error
    except RuntimeError as error:  # load_state_dict: shapes differ
        raise InvalidWeights(f"The weights do not fit the model: {str(error)[:300]}") from error
    except UPSTREAM_MISTAKES as error:
        raise does_not_work(installation.source_dir, error) from error
    _check_coverage(pipeline, installation)
    pipeline.low_vram = is_low_vram
    pipeline._device = device
    return pipeline


def does_not_work(source_dir: Path | None, error: BaseException) -> ModelUnavailable:
    """Say that it is the checkout, not the job."""
    return ModelUnavailable(
        f"The checkout in {source_dir} does not work with these weights: {error!r}.", suggestion=INSTALL_HINT
    )


@contextlib.contextmanager
def _filtered_checkpoints(installation: Installation) -> Iterator[Path]:
    """A folder that names only the models of ``NEEDED_MODELS``, so that no others are loaded."""
    import json

    with TemporaryDirectory(prefix="meshdrop-") as name:
        folder = Path(name)
        document = {"name": "TrellisVGGTTo3DPipeline", "args": installation.pipeline_arguments}
        (folder / "pipeline.json").write_text(json.dumps(document), "utf-8")
        for entry in installation.pipeline_file.parent.iterdir():
            if entry.name != "pipeline.json":
                (folder / entry.name).symlink_to(entry.absolute())
        yield folder


@contextlib.contextmanager
def _local_files_only(module: ModuleType, installation: Installation) -> Iterator[None]:
    """Let everything that upstream would fetch by name come from ``weights_dir``."""

    def load_dino(_: str, entry: str, **options: object) -> torch.nn.Module:
        with _replaced(torch.hub, "load", real_load):
            loaded: torch.nn.Module = real_load(  # type: ignore[no-untyped-call]
                str(installation.dino_dir), entry, source="local", pretrained=True
            )
        return loaded

    real_load = torch.hub.load
    with (
        _replaced(module, "VGGT", _LocalVggt(module, installation)),
        _replaced(torch.hub, "load", load_dino),
        _replaced(torch.hub, "load_state_dict_from_url", _state_dict_reader(installation.weights_dir)),
    ):
        yield


class _LocalVggt:
    """Stands under VGGT's name while the pipeline loads it."""

    def __init__(self, module: ModuleType, installation: Installation) -> None:
        self._class = module.VGGT
        self._installation = installation

    def from_pretrained(self, _: str) -> torch.nn.Module:
        """The aggregator with its weights; the heads are left out."""
        import json

        from safetensors import safe_open

        config = json.loads(self._installation.vggt_config_file.read_text("utf-8"))
        vggt: torch.nn.Module = self._class(**{k: v for k, v in config.items() if k != "architectures"})
        for head in UNUSED_VGGT_HEADS:
            setattr(vggt, head, torch.nn.Identity())
        file = self._installation.vggt_weights_file
        with safe_open(str(file), framework="pt") as tensors:
            state = {name: tensors.get_tensor(name) for name in tensors.keys() if name.startswith("aggregator.")}  # noqa: SIM118 - no mapping
        vggt.load_state_dict(state, strict=False)
        return vggt


def _state_dict_reader(weights_dir: Path) -> Callable[..., Any]:
    def read(url: str, **_: object) -> Any:
        file = weights_dir / url.rpartition("/")[2]
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except OSError as error:
            raise InvalidWeights(f"The weight file {file} is not there.", suggestion=INSTALL_HINT) from error
        except Exception as error:  # torch.load has no error type of its own
            raise InvalidWeights(f"The weight file {file} is damaged: {str(error)[:200]}") from error

    return read


@contextlib.contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


class _without_initialisation(TorchFunctionMode):  # noqa: N801 - used like a function
    """Random fillers of tensors do nothing."""

    _FILLERS = frozenset(
        {
            torch.Tensor.erfinv_,
            torch.Tensor.normal_,
            torch.Tensor.uniform_,
            torch.nn.init.kaiming_uniform_,
            torch.nn.init.normal_,
            torch.nn.init.trunc_normal_,
            torch.nn.init.uniform_,
        }
    )

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        keywords: dict[str, Any] | None = None,
    ) -> Any:
        keywords = keywords or {}
        if function in self._FILLERS:
            return arguments[0] if arguments else keywords["tensor"]
        return function(*arguments, **keywords)


def _check_coverage(pipeline: Pipeline, installation: Installation) -> None:
    """Every tensor of every model must have come from its file.

    Raises:
        InvalidWeights: Upstream loads without looking (strict=False), so we look.
    """
    for checkpoint in installation.checkpoints():
        _check_model(pipeline.models[checkpoint.key], checkpoint.weights_file, "")
    _check_model(pipeline.VGGT_model.aggregator, installation.vggt_weights_file, "aggregator.")


def _check_model(model: torch.nn.Module | torch.Tensor, file: Path, prefix: str) -> None:
    assert isinstance(model, torch.nn.Module)
    in_file = read_tensor_names(file)
    missing = [name for name in (prefix + key for key in model.state_dict()) if name not in in_file]
    if missing:
        names = ", ".join(missing[:SHOWN_NAMES]) + (", ..." if len(missing) > SHOWN_NAMES else "")
        raise InvalidWeights(
            f"The weight file {file} belongs to another model: {len(missing)} tensors are not in it ({names}).",
            details={"file": str(file), "missing": missing[:50]},
        )
