"""Models by name."""

from importlib.metadata import EntryPoint

import pytest

from recon.errors import ModelUnavailable
from recon.models import Model, create_model, installed_models, registry
from recon.models.nvdiffrec import NvdiffrecModel


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more packages: one that works and one whose import fails."""
    good = EntryPoint("mirror", "recon.models.nvdiffrec:NvdiffrecModel", registry.ENTRY_POINT_GROUP)
    broken = EntryPoint("broken", "no_such_package.at_all:Model", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: (good, broken))
    create_model.cache_clear()


@pytest.fixture(autouse=True)
def fresh_models() -> None:
    create_model.cache_clear()


def test_our_own_model_is_always_there() -> None:
    """nvdiffrec is created by name, obeys the interface, and is the same object every time."""
    model = create_model("nvdiffrec")
    assert isinstance(model, NvdiffrecModel)
    assert isinstance(model, Model)
    assert model.name == "nvdiffrec"
    assert create_model("nvdiffrec") is model
    assert "nvdiffrec" in installed_models()


@pytest.mark.usefixtures("announced")
def test_packages_announce_models() -> None:
    """Entry points of installed packages add names, sorted, beside our own."""
    assert installed_models() == ("broken", "mirror", "nvdiffrec", "reconviagen")
    assert isinstance(create_model("mirror"), NvdiffrecModel)


@pytest.mark.usefixtures("announced")
def test_an_unknown_model_is_named_with_those_installed() -> None:
    """MODEL_UNAVAILABLE says what was asked for and what there is."""
    with pytest.raises(ModelUnavailable) as caught:
        create_model("reconviagem")
    assert caught.value.code == "MODEL_UNAVAILABLE"
    assert caught.value.message == (
        'The model "reconviagem" is not installed here; installed: broken, mirror, nvdiffrec, reconviagen.'
    )
    assert caught.value.details == {
        "model": "reconviagem",
        "installed": ["broken", "mirror", "nvdiffrec", "reconviagen"],
    }


@pytest.mark.usefixtures("announced")
def test_a_package_that_does_not_load_is_unavailable() -> None:
    """An import error in a model's package becomes MODEL_UNAVAILABLE and says which module is missing."""
    with pytest.raises(ModelUnavailable, match=r'"broken" cannot be loaded: .*no_such_package'):
        create_model("broken")


def test_own_model_wins_over_a_package_of_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """No installed package can take the name nvdiffrec."""
    other = EntryPoint("nvdiffrec", "no_such_package:Model", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: (other,))
    assert isinstance(create_model("nvdiffrec"), NvdiffrecModel)
