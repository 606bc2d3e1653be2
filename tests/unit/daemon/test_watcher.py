"""What a scan sees; nothing is concluded from events or from a share that is away."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import names
from daemon.errors import ShareOffline
from daemon.share import create_share
from daemon.watcher import Watcher


@pytest.fixture
def root(tmp_path: Path) -> Path:
    create_share(tmp_path / "share")
    return tmp_path / "share"


@pytest.fixture
def watcher(root: Path) -> Iterator[Watcher]:
    made = Watcher(root, lambda: None)
    yield made
    made.stop_listening()


def test_a_scan_tells_what_came_and_changed(root: Path, watcher: Watcher) -> None:
    """A folder is told once when it comes and again when a file comes into it, and not in between."""
    (root / "inbox/shoe").mkdir()
    (root / "inbox/boot.zip").write_bytes(b"PK")
    first = watcher.scan()
    assert {item.folder: item.is_archive for item in first.changed} == {"shoe": False, "boot.zip": True}
    assert watcher.scan().changed == []
    (root / "inbox/shoe/view_00.png").touch()
    os.utime(root / "inbox/shoe", ns=(1, 1))
    (changed,) = watcher.scan().changed
    assert changed.folder == "shoe"


def test_a_folder_in_place_of_an_archive_is_another_thing(root: Path, watcher: Watcher) -> None:
    """The name alone does not say what it is."""
    (root / "inbox/shoe.zip").write_bytes(b"PK")
    watcher.scan()
    (root / "inbox/shoe.zip").unlink()
    (root / "inbox/shoe.zip").mkdir()
    (changed,) = watcher.scan().changed
    assert not changed.is_archive


def test_what_is_no_job_is_not_seen(root: Path, watcher: Watcher) -> None:
    """Loose files, links, hidden folders and what file managers leave are passed over."""
    (root / "inbox/readme.txt").touch()
    (root / "inbox/.hidden").mkdir()
    (root / "inbox/@eaDir").mkdir()
    (root / "inbox/link").symlink_to("/etc")
    (root / "inbox/dangling").symlink_to("/nowhere")
    os.mkfifo(root / "inbox/pipe")
    assert watcher.scan().seen == {}


def test_a_batch_is_listed_by_its_jobs(root: Path, watcher: Watcher) -> None:
    """The batch itself is no job; its own CANCEL is told; when it goes it is forgotten."""
    (root / "inbox/monday/shoe").mkdir(parents=True)
    watcher.batches.add("monday")
    assert set(watcher.scan().seen) == {"monday/shoe"}
    assert watcher.cancelled_batches == set()
    (root / "inbox/monday/Cancel.txt").touch()
    watcher.scan()
    assert watcher.cancelled_batches == {"monday"}
    shutil.rmtree(root / "inbox/monday")
    assert watcher.scan().seen == {}
    assert watcher.batches == set()


@pytest.mark.parametrize("missing", ["", "inbox", names.SENTINEL])
def test_a_share_that_is_away_is_not_empty(root: Path, watcher: Watcher, missing: str) -> None:
    """Without root, inbox or sentinel a scan has no result, and afterwards nothing counts as changed."""
    (root / "inbox/shoe").mkdir()
    watcher.scan()
    place = root / missing if missing else root
    place.rename(root.parent / "away")
    with pytest.raises(ShareOffline):
        watcher.scan()
    (root.parent / "away").rename(place)
    again = watcher.scan()
    assert (set(again.seen), again.changed) == ({"shoe"}, [])


def test_retry_is_found_by_the_scan(root: Path, watcher: Watcher) -> None:
    """In done/, in failed/ and inside batches; a folder seen without it is not opened until it changes."""
    for place in ("done/a", "failed/b", "done/monday/c"):
        (root / place).mkdir(parents=True)
        (root / place / "result.json").touch()
    seen: dict[str, object] = {}
    now_s, trust_s = 100.0, 2.0
    assert watcher.wanted_retries(seen, now_s, trust_s) == []  # type: ignore[arg-type]
    for place in ("done/a", "failed/b", "done/monday/c"):
        (root / place / "retry.TXT").touch()
    found = watcher.wanted_retries(seen, now_s + 10.0, trust_s)  # type: ignore[arg-type]
    assert set(found) == {"done/a", "failed/b", "done/monday/c"}


def test_events_wake_and_a_replaced_inbox_is_listened_to_again(root: Path) -> None:
    """An observer of a folder that is gone is deaf without saying so: the inode tells."""
    woken: list[float] = []
    watcher = Watcher(root, lambda: woken.append(time.monotonic()))
    try:
        watcher.listen()
        (root / "inbox").rename(root / "old")
        (root / "inbox").mkdir()
        watcher.listen()
        time.sleep(0.2)
        woken.clear()
        (root / "inbox/shoe").mkdir()
        deadline_s = time.monotonic() + 10
        while not woken and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert woken
    finally:
        watcher.stop_listening()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=255).filter(lambda name: b"/" not in name and b"\0" not in name)))
def test_any_name_is_seen_as_it_is(tmp_path_factory: pytest.TempPathFactory, raw: list[bytes]) -> None:
    """Every folder whose name is not on the list of leftovers is seen, byte for byte."""
    root = tmp_path_factory.mktemp("names") / "share"
    create_share(root)
    wanted = {name for name in raw if name not in {b".", b".."}}
    for name in wanted:
        os.mkdir(os.fsencode(root / "inbox") + b"/" + name)
    seen = {os.fsencode(folder) for folder in Watcher(root, lambda: None).scan().seen}
    assert seen == {name for name in wanted if not names.is_ignored(os.fsdecode(name))}
