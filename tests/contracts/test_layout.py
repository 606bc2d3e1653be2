"""The tree is laid out as the documents say."""

import re

from repository import EVERY_PYTHON_FILE, REPOSITORY, SOURCES, read_pyproject, relative

TOP_LEVEL = {
    "Dockerfile", "LICENSE", "README.md", "daemon", "docs", "examples", "pyproject.toml", "recon", "systemd", "tests",
}  # fmt: skip
BUILT = {"build", "dist", "meshdrop.egg-info", "scratch"}
MOST_LINES = 400
UNFINISHED = re.compile(
    r"\b[T]ODO\b|\b[F]IXME\b|\b[X]XX\b|raise [N]otImplementedError|pytest\.[s]kip|mark\.(?:[x]fail|[s]kip)"
)
"""Brackets keep the pattern from finding itself."""


def test_packages_are_listed() -> None:
    """pyproject.toml lists exactly the packages on the disk."""
    on_disk = {".".join(path.parent.relative_to(REPOSITORY).parts) for path in SOURCES}
    assert sorted(on_disk) == read_pyproject()["tool"]["setuptools"]["packages"]
    assert [name for name in on_disk if not (REPOSITORY / name.replace(".", "/") / "__init__.py").exists()] == []


def test_data_files_are_packaged() -> None:
    """Every file of the packages that is not Python is named as package data."""
    packaged = {
        path
        for package, patterns in read_pyproject()["tool"]["setuptools"].get("package-data", {}).items()
        for pattern in patterns
        for path in (REPOSITORY / package.replace(".", "/")).glob(pattern)
    }
    on_disk = {
        path
        for package in ("daemon", "recon")
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert {relative(path) for path in on_disk - packaged} == set()


def test_top_level() -> None:
    """The top level holds what the design names, dotfiles and build output only."""
    entries = {path.name for path in REPOSITORY.iterdir() if not path.name.startswith(".")}
    assert entries - BUILT == TOP_LEVEL


def test_modules_are_short() -> None:
    """No module is longer than 400 lines, tests and examples included."""
    lengths = {relative(path): len(path.read_text("utf-8").splitlines()) for path in EVERY_PYTHON_FILE}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_module_names_mean_something() -> None:
    """There is no drawer for everything."""
    assert [relative(path) for path in SOURCES if path.stem in {"utils", "util", "helpers", "common", "misc"}] == []


def test_test_folders_are_no_packages() -> None:
    """tests/ has no __init__.py: one under tests/daemon would shadow the package."""
    assert list((REPOSITORY / "tests").rglob("__init__.py")) == []


def test_nothing_is_left_for_later() -> None:
    """No file holds reminders, stubs or tests that are passed over."""
    found = {relative(path): UNFINISHED.findall(path.read_text("utf-8")) for path in EVERY_PYTHON_FILE}
    assert {name: words for name, words in found.items() if words} == {}


def test_every_module_says_what_it_is() -> None:
    """Every module begins with a docstring (an empty __init__.py needs none)."""
    texts = {relative(path): path.read_text("utf-8").lstrip() for path in EVERY_PYTHON_FILE}
    assert [name for name, text in texts.items() if text and not text.startswith(('"""', 'r"""'))] == []
