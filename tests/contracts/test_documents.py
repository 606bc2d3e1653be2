"""What the documents name exists, and what exists is documented."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer.main
from pydantic import BaseModel

import generate_api
import generate_configuration
from daemon.cli import app
from daemon.config import RESERVED_ENVIRONMENT, Config, load_config
from daemon.errors import ErrorCode, ExitCode
from daemon.jobs import TRANSITIONS
from daemon.options import JobOptions
from daemon.preflight import load_checked_config
from recon.errors import ReconError
from repository import DOCUMENTS, REPOSITORY, SOURCES, relative
from sandbox import NOT_TRIED, directives
from served import served

TEXTS = {relative(path): path.read_text("utf-8") for path in DOCUMENTS}
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PROGRAM_RUN = re.compile(r"(?:`|^|/|&& |=\S+ )meshdrop ((?:config )?[a-z]+)([^\n`|&]*)", re.MULTILINE)
"""meshdrop at the start of a span or line, after a path, or after variables; with what follows."""
REPOSITORY_PATH = re.compile(r"`((?:daemon|recon|tests|docs|examples|systemd|\.ci)/[\w./-]*)`")
TEST_ENVIRONMENT = {"MESHDROP_TARGET", "MESHDROP_SHARE_PASSWORD", "MESHDROP_WEIGHTS"}
"""Variables of the compose files, not of the daemon."""


def code_in(text: str) -> list[str]:
    """Code blocks and code spans."""
    return CODE.findall(text)


def all_code() -> str:
    return "\n".join(code for text in TEXTS.values() for code in code_in(text))


def blocks(language: str) -> list[tuple[str, str]]:
    """(document, text) of every fenced block in a language."""
    found = [(document, *block) for document, text in TEXTS.items() for block in BLOCK.findall(text)]
    return [(document, text) for document, said, text in found if said == language]


def commands() -> dict[str, set[str]]:
    """Command name to its options; "config show" is one name."""
    found: dict[str, set[str]] = {}

    def collect(prefix: str, group: object) -> None:
        for name, command in group.commands.items():  # type: ignore[attr-defined]
            if hasattr(command, "commands"):
                collect(f"{prefix}{name} ", command)
            else:
                options = {option for parameter in command.params for option in parameter.opts}
                found[prefix + name] = {option for option in options if option.startswith("-")}

    collect("", typer.main.get_command(app))
    return found


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
    """Every picture of the documents is shown by one of them and made by a script in examples/."""
    script = "".join(path.read_text("utf-8") for path in (REPOSITORY / "examples").glob("make_*_pictures.py"))
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


@pytest.mark.parametrize(
    "script",
    [
        "examples/demo",
        "examples/install",
        "systemd/install",
        "systemd/uninstall",
        "tests/install_for_real",
        "tests/run",
        ".ci/run",
    ],
)
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


def test_every_key_is_explained() -> None:
    """No row of docs/configuration.md ends without a sentence."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", TEXTS["docs/configuration.md"], re.MULTILINE)
    assert len(rows) > 40
    assert [key for key, note in rows if not note.strip()] == []


def test_every_quantity_has_its_unit() -> None:
    """Every number that is not a count says its unit, in its name and in its column."""
    row = re.compile(r"^\| `(\w+)` \|[^|]*\|([^|]*)\| (number|whole number)", re.MULTILINE)
    rows = row.findall(TEXTS["docs/configuration.md"])
    counts = {"prefetch", "max_files", "max_depth", "max_jobs", "max_attempts"}
    assert {key for key, unit, _ in rows if not unit.strip()} <= counts


def test_shell_blocks_are_shell() -> None:
    """bash understands every shell block."""
    found = blocks("bash")
    assert len(found) > 10
    for document, text in found:
        finished = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, f"{document}: {finished.stderr}\n{text}"


