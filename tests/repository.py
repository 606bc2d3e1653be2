"""The checkout itself, as the contract tests read it."""

import tomllib
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
SOURCES = sorted([*(REPOSITORY / "daemon").rglob("*.py"), *(REPOSITORY / "recon").rglob("*.py")])
EVERY_PYTHON_FILE = sorted([*SOURCES, *(REPOSITORY / "tests").rglob("*.py"), *(REPOSITORY / "examples").rglob("*.py")])
DOCUMENTS = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def read_pyproject() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


def module_names(package: str) -> list[str]:
    """Dotted names of a package's modules, without those that act when imported."""
    paths = [path for path in SOURCES if path.is_relative_to(REPOSITORY / package)]
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in paths]
    plain = [name.removesuffix(".__init__") for name in names]
    return [name for name in plain if not name.endswith(("__main__", "migrations.env"))]
