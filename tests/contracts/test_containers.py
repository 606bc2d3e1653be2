"""The container files are well formed and agree with the packages."""

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from daemon.config import Config
from repository import REPOSITORY, read_pyproject

SCRIPTS = Path(sysconfig.get_path("scripts"))

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text("utf-8")
CONSTRAINTS = (REPOSITORY / ".ci" / "constraints.txt").read_text("utf-8")


def constrained_versions() -> dict[str, Version]:
    pairs = [line.split("==") for line in CONSTRAINTS.splitlines() if "==" in line]
    return {name.lower().replace("_", "-"): Version(version) for name, version in pairs}


def test_constraints_keep_the_ranges() -> None:
    """Every recorded version lies in the range that pyproject.toml allows, and all but torch is recorded."""
    project = read_pyproject()["project"]
    requirements = [Requirement(line) for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]]
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


COMPOSE_FILES = [REPOSITORY / "examples" / name for name in ("compose.yaml", "compose.gpu.yaml")]


def check_compose(*files: Path) -> subprocess.CompletedProcess[str]:
    """Hold files against the Compose specification's own schema."""
    command = [str(SCRIPTS / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compose_files_keep_the_specification() -> None:
    """Both files are valid by the schema of the Compose specification."""
    finished = check_compose(*COMPOSE_FILES)
    assert finished.returncode == 0, finished.stdout


def test_compose_check_can_fail(tmp_path: Path) -> None:
    """A misspelt key is noticed."""
    file = tmp_path / "compose.yaml"
    file.write_text(COMPOSE_FILES[0].read_text("utf-8").replace("stop_grace_period", "stop_grace"))
    assert check_compose(file).returncode != 0


def test_compose_builds_real_targets() -> None:
    """The targets that the compose files can ask for are stages, and every volume and dependency is there."""
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    compose, gpu = (yaml.safe_load(file.read_text("utf-8")) for file in COMPOSE_FILES)
    assert {"cpu", "cuda"} <= stages
    services = compose["services"]
    assert services["meshdrop"]["build"]["target"] == "${MESHDROP_TARGET:-cpu}"
    assert set(gpu["services"]) <= set(services)
    for service in services.values():
        assert {volume.split(":")[0] for volume in service["volumes"]} <= set(compose["volumes"])
        assert set(service.get("depends_on", {})) <= set(services)


def test_one_command_starts_everything() -> None:
    """The share is made before the daemon starts; nothing has a network, or rights that it can do without."""
    services = yaml.safe_load(COMPOSE_FILES[0].read_text("utf-8"))["services"]
    assert services["share"]["command"] == ["init", "/share"]
    assert services["meshdrop"]["depends_on"] == {"share": {"condition": "service_completed_successfully"}}
    for name in ("share", "meshdrop"):
        service = services[name]
        assert (service["network_mode"], service["read_only"], service["cap_drop"]) == ("none", True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert services["samba"]["profiles"] == ["samba"]


def test_everything_is_fixed() -> None:
    """Base images have a version, Python packages an exact one, and sources a full commit."""
    for image in re.findall(r"^ARG \w+_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE):
        assert re.fullmatch(r"\S+:[\d.]+\S*", image), image
    for source in ("NVDIFFRAST", "RECONVIAGEN"):
        assert re.search(rf"^ARG {source}=[0-9a-f]{{40}}$", DOCKERFILE, re.MULTILINE), source
    installs = re.findall(r"pip install ([^&;\n]+)", DOCKERFILE.replace("\\\n", " "))
    assert len(installs) >= 5
    for install in installs:
        words = [word for word in install.split() if not word.startswith("-") and word != '"${TORCH_INDEX}"']
        loose = [word for word in words if "==" not in word and not word.startswith(("/src", ".", '".'))]
        assert loose == [] or "--constraint" in install, install


def test_images_run_without_rights() -> None:
    """The last user of the runtime stage is not root, and the container says when it is ill."""
    runtime = DOCKERFILE.split("AS runtime")[1]
    assert re.findall(r"^USER (\S+)$", runtime, re.MULTILINE) == ["10001:10001"]
    assert 'CMD ["meshdrop", "health"]' in runtime
    assert re.findall(r"^VOLUME (.+)$", runtime, re.MULTILINE) == ['["/share", "/var/lib/meshdrop"]', '["/weights"]']


def test_variables_of_the_image_are_keys() -> None:
    """Every MESHDROP_ variable that the images set is a key of the configuration."""
    set_there = set(re.findall(r"\b(MESHDROP_\w+)=", DOCKERFILE))
    assert set_there
    for name in set_there:
        section, *rest = name.removeprefix("MESHDROP_").lower().split("__")
        table = Config.model_fields[section].annotation
        assert not rest or rest[0] in table.model_fields, name


@pytest.mark.needs("testparm")
def test_samba_configuration(tmp_path: Path) -> None:
    """Samba understands every line of the example and exports the share as meant."""
    command = ["testparm", "--suppress-prompt", "--debuglevel=1", str(REPOSITORY / "examples" / "smb.conf")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "Unknown parameter" not in finished.stderr
    assert "force group = meshdrop" in finished.stdout
