"""Models by name: our own, and whatever installed packages announce as ``meshdrop.models`` entry points."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from recon.errors import ModelUnavailable
from recon.models.interface import Model

ENTRY_POINT_GROUP = "meshdrop.models"

OWN_MODELS = {
    "nvdiffrec": "recon.models.nvdiffrec:NvdiffrecModel",
    "reconviagen": "recon.models.reconviagen:ReconViaGenModel",
}
"""No installed package can take these names."""


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
    return cast(Model, factory())


def _entries() -> dict[str, EntryPoint]:
    own = (EntryPoint(name, factory, ENTRY_POINT_GROUP) for name, factory in OWN_MODELS.items())
    return {entry.name: entry for entry in (*entry_points(group=ENTRY_POINT_GROUP), *own)}
