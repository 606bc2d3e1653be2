"""Models by name: our own, and whatever installed packages announce as ``meshdrop.models`` entry points."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import cast

import torch

from recon.errors import ModelUnavailable
from recon.models.interface import Model

ENTRY_POINT_GROUP = "meshdrop.models"

OWN_MODELS = {
    "nvdiffrec": "recon.models.nvdiffrec:NvdiffrecModel",
    "reconviagen": "recon.models.reconviagen:ReconViaGenModel",
}
"""No installed package can take these names."""

_created: list[Model] = []
"""Models of this process, kept alive by ``create_model``'s cache."""


def installed_models() -> tuple[str, ...]:
    """Names that ``create_model`` knows, sorted."""
    return tuple(sorted(entry.name for entry in _entries().values()))


@cache
def create_model(name: str) -> Model:
    """The model of that name, created once per process.

    Raises:
        ModelUnavailable: No such model is installed, or its package does not load.
    """
    entry = _entries().get(name)
    if entry is None:
        known = ", ".join(installed_models())
        raise ModelUnavailable(
            f'The model "{name}" is not installed here; installed: {known}.',
            details={"model": name, "installed": list(installed_models())},
        )
    try:
        factory = entry.load()
    except ImportError as error:
        raise ModelUnavailable(f'The model "{name}" cannot be loaded: {error}.', details={"model": name}) from error
    model = cast(Model, factory())
    _created.append(model)
    return model


def release_models() -> bool:
    """Have every model of this process give back the memory that it keeps between jobs.

    Returns:
        Whether any GPU memory came free.
    """
    before_bytes = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    for model in _created:
        model.release()
    if not torch.cuda.is_available():
        return False
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated() < before_bytes


def _entries() -> dict[str, EntryPoint]:
    own = (EntryPoint(name, factory, ENTRY_POINT_GROUP) for name, factory in OWN_MODELS.items())
    return {entry.name: entry for entry in (*entry_points(group=ENTRY_POINT_GROUP), *own)}
