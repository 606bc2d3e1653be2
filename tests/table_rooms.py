"""A share with a real inbox and a real table, and the clock in the test's hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from daemon.config import load_config
from daemon.desks import Desks
from daemon.filing import Filing
from daemon.ledger import Ledger
from daemon.share import create_share
from daemon.store import open_store


class Clock:
    """Unix time in the test's hand."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class TableRoom:
    """What the daemon's parts are put into; tables of the configuration by name."""

    def __init__(self, base: Path, now_s: float = 100.0, **tables: Any) -> None:
        create_share(base / "share")
        self.config = load_config(root=base / "share", state=base / "state", **tables)
        self.config.work.mkdir(parents=True)
        self.store = open_store(self.config.database)
        self.ledger = Ledger(self.store)
        self.now_s = now_s

    def clock(self) -> float:
        return self.now_s

    def close(self) -> None:
        self.store.close()


class FilingRoom(TableRoom):
    """With desks, and the filing behind them."""

    def __init__(self, base: Path, now_s: float = 100.0, **tables: Any) -> None:
        super().__init__(base, now_s, **tables)
        self.desks = Desks(self.config, self.ledger, lambda _batch: None, self.clock)
        self.filing = Filing(self.config, self.ledger, self.desks, lambda: None, self.clock)

    def close(self) -> None:
        self.filing.stop()
        super().close()


AnyRoom = TypeVar("AnyRoom", bound=TableRoom)


@contextmanager
def opened(room: AnyRoom) -> Iterator[AnyRoom]:
    """A room that is closed whatever the test does."""
    try:
        yield room
    finally:
        room.close()
