"""The job table is locked, read-only, damaged, lost, old or under a clock that jumps."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory

import daemon.migrations
import fakes
from audit import Tally
from daemon.config import Config
from daemon.doctor import _examine_database
from daemon.jobs import JobState
from daemon.store import open_store
from served import DaemonProcess, jobs_on_record, make_config, served, wait_until

TEN_YEARS_S = 315_360_000.0


def serve_and_refuse(config: Config) -> str:
    """Start a daemon that must give up; what it says."""
    command_line = [sys.executable, "-m", "daemon", "serve", "--root", str(config.root), "--state", str(config.state)]
    refused = subprocess.run(command_line, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 4, refused.stderr
    assert "Traceback" not in refused.stderr
    return refused.stdout + refused.stderr


@pytest.fixture
def used(tmp_path: Path) -> Config:
    """A share with one finished job on record and one folder that was just dropped."""
    with served(tmp_path) as share:
        fakes.write_job(share.config.inbox / "first")
        share.until(lambda: (share.config.done / "first").exists() and not share.store.active())
    fakes.write_job(share.config.inbox / "second")
    return share.config


def everything(config: Config) -> dict[str, bytes]:
    """Every file of share and state that holds something of the users' or of the table."""
    files = [*config.root.rglob("*.png"), *config.done.rglob("*.json"), config.database]
    return {str(file): file.read_bytes() for file in files}


def test_a_locked_table_stops_the_daemon_and_doctor_explains(used: Config) -> None:
    """Another program holds it: the daemon says so and ends, nothing is changed, and doctor names the remedy."""
    before = everything(used)
    holder = sqlite3.connect(used.database)
    holder.execute("BEGIN EXCLUSIVE")
    told = serve_and_refuse(used)
    finding = _examine_database(used.database)
    holder.close()
    assert "locked" in told
    assert (finding.grade, "locked" in finding.message, "holds it" in finding.remedy) == ("bad", True, True)
    assert everything(used) == before


def test_a_read_only_table_stops_the_daemon_and_doctor_explains(used: Config) -> None:
    """A state folder on a disk that was mounted read-only is named, and nothing is changed."""
    before = everything(used)
    with read_only(used.state):
        told = serve_and_refuse(used)
        finding = _examine_database(used.database)
    assert "read-only" in told.lower() or "readonly" in told.lower()
    assert finding.grade == "bad"
    assert everything(used) == before


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_table_that_is_damaged_under_the_daemon_stops_it(used: Config, tmp_path: Path) -> None:
    """A disk that loses the table's pages makes the daemon end with a clear message instead of going on."""
    damaged = bytearray(used.database.read_bytes())
    damaged[4096:] = os.urandom(len(damaged) - 4096)
    used.database.write_bytes(bytes(damaged))
    before = everything(used)
    assert "damaged" in serve_and_refuse(used)
    assert everything(used) == before


@pytest.mark.fault("the job table is lost", "removed between two runs; rebuilt from the folders on the share")
def test_a_lost_table_is_rebuilt_from_the_share(used: Config, tmp_path: Path, tally: Tally) -> None:
    """What came back is on record again under its id, what waits is taken, and nothing is run twice."""
    lost = jobs_on_record(used.state)[0]
    for file in used.state.glob("jobs.sqlite3*"):
        file.unlink()
    (used.failed / "forged").mkdir()
    (used.failed / "forged/error.json").write_text(json.dumps({"job_id": "../../etc", "time": "never", "code": 7}))
    with served(tmp_path) as share:
        rebuilt = share.job("first")
        assert (rebuilt.job_id, rebuilt.state, rebuilt.destination) == (lost.job_id, JobState.DONE, "done/first")
        # Exactly what the outcome says, which was written, in whole seconds, before the end went on record.
        said = json.loads((used.done / "first/result.json").read_text())["time"]
        assert rebuilt.finished_at_s == datetime.fromisoformat(said).timestamp()
        assert (lost.started_at_s or 0) - 1 < rebuilt.finished_at_s <= (lost.finished_at_s or 0)
        assert ".." not in share.job("forged").job_id
        share.until(lambda: (share.config.done / "second").exists() and not share.store.active())
    (used.failed / "forged/error.json").unlink()
    tally(used, ["first", "second"])


