"""The pipeline between jobs: loaded once, kept warm, unloaded when idle, thrown away after anything unexpected."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from recon.errors import Cancelled, OutOfGpuMemory
from recon.generative import gpu_memory
from recon.generative.inference import GeneratedMesh, RunRecord, generate
from recon.generative.installation import Installation
from recon.generative.loading import UPSTREAM_MISTAKES, Pipeline, does_not_work, load_pipeline
from recon.generative.upstream import UpstreamModules
from recon.settings import ReconViaGenInstallation, Settings


@dataclass
class _Loaded:
    """A pipeline in memory and how it came there."""

    pipeline: Pipeline
    modules: UpstreamModules
    settings: ReconViaGenInstallation
    device: torch.device
    is_low_vram: bool
    import_s: float
    load_s: float


@dataclass(frozen=True)
class RunFacts:
    """What a user may want to know of a run.

    Attributes:
        was_warm: No weights had to be loaded.
        was_retried: The first try ran out of GPU memory.
        import_s, load_s: What upstream's code and its weights took to load; 0 when warm.
        peak_bytes: Most GPU memory allocated, weights included; 0 without a GPU.
    """

    record: RunRecord
    attention: str
    sparse_convolution: str
    is_low_vram: bool
    was_warm: bool
    was_retried: bool
    import_s: float
    load_s: float
    peak_bytes: int


class PipelineKeeper:
    """Owns the one pipeline of this process.

    Args:
        import_class: Imports upstream's pipeline class; called while its modules are active.
    """

    def __init__(self, import_class: Callable[[], Any]) -> None:
        self._import_class = import_class
        self._lock = threading.RLock()
        self._loaded: _Loaded | None = None
        self._timer: threading.Timer | None = None

    def is_warm(self, settings: ReconViaGenInstallation, device: torch.device) -> bool:
        """Whether a run would find the weights loaded."""
        loaded = self._loaded
        return loaded is not None and loaded.settings == settings and loaded.device == device

    def release(self) -> None:
        """Forget the weights and give their memory back."""
        with self._lock:
            self._stop_timer()
            device = self._loaded.device if self._loaded else None
            self._loaded = None
            if device is not None:
                gpu_memory.give_back(device)

    def generate(
        self,
        pictures: list[Image.Image],
        settings: Settings,
        device: torch.device,
        report_fraction: Callable[[float], None],
    ) -> tuple[GeneratedMesh, RunFacts]:
        """Run the model; out of memory, once more part by part.

        Raises:
            OutOfGpuMemory: Even so, or the operator forbids it.
            ReconError, Cancelled: As loading and running raise them.
        """
        with self._lock:
            self._stop_timer()
            try:
                return self._generate(pictures, settings, device, report_fraction)
            finally:
                self._start_timer(settings.installation.idle_unload_s)

    def _generate(
        self,
        pictures: list[Image.Image],
        settings: Settings,
        device: torch.device,
        report_fraction: Callable[[float], None],
    ) -> tuple[GeneratedMesh, RunFacts]:
        choice = settings.installation.low_vram
        if self.is_warm(settings.installation, device):
            assert self._loaded is not None
            is_low_vram = self._loaded.is_low_vram
        else:
            self.release()
            is_low_vram = gpu_memory.choose_low_vram(choice, device)
        tries = (False, True) if not is_low_vram and choice == "auto" else (is_low_vram,)
        for try_low_vram in tries:
            was_retried = try_low_vram and not is_low_vram
            try:
                mesh, facts = self._run_once(pictures, settings, device, try_low_vram, report_fraction)
                return mesh, replace(facts, was_retried=was_retried)
            except (torch.OutOfMemoryError, OutOfGpuMemory) as error:
                failure = error.with_traceback(None)  # frames would keep the tensors alive
            self.release()
        raise OutOfGpuMemory(
            "The GPU's memory was not enough for ReconViaGen, not even part by part.",
            suggestion='Use model = "nvdiffrec", fewer views, or a GPU with more memory.',
            details={"text": str(failure)[:300]},
        )

    def _run_once(
        self,
        pictures: list[Image.Image],
        settings: Settings,
        device: torch.device,
        is_low_vram: bool,
        report_fraction: Callable[[float], None],
    ) -> tuple[GeneratedMesh, RunFacts]:
        was_warm = self._loaded is not None and self._loaded.is_low_vram == is_low_vram
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        loaded = self._loaded if was_warm else self._load(settings.installation, device, is_low_vram)
        assert loaded is not None
        try:
            with loaded.modules.active():
                mesh, record = generate(
                    loaded.pipeline, pictures, settings.reconviagen, settings.seed, device, report_fraction
                )
        except Cancelled:
            _bring_home(loaded)
            raise
        except BaseException as error:  # who knows in which state it is
            self._loaded = None
            if isinstance(error, UPSTREAM_MISTAKES):
                raise does_not_work(settings.installation.source_dir, error) from error
            raise
        peak_bytes = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
        facts = RunFacts(
            record=record,
            attention=loaded.modules.attention,
            sparse_convolution=loaded.modules.sparse_convolution,
            is_low_vram=is_low_vram,
            was_warm=was_warm,
            was_retried=False,
            import_s=0.0 if was_warm else loaded.import_s,
            load_s=0.0 if was_warm else loaded.load_s,
            peak_bytes=peak_bytes,
        )
        return mesh, facts

    def _load(self, settings: ReconViaGenInstallation, device: torch.device, is_low_vram: bool) -> _Loaded:
        self.release()
        installation = Installation(settings)
        for fault in installation.faults():
            raise fault
        started_s = time.monotonic()
        modules = UpstreamModules(installation, settings)
        with modules.active():
            pipeline_class = self._import_class()
            import_s = time.monotonic() - started_s
            pipeline = load_pipeline(pipeline_class, installation, device, is_low_vram)
        load_s = time.monotonic() - started_s - import_s
        self._loaded = _Loaded(pipeline, modules, settings, device, is_low_vram, import_s, load_s)
        return self._loaded

    def _start_timer(self, idle_unload_s: float) -> None:
        if self._loaded is None:
            return
        if idle_unload_s == 0:
            self.release()
            return
        self._timer = threading.Timer(idle_unload_s, self.release)
        self._timer.daemon = True
        self._timer.start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None


def _bring_home(loaded: _Loaded) -> None:
    """Parts that a cancelled low-VRAM run left on the GPU go back to the machine's memory."""
    if loaded.is_low_vram:
        for part in (*loaded.pipeline.models.values(), loaded.pipeline.VGGT_model):
            part.cpu()
        gpu_memory.give_back(loaded.device)
