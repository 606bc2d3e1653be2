"""The container files are well formed and agree with the packages."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from repository import REPOSITORY, read_pyproject

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text("utf-8")
CONSTRAINTS = (REPOSITORY / ".ci" / "constraints.txt").read_text("utf-8")


def constrained_versions() -> dict[str, Version]:
    pairs = [line.split("==") for line in CONSTRAINTS.splitlines() if "==" in line]
    return {name.lower().replace("_", "-"): Version(version) for name, version in pairs}


def test_constraints_keep_the_ranges() -> None:
    """Every recorded version lies in the range that pyproject.toml allows, and all but torch is recorded."""
    project = read_pyproject()["project"]
    requirements = [
        Requirement(line) for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    ]
    versions = constrained_versions()
    for requirement in requirements:
        name = requirement.name.lower().replace("_", "-")
        assert name in versions or name == "torch", f"{name} is missing in .ci/constraints.txt"
        assert name == "torch" or versions[name] in requirement.specifier, f"{name} {versions[name]}"


def test_docker_torch_is_allowed() -> None:
    """The images' PyTorch lies in pyproject.toml's range."""
    version = re.search(r"^ARG TORCH=(\S+)$", DOCKERFILE, re.MULTILINE)
    requirement = next(
        Requirement(line) for line in read_pyproject()["project"]["dependencies"] if Requirement(line).name == "torch"
    )
    assert version
    assert Version(version.group(1)) in requirement.specifier


def test_docker_copies_what_is_sent() -> None:
    """Everything that the Dockerfile copies from the checkout exists and passes .dockerignore."""
    sent = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == sent
    assert [name for name in copied if not (REPOSITORY / name).exists()] == []


def test_compose_builds_real_targets() -> None:
    """The compose files parse, and the targets they can ask for are stages of the Dockerfile."""
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    compose = yaml.safe_load((REPOSITORY / "examples" / "compose.yaml").read_text("utf-8"))
    gpu = yaml.safe_load((REPOSITORY / "examples" / "compose.gpu.yaml").read_text("utf-8"))
    assert {"cpu", "cuda"} <= stages
    assert compose["services"]["meshdrop"]["build"]["target"] == "${MESHDROP_TARGET:-cpu}"
    assert set(gpu["services"]) <= set(compose["services"])


def test_images_run_without_rights() -> None:
    """The last user of the runtime stage is not root, and the container says when it is ill."""
    runtime = DOCKERFILE.split("AS runtime")[1]
    assert re.findall(r"^USER (\S+)$", runtime, re.MULTILINE) == ["10001:10001"]
    assert 'CMD ["meshdrop", "health"]' in runtime


@pytest.mark.needs("testparm")
def test_samba_configuration(tmp_path: Path) -> None:
    """Samba understands every line of the example and exports the share as meant."""
    command = ["testparm", "--suppress-prompt", "--debuglevel=1", str(REPOSITORY / "examples" / "smb.conf")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "Unknown parameter" not in finished.stderr
    assert "force group = meshdrop" in finished.stdout
