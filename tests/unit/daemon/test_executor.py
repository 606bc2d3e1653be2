"""What the daemon believes of what a worker says."""

import pytest

from daemon.executor import Device, _device


def test_device_is_taken_as_it_is_said() -> None:
    """Name and memory of the GPU that the worker uses."""
    said = {"name": "H100", "free_bytes": 10, "total_bytes": 80}
    assert _device(said) == Device("H100", 10, 80)


@pytest.mark.parametrize("said", [None, [], "H100", {"free_bytes": "all"}, {"total_bytes": None, "free_bytes": 1.5}])
def test_strange_words_are_no_device(said: object) -> None:
    """A worker that was taken over can say anything; nothing but a text and whole numbers is kept."""
    assert _device(said) == Device()


def test_long_names_are_cut() -> None:
    """A name of a megabyte does not get onto the page."""
    assert len(_device({"name": "x" * 10**6}).name) == 100
