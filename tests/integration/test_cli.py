"""The commands, as a person and as a script use them."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fakes
from daemon import cli, doctor
from daemon.cli import app
from daemon.errors import ExitCode
from served import PATIENCE_S, served


class Shell:
    """Runs commands against one share and state."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.places = ["--root", str(base / "share"), "--state", str(base / "state")]

    def run(self, *arguments: str) -> tuple[int, str]:
        finished = CliRunner().invoke(app, [*arguments])
        if finished.exception is not None and not isinstance(finished.exception, SystemExit):
            raise finished.exception
        return finished.exit_code, finished.output


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("MESHDROP_CONFIG", str(tmp_path / "meshdrop.toml"))
    (tmp_path / "meshdrop.toml").write_text(f'root = "{tmp_path}/share"\nstate = "{tmp_path}/state"\n')
    return Shell(tmp_path)


def test_init_makes_a_share_and_leaves_one_alone(shell: Shell) -> None:
    """The folders are made with the group bit; a second init changes nothing."""
    share = shell.base / "share"
    assert shell.run("init", str(share))[0] == ExitCode.OK
    (share / "inbox" / "mine").mkdir()
    assert shell.run("init", str(share))[0] == ExitCode.OK
    assert sorted(os.listdir(share)) == [".meshdrop", "done", "failed", "inbox"]
    assert (share / "inbox").stat().st_mode & 0o7777 == 0o2775
    assert os.listdir(share / "inbox") == ["mine"]


@pytest.mark.parametrize(
    ("spoil", "code", "sentence"),
    [
        (None, ExitCode.OK, "complete: 12 pictures"),
        (None, ExitCode.OK, "ok: view_03.png (photograph)"),
        ("missing", ExitCode.NOT_READY, "missing: depth_03.png (depth)"),
        ("cut", ExitCode.NOT_READY, "incomplete: view_01.png"),
        ("option", ExitCode.NOT_READY, "did you mean seed?"),
        ("cancel", ExitCode.NOT_READY, "CANCEL"),
    ],
)
def test_check_gives_the_daemons_verdict(shell: Shell, spoil: str | None, code: int, sentence: str) -> None:
    """Exit 0 and a count for a good folder; otherwise what is wrong with it."""
    folder = fakes.write_job(shell.base / "shoe")
    match spoil:
        case "missing":
            (folder / "depth_03.png").unlink()
        case "cut":
            (folder / "view_01.png").write_bytes(fakes.png(64, 64)[:-20])
        case "option":
            (folder / "job.toml").write_text("sed = 1\n")
        case "cancel":
            (folder / "CANCEL").touch()
    status, output = shell.run("check", str(folder))
    assert status == code
    assert sentence in output


def test_check_speaks_json(shell: Shell) -> None:
    """Scripts get one document."""
    folder = fakes.write_job(shell.base / "shoe")
    (folder / "depth_03.png").unlink()
    status, output = shell.run("check", str(folder), "--json")
    assert status == ExitCode.NOT_READY
    report = json.loads(output)
    assert report["verdict"] == "wait"
    assert report["missing"] == ["depth_03.png"]
    verdicts = {file["file"]: (file["role"], file["verdict"]) for file in report["files"]}
    assert verdicts["view_00.png"] == ("photograph", "ok")
    assert verdicts["depth_03.png"] == ("depth", "missing")


def test_check_looks_into_a_batch(shell: Shell) -> None:
    """Every folder of a batch has its own verdict; one that is not ready makes the whole not ready."""
    fakes.write_job(shell.base / "batch/boot")
    fakes.write_job(shell.base / "batch/shoe")
    status, output = shell.run("check", str(shell.base / "batch"))
    assert status == ExitCode.OK
    assert output.splitlines() == ["a batch of 2 jobs, one per folder", "complete: boot", "complete: shoe"]
    (shell.base / "batch/shoe/depth_03.png").unlink()
    status, output = shell.run("check", str(shell.base / "batch"))
    assert status == ExitCode.NOT_READY
    assert "not ready: shoe" in output
    assert "meshdrop check FOLDER/shoe" in output
    report = json.loads(shell.run("check", str(shell.base / "batch"), "--json")[1])
    assert (report["verdict"], report["jobs"]) == ("batch", {"boot": "take", "shoe": "wait"})


