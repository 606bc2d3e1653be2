"""What a module says it offers is what it offers."""

import importlib
from types import ModuleType

import pytest

from repository import module_names


def own_names(module: ModuleType) -> set[str]:
    """Public classes, functions and values of our packages that the module holds."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "").split(".")[0] in {"daemon", "recon"}
    }


@pytest.mark.parametrize("name", [*module_names("daemon"), *module_names("recon")])
def test_all_names_exist(name: str) -> None:
    """Every module can be imported, and every name in its __all__ exists once."""
    module = importlib.import_module(name)
    names = getattr(module, "__all__", [])
    assert [missing for missing in names if not hasattr(module, missing)] == []
    assert len(set(names)) == len(names)


def test_recon_face_is_complete() -> None:
    """recon.__all__ is exactly what recon offers (type aliases have no home module and are listed by hand)."""
    recon = importlib.import_module("recon")
    assert set(recon.__all__) == own_names(recon) | {"Progress"}
