"""How a running reconstruction tells its caller where it is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

STAGES = ("capture", "cameras", "geometry", "optimise", "texture", "export", "quality", "previews")
"""Every stage in running order; a model may skip some."""


@dataclass(frozen=True)
class ProgressUpdate:
    """One step forward.

    Attributes:
        model: The model at work; empty before the first model starts.
        stage: One of ``STAGES``.
        fraction: Share of the whole reconstruction that is done, 0 to 1.
        preview: A small PNG of the current state, when a new one was just written.
    """

    model: str
    stage: str
    fraction: float
    preview: Path | None = None


Progress: TypeAlias = Callable[[ProgressUpdate], None]


def silent(update: ProgressUpdate) -> None:
    """Ignore progress."""
