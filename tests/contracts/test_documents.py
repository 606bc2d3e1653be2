"""What the documents name exists, and what exists is documented."""

import os
import re
from pathlib import Path

import pytest
import typer.main
from pydantic import BaseModel

import generate_api
import generate_configuration
from daemon.cli import app
from daemon.config import RESERVED_ENVIRONMENT, Config, load_config
from daemon.errors import ErrorCode, ExitCode
from daemon.options import JobOptions
from recon.errors import ReconError
from repository import DOCUMENTS, REPOSITORY, relative

TEXTS = {relative(path): path.read_text("utf-8") for path in DOCUMENTS}
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
PROGRAM_RUN = re.compile(r"(?:`|^|/|&& |=\S+ )meshdrop ([a-z]+)([^\n`|&]*)", re.MULTILINE)
"""meshdrop at the start of a span or line, after a path, or after variables; with what follows."""
REPOSITORY_PATH = re.compile(r"`((?:daemon|recon|tests|docs|examples|systemd|\.ci)/[\w./-]*)`")
TEST_ENVIRONMENT = {"MESHDROP_TARGET", "MESHDROP_SHARE_PASSWORD"}
"""Variables of the compose files, not of the daemon."""


def code_in(text: str) -> list[str]:
    """Code blocks and code spans."""
    return CODE.findall(text)


def all_code() -> str:
    return "\n".join(code for text in TEXTS.values() for code in code_in(text))


def commands() -> dict[str, set[str]]:
    """Command name to its options."""
    group = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in parameter.opts if option.startswith("-")}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def config_keys() -> set[str]:
    """Every key of the configuration as section.key."""
    return {
        f"{section}.{key}"
        for section, field in Config.model_fields.items()
        if isinstance(field.default, BaseModel)
        for key in type(field.default).model_fields
    }


@pytest.mark.parametrize("document", sorted(TEXTS))
def test_links_resolve(document: str) -> None:
    """Every relative link leads to a file of the repository."""
    folder = (REPOSITORY / document).parent
    targets = [target.split("#")[0] for target in LINK.findall(TEXTS[document]) if "://" not in target]
    assert [target for target in targets if target and not (folder / target).exists()] == []


def test_documents_are_reachable() -> None:
    """Every document is linked from another one."""
    linked = {
        os.path.normpath(Path(document).parent / target.split("#")[0])
        for document, text in TEXTS.items()
        for target in LINK.findall(text)
        if "://" not in target
    }
    assert {document for document in TEXTS if document != "README.md"} - linked == set()


def test_pictures_are_made_and_shown() -> None:
    """Every picture of the documents is shown by one of them and made by the script that makes them all."""
    script = (REPOSITORY / "examples/make_readme_pictures.py").read_text("utf-8")
    pictures = {path.name for path in (REPOSITORY / "docs/pictures").iterdir()}
    assert {name for name in pictures if f'"{name}"' not in script} == set()
    assert {name for name in pictures if f"pictures/{name})" not in "".join(TEXTS.values())} == set()


def test_named_commands_exist() -> None:
    """Wherever code runs meshdrop, it runs a command that exists with options that the command has."""
    known = commands()
    used = PROGRAM_RUN.findall(all_code())
    assert len(used) > len(known)
    assert {name for name, _ in used} <= set(known)
    unknown = {
        f"{name} {option}"
        for name, arguments in used
        for option in re.findall(r"(?<!\S)--?[a-z-]+", arguments)
        if option not in known[name]
    }
    assert unknown == set()


def test_every_command_is_documented() -> None:
    """Every command of the command line appears in the documents."""
    assert [name for name in commands() if f"meshdrop {name}" not in all_code()] == []


def test_error_codes_are_documented() -> None:
    """docs/errors.md has a heading or row for every code, and no other."""
    documented = set(re.findall(r"^(?:#+|\|) `?([A-Z]+(?:_[A-Z]+)+)`?", TEXTS["docs/errors.md"], re.MULTILINE))
    assert documented == {code.value for code in ErrorCode}


def subclasses(error: type[ReconError]) -> set[type[ReconError]]:
    return {error}.union(*(subclasses(child) for child in error.__subclasses__()))


def test_recon_codes_are_public() -> None:
    """Every code that recon can raise is one of the public codes."""
    assert {error.code for error in subclasses(ReconError)} <= {code.value for code in ErrorCode}


def test_exit_codes_are_documented() -> None:
    """docs/operations.md tells every exit code."""
    sentence = re.search(r"Exit codes of all commands: (.+?)\n\n", TEXTS["docs/operations.md"], re.DOTALL)
    assert sentence
    assert {int(number) for number in re.findall(r"\b(\d)\b", sentence.group(1))} == set(ExitCode)


def test_configuration_page_is_current() -> None:
    """docs/configuration.md is what its generator writes."""
    assert TEXTS["docs/configuration.md"] == generate_configuration.page()


def test_library_page_is_current() -> None:
    """docs/api.md is what its generator writes."""
    assert TEXTS["docs/api.md"] == generate_api.page()


def test_configuration_keys_exist() -> None:
    """Every section.key named in code spans is a key of the configuration."""
    sections = "|".join(section for section in Config.model_fields if section != "root")
    named = set(re.findall(rf"`((?:{sections})\.[a-z_]+)\b", "\n".join(TEXTS.values())))
    keys = {name for name in named if not name.endswith((".py", ".txt", ".jsonl"))}
    assert keys - config_keys() == set()


def test_environment_variables_exist() -> None:
    """Every MESHDROP_ variable in the documents is read by something."""
    named = set(re.findall(r"\bMESHDROP_[A-Z_]*[A-Z]\b", "\n".join(TEXTS.values())))
    keys = {f"MESHDROP_{key.upper().replace('.', '__')}" for key in config_keys()}
    keys |= {f"MESHDROP_{section.upper()}" for section in Config.model_fields}
    assert named - keys - RESERVED_ENVIRONMENT - TEST_ENVIRONMENT == set()


def test_job_options_are_documented() -> None:
    """docs/job-folder.md names every option of job.toml."""
    named = set(re.findall(r"(?:`|^)([a-z_]+)\b", TEXTS["docs/job-folder.md"], re.MULTILINE))
    assert set(JobOptions.model_fields) - named == set()


def test_named_files_exist() -> None:
    """Every path below a folder of the repository that a code span names exists."""
    paths = set(REPOSITORY_PATH.findall("\n".join(TEXTS.values())))
    assert {path for path in paths if not (REPOSITORY / path).exists()} == set()


@pytest.mark.parametrize("script", ["examples/demo", "examples/install", "tests/run", ".ci/run"])
def test_scripts_can_be_run(script: str) -> None:
    """The commands of the README may be executed as they stand there."""
    assert os.access(REPOSITORY / script, os.X_OK)


def test_example_configuration_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon accepts examples/config.toml, its [defaults] included."""
    for name in list(os.environ):
        if name.startswith("MESHDROP_"):
            monkeypatch.delenv(name)
    config = load_config(REPOSITORY / "examples" / "config.toml")
    assert config.root == Path("/srv/meshdrop")
    JobOptions.model_validate(config.defaults)
