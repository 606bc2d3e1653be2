"""A consistent copy of the job table, made while the daemon goes on writing."""

import sqlite3
from contextlib import closing
from pathlib import Path

from daemon.errors import StoreError


def back_up(database: Path, target: Path) -> int:
    """Copy the job table and check the copy.

    Args:
        database: The job table.
        target: A file that does not exist yet.

    Returns:
        How many jobs the copy holds.

    Raises:
        StoreError: There is no table, the target exists or cannot be written, or the copy is damaged.
    """
    if not database.exists():
        raise StoreError(f"{database} does not exist; has the daemon run?")
    if target.exists():
        raise StoreError(f"{target} exists already")
    try:
        with (
            closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            verdict = str(copy.execute("PRAGMA integrity_check(1)").fetchone()[0])
            count = int(copy.execute("SELECT count(*) FROM jobs").fetchone()[0])
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        raise StoreError(f"the job table cannot be copied to {target}: {error}") from None
    if verdict != "ok":
        raise StoreError(f"the copy {target} is damaged: {verdict}")
    target.chmod(0o600)
    return count
