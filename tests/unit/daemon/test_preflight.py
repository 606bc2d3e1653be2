"""What is refused before the daemon serves."""

from pathlib import Path

import pytest

from daemon.errors import ConfigError
from daemon.preflight import load_checked_config


def write(base: Path, text: str) -> Path:
    file = base / "meshdrop.toml"
    file.write_text(f'root = "{base}/share"\nstate = "{base}/state"\n{text}')
    return file


def test_a_good_configuration_passes(tmp_path: Path) -> None:
    """Defaults for jobs and receivers that can be used."""
    text = '[defaults]\ntexture_px = 512\n[notify.targets]\nstudio = "json://127.0.0.1:9/"\n'
    assert load_checked_config(write(tmp_path, text)).defaults == {"texture_px": 512}


def test_every_later_failure_is_named_now(tmp_path: Path) -> None:
    """A job default, a folder and two receivers that could not work, each with its line."""
    text = (
        '[defaults]\ntexure_px = 512\n[notify.targets]\nstudio = "nonsense"\n'
        '[notify.webhooks.farm]\nurl = "https://farm.example"\nsecret = "whsec_tooshortbutlongenough"\n'
    )
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_checked_config(file, state=tmp_path / "share/inbox/state")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{file}:4: defaults: unknown key 'texure_px'; did you mean texture_px?"
    assert "must not contain each other" in lines[1]
    assert lines[2] == f"{file}:6: notify.targets.studio needs a URL that Apprise knows"
    assert lines[3].startswith(f"{file}:7: notify.webhooks.farm needs a secret")