def revisions() -> list[str]:
    """Every version of the schema, oldest first."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(daemon.migrations.__file__).parent))
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


@pytest.mark.fault("upgrade from an older version", "table of every schema version, holding a waiting and a done job")
@pytest.mark.parametrize("revision", revisions())
def test_a_table_of_every_older_version_is_upgraded(tmp_path: Path, revision: str, tally: Tally) -> None:
    """Jobs of the old table keep their ids and go on."""
    config = make_config(tmp_path)
    make_old_table(config.database, revision)
    fakes.write_job(config.done / "done")
    (config.done / "done/result.json").write_text(json.dumps({"job_id": "20260101-000000-0000000001"}))
    folder = fakes.write_job(config.inbox / "waiting")
    with sqlite3.connect(config.database) as connection:
        connection.execute("UPDATE jobs SET inode = ? WHERE folder = ?", (folder.stat().st_ino, b"waiting"))
    connection.close()
    with served(tmp_path) as share:
        assert share.job("waiting").job_id == "20260101-000000-0000000000"
        share.until(lambda: (config.done / "waiting/result.json").exists() and not share.store.active())
        assert share.job("waiting").job_id == "20260101-000000-0000000000"
        assert share.job("done").state is JobState.DONE
    tally(config, ["waiting", "done"])


def make_old_table(file: Path, revision: str) -> None:
    """A table as that version left it, with one waiting and one finished job."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(daemon.migrations.__file__).parent))
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for number, (folder, state) in enumerate([("waiting", "waiting"), ("done", "done")]):
            row = {
                "job_id": f"20260101-000000-{number:010x}", "folder": folder.encode(), "state": state,
                "created_at_s": 1.0, "finished_at_s": None if state == "waiting" else 2.0, "priority": 0,
                "owner_uid": 0, "attempts": 0, "inode": 0, "model": "", "input_bytes": 0, "input_sha256": "",
                "options": "{}", "summary": "{}", "destination": b"" if state == "waiting" else b"done/done",
            }  # fmt: skip
            known = {column["name"] for column in sa.inspect(connection).get_columns("jobs")}
            kept = {name: value for name, value in row.items() if name in known}
            columns, values = ", ".join(kept), ", ".join(f":{name}" for name in kept)
            connection.execute(sa.text(f"INSERT INTO jobs ({columns}) VALUES ({values})"), kept)
    engine.dispose()


@pytest.mark.fault("the clock jumps ten years back and forth", "time.time() of the daemon, during jobs")
def test_a_jump_of_the_clock_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally) -> None:
    """Settling, patience, limits and the queue go by the monotonic clock; nothing fails and nothing is skipped."""
    offset_s, real_time = 0.0, time.time
    monkeypatch.setattr(time, "time", lambda: real_time() + offset_s)
    names = [f"job{number}" for number in range(3)]
    with served(tmp_path) as share:
        monkeypatch.setattr(share.store, "_clock", time.time)
        for name, jump_s in zip(names, (-TEN_YEARS_S, TEN_YEARS_S, 0.0), strict=True):
            jumped = tmp_path / f"jumped during {name}"
            fakes.write_job(share.config.inbox / name, {"until": str(jumped), "work_s": 0.5})
            share.until(lambda name=name: share.states().get(name) == "running")
            offset_s = jump_s
            jumped.touch()
            result = share.config.done / name / "result.json"
            share.until(lambda result=result: result.exists() and not share.store.active())
            assert json.loads(result.read_text())["attempts"] == 1
        finished = [share.job(name).finished_at_s or 0.0 for name in names]
        assert finished[1] - finished[0] > 1.9 * TEN_YEARS_S, "the clock did jump"
        tally(share.config, names)


def test_the_second_daemon_of_a_share_ends_with_its_exit_code(tmp_path: Path) -> None:
    """A daemon started by hand beside the service is told so and touches nothing."""
    config = make_config(tmp_path)
    first = DaemonProcess(tmp_path)
    try:
        assert wait_until((config.state / "health.json").exists)
        command_line = [sys.executable, "-m", "daemon", "serve", "--root", str(config.root), "--state"]
        for state in (config.state, tmp_path / "another"):
            second = subprocess.run([*command_line, state], capture_output=True, text=True, timeout=60, check=False)
            assert second.returncode == 5, second.stderr
    finally:
        first.stop()
    assert open_store(config.database).is_empty()
