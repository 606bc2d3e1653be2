"""meshdrop config check and meshdrop config show."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from daemon.cli import app
from daemon.config import load_config
from daemon.errors import ExitCode

SECRETS = ("hushhush", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "meshdrop.toml"
    path.write_text(
        f'root = "{tmp_path}/share"\n[intake]\nsettle_s = 5\n[worker]\ngpus = [1]\n[defaults]\ntexture_px = 512\n'
        f'[defaults.depth]\nunit_m = 0.001\n[notify.targets]\nstudio = "mailto://anna:{SECRETS[0]}@mail.example"\n'
        f'[notify.webhooks.farm]\nurl = "https://farm.example/hook"\nsecret = "{SECRETS[1]}"\n'
    )
    return path


def test_show_prints_a_file_that_means_the_same(file: Path) -> None:
    """Read back, every key but the secrets has the value in force; defaults are marked."""
    output = CliRunner().invoke(app, ["config", "show", "-c", str(file)]).output
    again, config = tomllib.loads(output), load_config(file)
    assert (again["intake"], again["defaults"]) == (config.intake.model_dump(), config.defaults)
    assert again["worker"]["gpus"] == [1]
    assert "settle_s = 5.0\n" in output
    assert "scan_s = 1.0  # default\n" in output
    assert again["notify"]["webhooks"]["farm"]["url"] == "https://farm.example/hook"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_secrets_are_masked(file: Path, form: list[str]) -> None:
    """Neither form shows an address with its password, nor a webhook's secret."""
    finished = CliRunner().invoke(app, ["config", "show", "-c", str(file), *form])
    assert finished.exit_code == 0
    assert [secret for secret in SECRETS if secret in finished.output] == []
    assert finished.output.count("********") == 2


def test_show_speaks_json(file: Path) -> None:
    """Scripts get one document with every key."""
    about = json.loads(CliRunner().invoke(app, ["config", "show", "-c", str(file), "--json"]).output)
    assert set(about) == set(type(load_config(file)).model_fields)


def test_check_says_that_all_is_well(file: Path) -> None:
    """One sentence and success."""
    finished = CliRunner().invoke(app, ["config", "check", "-c", str(file)])
    assert (finished.exit_code, finished.output) == (0, f"{file}: the configuration is good\n")


def test_check_tells_scripts_every_mistake(file: Path) -> None:
    """One document, with the exit code of a configuration that cannot be used."""
    good = CliRunner().invoke(app, ["config", "check", "-c", str(file), "--json"])
    assert (good.exit_code, json.loads(good.output)) == (0, {"mistakes": []})
    file.write_text(file.read_text().replace("settle_s", "setle_s").replace("gpus = [1]", "gpus = [1, 1]"))
    bad = CliRunner().invoke(app, ["config", "check", "-c", str(file), "--json"])
    assert bad.exit_code == ExitCode.CONFIG
    assert len(json.loads(bad.output)["mistakes"]) == 2
