"""How the job table is reached, and how its layout is brought up to date; for daemon.store alone."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from daemon.errors import StoreError

MIGRATIONS = Path(__file__).parent / "migrations"
LATEST_REVISION = max(file.stem[1:5] for file in (MIGRATIONS / "versions").glob("v*.py"))
"""Of the layout that this code expects: versions are named v0001_what.py and so on."""
BUSY_TIMEOUT_S = 5.0


def make_engine(url: str, begin: str) -> Engine:
    """Connections that begin their transactions as told.

    Args:
        url: Of SQLite.
        begin: ``BEGIN IMMEDIATE`` for the one who writes, ``BEGIN`` for those who only read.
    """
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        # sqlite3's own transaction handling begins deferred and commits behind our back.
        connection.isolation_level = None
        if begin != "BEGIN":
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @sa.event.listens_for(engine, "begin")
    def begin_now(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def read_revision(connection: Connection) -> str:
    """The revision of the table's layout, as Alembic counts; empty for a table without one."""
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return str(found or "")


def bring_up_to_date(engine: Engine) -> None:
    """Create the table, or change it into the latest layout, unless it has that already.

    Raises:
        StoreError: It is of a newer version.
    """
    with engine.connect() as connection:
        is_there = sa.inspect(connection).has_table("alembic_version")
        if is_there and read_revision(connection) == LATEST_REVISION:
            return
    _migrate(engine)


def _migrate(engine: Engine) -> None:
    # Here, because it takes half a second and 12 MB, and is needed once in a version's life.
    from alembic import command
    from alembic.config import Config as AlembicConfig
    from alembic.util import CommandError

    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StoreError(f"the job table was made by a newer version: {error}") from None
