"""The layout of the job table: made once, upgraded when needed, and Alembic stays out of the daemon."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory

from daemon.errors import StoreError
from daemon.jobs import JobState
from daemon.schema import LATEST_REVISION, MIGRATIONS, make_engine
from daemon.store import open_store, upgrade_beside
from repository import REPOSITORY


def test_the_latest_revision_is_alembics_head() -> None:
    """File names are counted without loading Alembic, so they must not lie."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == LATEST_REVISION


def test_a_process_that_upgraded_beside_has_no_alembic(tmp_path: Path) -> None:
    """The table is there, can be used, and what made it is not in memory."""
    code = (
        "import sys; from pathlib import Path; from daemon.store import open_store, upgrade_beside\n"
        "file = Path(sys.argv[1]); upgrade_beside(file); assert file.exists()\n"
        "store = open_store(file); store.add([('shoe', 1, 1)])\n"
        "print(store.schema, 'alembic' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "jobs.sqlite3")],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == [LATEST_REVISION, "False"]


def test_what_goes_wrong_beside_is_found_by_the_opening(tmp_path: Path) -> None:
    """The child says nothing and changes nothing; the daemon itself says what is wrong."""
    file = tmp_path / "jobs.sqlite3"
    file.write_bytes(b"garbage" * 1000)
    upgrade_beside(file)
    assert file.read_bytes() == b"garbage" * 1000
    with pytest.raises(StoreError, match="doctor"):
        open_store(file)


def test_a_table_without_its_revision_is_no_newer_one(tmp_path: Path) -> None:
    """What Alembic cannot make sense of ends with a sentence, not with a traceback."""
    file = tmp_path / "jobs.sqlite3"
    open_store(file).close()
    connection = sqlite3.connect(file)
    connection.execute("DELETE FROM alembic_version")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="cannot be used"):
        open_store(file)


def test_a_drop_is_looked_up_by_its_folder(tmp_path: Path) -> None:
    """SQLite uses the index of active folders, so that the cost does not grow with the jobs that wait."""
    from daemon.store import _is_active, _jobs

    store = open_store(tmp_path / "jobs.sqlite3")
    query = sa.select(_jobs.c.folder).where(sa.and_(_is_active, _jobs.c.folder.in_([b"a", b"b"])))
    text = str(query.compile(store._engine, compile_kwargs={"literal_binds": False, "render_postcompile": True}))
    with store._engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", (b"a", b"b")).all()
    store.close()
    assert "one_active_job_per_folder" in str(plan)


def test_active_states_are_the_tables(tmp_path: Path) -> None:
    """The condition that the index spells out is that of daemon.jobs."""
    from daemon.jobs import ACTIVE
    from daemon.store import _is_active

    assert {state for state in JobState if f"'{state.value}'" in _is_active.text} == ACTIVE
    assert _is_active.text.count("'") == 2 * len(ACTIVE)


def test_a_reader_does_not_hold_up_the_writer(tmp_path: Path) -> None:
    """Commands look at the table beside the daemon."""
    store = open_store(tmp_path / "jobs.sqlite3")
    reader = make_engine(f"sqlite:///file:{tmp_path}/jobs.sqlite3?mode=ro&uri=true", "BEGIN")
    with reader.connect() as connection:
        connection.execute(sa.text("SELECT count(*) FROM jobs")).all()
        assert len(store.add([("shoe", 1, 1)])) == 1
        with pytest.raises(sa.exc.OperationalError, match="readonly"):
            connection.execute(sa.text("DELETE FROM jobs"))
    reader.dispose()
    store.close()
