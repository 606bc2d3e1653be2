"""What a model is to the pipeline."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch

from recon.raster import Rasterizer
from recon.scene import Capture, TexturedMesh, TriangleMesh
from recon.settings import Settings


@dataclass(frozen=True)
class LossEntry:
    """Loss terms at one step of a stage; the unit is in each name."""

    stage: str
    step: int
    terms: dict[str, float]


@dataclass(frozen=True)
class ModelContext:
    """What the pipeline lends a model.

    Attributes:
        device: Where tensors live.
        raster: The rasteriser for that device.
        enter: Announces a stage (one of ``recon.progress.STAGES``) and its progress within 0..1; may raise
            ``recon.Cancelled``.
        show: Publishes a picture of an unfinished mesh for those who wait.
    """

    device: torch.device
    raster: Rasterizer
    enter: Callable[[str, float], None]
    show: Callable[[TriangleMesh | TexturedMesh], None]


@dataclass(frozen=True)
class ModelResult:
    """A textured mesh in the capture's world frame and how it came about.

    Attributes:
        facts: JSON-serialisable numbers for the report (voxel size, face counts, ...).
        warnings: Sentences that the user should read.
    """

    textured: TexturedMesh
    history: tuple[LossEntry, ...] = ()
    facts: dict[str, float | int | str | bool] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@runtime_checkable
class Model(Protocol):
    """A model; created once per process and kept, so it may cache weights."""

    name: str

    def check_available(self, settings: Settings, device: torch.device) -> None:
        """Refuse early what cannot work.

        Raises:
            ModelUnavailable, InvalidWeights, GpuUnavailable, GpuTooSmall: With what to do about it.
        """
        ...

    def release(self) -> None:
        """Give back what is only kept to make the next job faster, GPU memory above all."""
        ...

    def reconstruct(self, capture: Capture, settings: Settings, context: ModelContext) -> ModelResult:
        """Make a textured mesh from a capture whose views all have cameras.

        Raises:
            ReconError: Any; ``Cancelled`` passes through from ``context.enter``.
        """
        ...
