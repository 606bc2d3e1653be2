"""docs/licences.md names every installed dependency with the licence that its own metadata states."""

import re
from fnmatch import fnmatch
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from repository import REPOSITORY, read_pyproject

PAGE = (REPOSITORY / "docs" / "licences.md").read_text("utf-8")
ROW = re.compile(r"^\| ([\w.-]+(?:\\\*)?) \| ([^|]+) \|", re.MULTILINE)
EVIDENCE = {
    "Apache-2.0": r"Apache",
    "BSD-2-Clause": r"BSD|Redistribution and use in source and binary forms",
    "BSD-3-Clause": r"BSD|Redistribution and use in source and binary forms",
    "ISC": r"\bISC\b",
    "MIT": r"\bMIT\b|Permission is hereby granted, free of charge",
    "MIT-CMU": r"MIT-CMU|HPND",
    "MPL-2.0": r"MPL-2\.0|Mozilla Public License",
    "NVIDIA EULA": r"NVIDIA",
    "PSF-2.0": r"\bPSF|Python Software Foundation",
}
"""What a package's own words must contain for the licence that we state."""


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def stated_licences() -> dict[str, str]:
    table = PAGE.split("## Optional")[0]
    return {name.replace("\\*", "*"): licence.strip() for name, licence in ROW.findall(table) if name != "Package"}


def installed_dependencies() -> dict[str, metadata.Distribution]:
    """Everything that pyproject.toml's dependencies pull in on this machine, themselves included."""
    waiting = list(read_pyproject()["project"]["dependencies"])
    found: dict[str, metadata.Distribution] = {}
    while waiting:
        requirement = Requirement(waiting.pop())
        name = normalised(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found[name] = metadata.distribution(requirement.name)
        waiting += found[name].requires or []
    return found


def own_words(distribution: metadata.Distribution) -> str:
    """All that a package says about its licence: metadata and licence files."""
    about = distribution.metadata
    classifiers = [line for line in about.get_all("Classifier") or [] if line.startswith("License")]
    files = [path for path in distribution.files or [] if re.search(r"licen[cs]e|copying", path.name, re.IGNORECASE)]
    texts = [path.locate().read_text("utf-8", "replace") for path in files if path.locate().is_file()]
    return "\n".join([about.get("License-Expression") or "", about.get("License") or "", *classifiers, *texts])


INSTALLED = installed_dependencies()


def stated_licence(name: str) -> str | None:
    """The licence in the row for a package; a row may end in a star."""
    return next((licence for row, licence in stated_licences().items() if fnmatch(name, row)), None)


@pytest.mark.parametrize("name", sorted(INSTALLED))
def test_dependency_is_listed_truly(name: str) -> None:
    """The page lists the package, and the package's own words agree."""
    stated = stated_licence(name)
    assert stated, f"{name} is missing in docs/licences.md"
    assert re.search(EVIDENCE[stated], own_words(INSTALLED[name])), f"{name} does not call itself {stated}"


def test_nothing_restrictive_is_installed() -> None:
    """No dependency of an installation calls itself GPL, AGPL or non-commercial in its metadata."""
    suspicious = {}
    for name, distribution in INSTALLED.items():
        about = distribution.metadata
        classifiers = [line for line in about.get_all("Classifier") or [] if line.startswith("License")]
        words = " ".join([about.get("License-Expression") or "", *classifiers])
        if re.search(r"\bA?GPL|GNU (Affero )?General|[Nn]on-?[Cc]ommercial", words):
            suspicious[name] = words
    assert suspicious == {}


def test_evidence_can_fail() -> None:
    """A package under another licence than stated would be noticed."""
    assert not re.search(EVIDENCE["ISC"], own_words(INSTALLED["numpy"]))


def test_our_own_licence() -> None:
    """LICENSE is the Apache License 2.0 in full, and pyproject.toml says so."""
    text = (REPOSITORY / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert read_pyproject()["project"]["license"] == "Apache-2.0"
