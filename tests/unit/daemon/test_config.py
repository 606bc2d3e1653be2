"""The operator's configuration."""

from pathlib import Path

import pytest

from daemon.config import check_folders, load_config
from daemon.errors import ConfigError
from daemon.share import create_share

SECRET = 'secret = "whsec_0123456789abcdef01"'


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MESHDROP_CONFIG", str(tmp_path / "meshdrop.toml"))
    (tmp_path / "meshdrop.toml").write_text(f'root = "{tmp_path}/share"\n')


def test_file_then_environment_then_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins over the file, and the command line over the file's root."""
    (tmp_path / "meshdrop.toml").write_text('root = "/a"\n[worker]\nmax_jobs = 3\nmax_attempts = 4\n')
    monkeypatch.setenv("MESHDROP_WORKER__MAX_JOBS", "7")
    config = load_config(root=tmp_path / "b")
    assert (config.worker.max_jobs, config.worker.max_attempts, config.root) == (7, 4, tmp_path / "b")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rot = 1", "unknown key 'rot'; did you mean root?"),
        ("[intake]\nsetle_s = 1", "unknown key 'intake.setle_s'; did you mean settle_s?"),
        ("[intake]\nsettle_s = -1", "intake.settle_s: Input should be greater than or equal to 0"),
        ("[worker", "cannot be read"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    """A mistake stops the daemon with the key and the nearest valid one."""
    (tmp_path / "meshdrop.toml").write_text(f'root = "/a"\n{text}\n' if "root" not in text else text)
    with pytest.raises(ConfigError) as caught:
        load_config()
    assert sentence in str(caught.value)


def test_an_unknown_variable_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt environment variable does not pass in silence."""
    monkeypatch.setenv("MESHDROP_WORKR__MAX_JOBS", "7")
    with pytest.raises(ConfigError, match="did you mean MESHDROP_WORKER"):
        load_config()


def test_root_is_required(tmp_path: Path) -> None:
    """Without a share there is nothing to serve."""
    (tmp_path / "meshdrop.toml").write_text("")
    with pytest.raises(ConfigError, match="root"):
        load_config()


@pytest.mark.parametrize("state", ["share/inbox/state", "share/done", "share"])
def test_overlapping_folders_are_refused(tmp_path: Path, state: str) -> None:
    """STATE may not lie in a watched folder, nor hold one."""
    with pytest.raises(ConfigError, match="contain"):
        check_folders(load_config(root=tmp_path / "share", state=tmp_path / state))


def test_state_beside_the_areas_is_fine(tmp_path: Path) -> None:
    """ROOT/.state, as the demo has it, is allowed."""
    check_folders(load_config(root=tmp_path / "share", state=tmp_path / "share/.state"))


def test_an_inbox_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    """A link in place of inbox/ would move the watch out of the share."""
    (tmp_path / "share").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "share/inbox").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="plain folder"):
        check_folders(load_config(root=tmp_path / "share", state=tmp_path / "state"))


def test_all_mistakes_are_named_with_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line per mistake: file and line, or the variable that holds it; nothing has to be found one by one."""
    file = tmp_path / "meshdrop.toml"
    file.write_text('root = "/a"\n\n[intake]\n# quiet\nsetle_s = 1\nprefetch = 99\n[worker]\ngpus = [0, 0]\n')
    monkeypatch.setenv("MESHDROP_DISK__MIN_FREE_BYTES", "-1")
    with pytest.raises(ConfigError) as caught:
        load_config()
    assert set(str(caught.value).splitlines()) == {
        "environment variable MESHDROP_DISK__MIN_FREE_BYTES: disk.min_free_bytes:"
        " Input should be greater than or equal to 0",
        f"{file}:5: unknown key 'intake.setle_s'; did you mean settle_s?",
        f"{file}:6: intake.prefetch: Input should be less than or equal to 64",
        f"{file}:7: worker: gpus names a device twice",
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[limits]\nmax_file_bytes = 20\nmax_job_bytes = 10", "max_file_bytes must not be larger"),
        ("[worker]\ngpus = [-1]", "worker.gpus.0"),
        (f'[notify.targets]\na = "json://h"\n[notify.webhooks.a]\nurl = "https://h"\n{SECRET}', "share the name a"),
        (f'[notify.webhooks.a]\nurl = "https://user:word@h"\n{SECRET}', "notify.webhooks.a.url"),
    ],
)
def test_impossible_values_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    """Values that are fine one by one but make no sense together stop the daemon as well."""
    (tmp_path / "meshdrop.toml").write_text(f'root = "/a"\n{text}\n')
    with pytest.raises(ConfigError) as caught:
        load_config()
    assert sentence in str(caught.value)
    assert f"{tmp_path}/meshdrop.toml:" in str(caught.value)


def test_a_variable_that_is_no_json_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists from the environment are JSON; anything else is named, not shown as a traceback."""
    monkeypatch.setenv("MESHDROP_WORKER__GPUS", "first")
    with pytest.raises(ConfigError, match="worker"):
        load_config()


def test_a_mistake_does_not_show_a_secret(tmp_path: Path) -> None:
    """What is wrong with an address is said without the address."""
    (tmp_path / "meshdrop.toml").write_text('root = "/a"\n[notify]\ntargets = [ "mailto://anna:hushhush@h" ]\n')
    with pytest.raises(ConfigError) as caught:
        load_config()
    assert "hushhush" not in str(caught.value)


def test_two_areas_that_are_one_folder_are_refused(tmp_path: Path) -> None:
    """A link from one area to another would publish into the inbox."""
    create_share(tmp_path / "share")
    (tmp_path / "share/done").rmdir()
    (tmp_path / "share/done").symlink_to("inbox")
    with pytest.raises(ConfigError, match="plain folder"):
        check_folders(load_config(root=tmp_path / "share", state=tmp_path / "state"))