def test_settings_blocks_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every TOML block is a job.toml that the daemon takes, or part of a configuration with which it starts.

    A package's own pyproject.toml is neither.
    """
    for name in [name for name in os.environ if name.startswith("MESHDROP_")]:
        monkeypatch.delenv(name)
    found = blocks("toml")
    assert len(found) >= 3
    for document, text in found:
        values = tomllib.loads(text)
        if "project" in values:
            continue
        has_sections = any(isinstance(values.get(section), dict) for section in Config.model_fields)
        if set(values) <= set(JobOptions.model_fields) and not has_sections:
            JobOptions.model_validate(values)
            continue
        file = tmp_path / "meshdrop.toml"
        file.write_text(("" if "root" in values else 'root = "/srv/meshdrop"\n') + text)
        assert load_checked_config(file), document


def test_json_blocks_are_json() -> None:
    """Every JSON block can be read."""
    for _, text in blocks("json"):
        json.loads(text)


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block of the operator's pages runs, and the one that checks a webhook does check it."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for _, text in [(document, text) for document, text in blocks("python") if document == "docs/monitoring.md"]:
        exec(compile(text, "docs/monitoring.md", "exec"), names)
    is_genuine = names["is_genuine"]
    assert callable(is_genuine)
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert is_genuine(secret, headers, body)
    assert not is_genuine(secret, headers, body + b" ")


def test_drop_ins_name_real_directives() -> None:
    """Every directive of an ini block is one of the unit's own."""
    unit = (REPOSITORY / "systemd" / "meshdrop.service").read_text("utf-8")
    for document, text in blocks("ini"):
        for directive in re.findall(r"^(\w+)=", text, re.MULTILINE):
            assert f"\n{directive}=" in unit, f"{document}: {directive}"


def test_diagrams_have_a_kind() -> None:
    """Every Mermaid block begins with a known kind and holds no semicolon, which would end a statement in mid-sentence;
    the architecture page shows flow, states and cancellation."""
    assert [text for _, text in blocks("mermaid") if ";" in text] == []
    kinds = [(document, text.split()[0]) for document, text in blocks("mermaid")]
    assert {kind for _, kind in kinds} <= {"flowchart", "stateDiagram-v2", "sequenceDiagram"}
    assert {kind for document, kind in kinds if document == "docs/architecture.md"} == {
        "flowchart", "stateDiagram-v2", "sequenceDiagram",
    }  # fmt: skip


def test_state_diagram_is_the_table() -> None:
    """The diagram of job states in the architecture page has exactly the legal steps."""
    diagram = next(text for document, text in blocks("mermaid") if text.startswith("stateDiagram"))
    drawn = set(re.findall(r"^\s+(\w+) --> (\w+)", diagram, re.MULTILINE))
    assert drawn == {(before.value, after.value) for before, afters in TRANSITIONS.items() for after in afters}


def test_metrics_are_documented(tmp_path: Path) -> None:
    """docs/monitoring.md names every metric that a daemon writes and no other; queries use only those."""
    page = TEXTS["docs/monitoring.md"]
    with served(tmp_path) as share:
        share.until((share.config.state / "metrics.prom").exists)
        share.supervisor.board.write_health()
        text = (share.config.state / "metrics.prom").read_text()
    written = set(re.findall(r"^# HELP (\w+)", text, re.MULTILINE))
    table, panels = page.split("### Panels for Grafana")
    assert set(re.findall(r"`(meshdrop_\w+)`", table)) == written
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"meshdrop_\w+", panels)} <= written
    assert "meshdrop_last_turn_timestamp_seconds" in written


def test_health_is_documented(tmp_path: Path) -> None:
    """docs/monitoring.md explains every field of health.json."""
    with served(tmp_path) as share:
        share.until((share.config.state / "health.json").exists)
        fields = set(json.loads((share.config.state / "health.json").read_text()))
    named = set(re.findall(r"`(\w+)`", TEXTS["docs/monitoring.md"]))
    assert fields - named == set()


def test_files_of_the_state_folder_exist() -> None:
    """Every STATE/NAME in the documents is a name that the daemon's sources use."""
    named = set(re.findall(r"STATE/([\w.-]+\w)", "\n".join(TEXTS.values())))
    sources = "\n".join(path.read_text("utf-8") for path in SOURCES if "daemon" in path.parts)
    assert len(named) >= 6
    assert {name for name in named if f'"{name}"' not in sources and f"/{name}" not in sources} == set()


def test_the_sandbox_is_documented() -> None:
    """docs/security.md speaks of every directive of the unit, and lists exactly those that no test brings about."""
    page = TEXTS["docs/security.md"]
    assert {directive for directive, _ in directives()} - set(re.findall(r"`(\w+)`", page)) == set()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page.split("## How the sandbox is tried")[1], re.MULTILINE))
    assert rows == NOT_TRIED