def test_run_works_without_a_share(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """One folder, one result, progress as lines in a pipe."""
    monkeypatch.setattr("recon.reconstruct", fakes.reconstruct)
    folder = fakes.write_job(shell.base / "shoe")
    status, output = shell.run("run", str(folder), "-o", str(shell.base / "out"))
    assert status == ExitCode.OK
    assert (shell.base / "out/nvdiffrec/mesh.glb").exists()
    assert "quality: normal" in output
    assert "nvdiffrec previews" in output


@pytest.mark.parametrize(
    ("behave", "sentence"), [({"raise": "ObjectNotFound"}, "OBJECT_NOT_FOUND"), ({"verdict": "failure"}, "failure")]
)
def test_run_tells_failure_by_its_exit_code(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, behave: dict[str, object], sentence: str
) -> None:
    """A failed reconstruction and one of too low quality both exit with JOB_FAILED."""
    monkeypatch.setattr("recon.reconstruct", fakes.reconstruct)
    folder = fakes.write_job(shell.base / "shoe", behave)
    status, output = shell.run("run", str(folder), "-o", str(shell.base / "out"))
    assert status == ExitCode.JOB_FAILED
    assert sentence in output


def test_status_show_and_health_read_what_the_daemon_wrote(shell: Shell) -> None:
    """All three work beside a running daemon and without one, as text and as JSON."""
    with served(shell.base, intake={"incomplete_after_s": 600.0}) as share:
        fakes.write_job(share.config.inbox / "bad", {"raise": "ObjectNotFound"})
        (share.config.inbox / "evil\x1b[2J").mkdir()
        share.until(lambda: share.states().get("bad") == "failed" and len(share.states()) == 2)
        share.until((share.config.state / "health.json").exists)
        assert shell.run("health")[0] == ExitCode.OK
    status, output = shell.run("status")
    assert status == ExitCode.OK
    assert "bad\tfailed\tNo object was found" in output
    assert "\x1b" not in output
    rows = json.loads(shell.run("status", "--json")[1])
    assert {row["name"]: row["state"] for row in rows} == {"bad": "failed", "evil\\x1b[2J": "waiting"}
    about = json.loads(shell.run("show", "bad", "--json")[1])
    assert [event["to"] for event in about["events"]] == ["waiting", "queued", "running", "publishing", "failed"]
    assert about["failure"]["code"] == "OBJECT_NOT_FOUND"
    assert "running -> publishing" in shell.run("show", "bad")[1]
    assert shell.run("show", "nobody")[0] == ExitCode.NOT_FOUND


def test_health_of_a_silent_daemon_is_bad(shell: Shell) -> None:
    """A loop that stopped turning long ago is unhealthy."""
    (shell.base / "state").mkdir()
    status, output = shell.run("health")
    assert status == ExitCode.UNHEALTHY
    assert "no daemon has left a sign of life" in output
    (shell.base / "state/health.json").write_text(json.dumps({"time_s": 0, "problems": []}))
    status, output = shell.run("health")
    assert status == ExitCode.UNHEALTHY
    assert "the daemon has said nothing" in output


def test_cancel_and_retry_do_what_a_user_does(shell: Shell) -> None:
    """The commands put the files; the daemon does the rest."""
    with served(shell.base) as share:
        fakes.write_job(share.config.inbox / "shoe", {"once": str(shell.base / "once"), "work_s": 600})
        # Cancelled before it has left this mark, the job would work as long when it runs again.
        share.until((shell.base / "once").exists)
        assert share.states()["shoe"] == "running"
        assert shell.run("cancel", "shoe")[0] == ExitCode.OK
        share.until(lambda: (share.config.failed / "shoe").exists() and not share.store.active())
        assert shell.run("retry", "shoe")[0] == ExitCode.OK
        share.until((share.config.done / "shoe").exists)
        assert shell.run("cancel", "nobody")[0] == ExitCode.NOT_FOUND


def test_doctor_finds_the_faults(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is well on a fresh share; a missing one is said with its remedy."""
    monkeypatch.setattr(doctor, "EVENT_PATIENCE_S", PATIENCE_S)  # on a busy machine an event may take its time
    shell.run("init", str(shell.base / "share"))
    (shell.base / "state").mkdir()
    status, output = shell.run("doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(output)}
    assert status == ExitCode.OK, output
    assert findings["moves"]["grade"] == findings["events"]["grade"] == "ok"
    assert os.listdir(shell.base / "share/inbox") == []
    (shell.base / "share/.meshdrop").unlink()
    status, output = shell.run("doctor")
    assert status == ExitCode.UNUSABLE
    assert "meshdrop init" in output


def test_faults_end_with_a_line_and_a_code(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback for what an operator can mend."""
    monkeypatch.setattr("sys.argv", ["meshdrop", "serve", "--root", str(shell.base / "nowhere")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == ExitCode.UNUSABLE
    assert "meshdrop init" in capsys.readouterr().err
