"""How often the loop scans: soon after an event, seldom when a scan is dear, and at once when the share is back."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import names
from daemon.config import load_config
from daemon.jobs import JobState
from daemon.share import create_share
from daemon.store import open_store
from daemon.supervisor import (
    DEAF_S,
    DEAF_SCAN_S,
    FASTEST_SCAN_SHARE,
    SCAN_SHARE,
    SLOWEST_SCAN_S,
    SWITCH_INTERVAL_S,
    Supervisor,
)


class Loop:
    """A supervisor whose scans take as long as the test says."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        create_share(base / "share")
        (base / "state/work").mkdir(parents=True)
        self.config = load_config(
            root=base / "share",
            state=base / "state",
            worker={"entry": "fakes:reconstruct", "preload": []},
        )
        self.store = open_store(self.config.database)
        self.now_s, self.cpu_s, self.scan_took_s, self.scan_cost_s = 100.0, 0.0, 0.0, 0.0
        self.supervisor = Supervisor(self.config, self.store, lambda: self.now_s)
        scan = self.supervisor.reception.scan

        def slow_scan() -> None:
            scan()
            self.now_s += self.scan_took_s
            self.cpu_s += self.scan_cost_s

        monkeypatch.setattr(self.supervisor.reception, "scan", slow_scan)
        monkeypatch.setattr("daemon.supervisor.time.thread_time", lambda: self.cpu_s)
        monkeypatch.setattr(self.supervisor.watcher, "listen", lambda: None)

    def scan(self) -> None:
        self.supervisor._scan(self.now_s)

    @property
    def next_scan_s(self) -> float:
        """After what was scanned last."""
        return self.supervisor._next_scan_s

    def event(self) -> None:
        """What the watcher does when something happens."""
        self.supervisor._wake_to_scan()
        self.supervisor._answer_wake()


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    made = Loop(tmp_path, monkeypatch)
    yield made
    made.supervisor.close()
    made.store.close()


def test_a_cheap_scan_is_made_every_second_and_after_an_event_at_once(loop: Loop) -> None:
    """intake.scan_s is the pause where nothing happens."""
    loop.scan()
    assert loop.next_scan_s == 101.0
    loop.event()
    assert loop.next_scan_s == 100.0


def test_a_dear_scan_is_made_seldom_while_nothing_happens(loop: Loop) -> None:
    """So that many waiting folders cost the machine next to nothing; but never more seldom than every ten seconds."""
    loop.scan_cost_s = 0.03
    loop.scan()
    assert loop.next_scan_s == pytest.approx(100.0 + 0.03 / SCAN_SHARE)
    loop.scan_cost_s = 1.0
    loop.scan()
    assert loop.next_scan_s == 100.0 + SLOWEST_SCAN_S


def test_events_cannot_make_the_loop_do_nothing_but_scan(loop: Loop) -> None:
    """A scan that takes a second, for whatever reason, leaves four to the rest of the loop."""
    loop.scan_took_s = 1.0
    loop.scan()
    loop.event()
    assert loop.next_scan_s == pytest.approx(100.0 + 1.0 / FASTEST_SCAN_SHARE)


def test_a_slow_share_cannot_either(loop: Loop) -> None:
    """Without events a scan that takes longer than the pause between scans is not followed by the next at once."""
    loop.scan_took_s = 2.0
    loop.scan()
    assert loop.next_scan_s == pytest.approx(100.0 + 2.0 / FASTEST_SCAN_SHARE)
    loop.scan_took_s = 60.0
    loop.now_s = 200.0
    loop.scan()
    assert loop.next_scan_s == 200.0 + 60.0 + SLOWEST_SCAN_S


def test_drops_are_found_while_the_event_library_is_deaf(loop: Loop) -> None:
    """After a folder has left the inbox the loop scans often by itself, for as long as events are held back."""
    (loop.config.inbox / "shoe").mkdir()
    (job,) = loop.supervisor.ledger.add([("shoe", (loop.config.inbox / "shoe").stat().st_ino, 0)])
    loop.scan()
    assert loop.next_scan_s == 101.0
    loop.supervisor.ledger.move(job, JobState.WITHDRAWN)
    assert loop.next_scan_s == 100.0 + DEAF_SCAN_S
    times_s = []
    while loop.next_scan_s - loop.now_s < 0.5:
        loop.now_s = loop.next_scan_s
        loop.scan()
        times_s.append(loop.now_s)
    assert 11 <= len(times_s) <= 13
    assert loop.now_s == pytest.approx(100.0 + DEAF_S, abs=2 * DEAF_SCAN_S)
    assert loop.next_scan_s == loop.now_s + 1.0


def test_a_share_that_is_away_is_looked_for_every_second(loop: Loop) -> None:
    """And is taken up again by the first scan that succeeds, with the reason told meanwhile."""
    sentinel = loop.config.root / names.SENTINEL
    sentinel.rename(loop.config.root / "away")
    loop.scan()
    assert "offline" in loop.supervisor.board.offline_reason
    assert loop.next_scan_s == 101.0
    (loop.config.root / "away").rename(sentinel)
    loop.scan()
    assert loop.supervisor.board.offline_reason == ""


def test_the_loop_does_not_wait_long_for_the_interpreter(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that compute hold it for half a millisecond where Python would give them five."""
    before_s = sys.getswitchinterval()
    monkeypatch.setattr(loop.supervisor, "recover", loop.supervisor.request_stop)
    monkeypatch.setattr(loop.supervisor, "close", lambda: None)
    monkeypatch.setattr("daemon.supervisor.signal.signal", lambda *_arguments: None)
    try:
        loop.supervisor.serve()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    finally:
        sys.setswitchinterval(before_s)
