"""pyproject.toml declares what the packages import, and nothing else."""

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from repository import EVERY_PYTHON_FILE, REPOSITORY, SOURCES, read_pyproject

OWN = {"daemon", "recon"}
OPTIONAL = {"nvdiffrast", "trellis"}
"""Never installed without being asked for (docs/licences.md)."""


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported_packages(path: Path) -> set[str]:
    """Top-level names that a file imports, inside functions too."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    dotted = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.split(".")[0] for name in plain | dotted}


def imported_distributions(paths: list[Path]) -> set[str]:
    homes = metadata.packages_distributions()
    own = OWN | {path.stem for path in EVERY_PYTHON_FILE} | {path.stem for path in (REPOSITORY / "docs").glob("*.py")}
    names = set().union(*(imported_packages(path) for path in paths)) - own - OPTIONAL - set(sys.stdlib_module_names)
    return {normalised(homes[name][0]) if name in homes else normalised(name) for name in names}


def declared_distributions(extra: str | None = None) -> set[str]:
    project = read_pyproject()["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {normalised(Requirement(line).name) for line in lines}


def test_every_import_is_declared() -> None:
    """Nothing is imported that only happens to be installed for something else."""
    declared = declared_distributions() | declared_distributions("reconviagen")
    assert imported_distributions(SOURCES) - declared == set()


def test_every_import_of_tests_and_examples_is_declared() -> None:
    """The dev extra brings everything that tests and examples import."""
    files = [path for path in EVERY_PYTHON_FILE if "stand_in" not in path.parts]  # those are another project's imports
    assert imported_distributions(files) - declared_distributions() - declared_distributions("dev") == set()


def test_every_dependency_is_imported() -> None:
    """Nothing is installed that no file uses."""
    assert declared_distributions() - imported_distributions(SOURCES) == set()


def test_ranges_are_closed() -> None:
    """Every dependency has a lower and an upper bound."""
    requirements = [Requirement(line) for line in read_pyproject()["project"]["dependencies"]]
    signs = {item.name: {part.operator for part in item.specifier} for item in requirements}
    assert {name: found for name, found in signs.items() if not {">=", "<"} <= found} == {}
