"""Folders of strangers who mean harm, or whose programs went wrong: refused by name, without hurting anybody else."""

import json
import os
import resource
import socket
import stat
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

import fakes
from daemon import folders
from daemon.retention import remove_expired
from repository import REPOSITORY
from served import ServedShare, served


def device(folder: Path) -> None:
    os.mknod(folder / "view_06.png", 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero never ends


def listening_socket(folder: Path) -> None:
    # Through the descriptor's path: the address of a socket holds 107 bytes.
    folder_fd = os.open(folder, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder_fd}/view_06.png")
    os.close(folder_fd)


def pipe_for_a_picture(folder: Path) -> None:
    (folder / "view_05.png").unlink()
    os.mkfifo(folder / "view_05.png")


def pipe_for_the_options(folder: Path) -> None:
    os.mkfifo(folder / "job.toml")


def link_to_a_folder(folder: Path) -> None:
    (folder / "images").symlink_to("/etc")


def hundred_thousand_files(folder: Path) -> None:
    for number in range(100_000):
        os.close(os.open(f"{folder}/{number}", os.O_CREAT | os.O_WRONLY))


def gigabyte_file(folder: Path) -> None:
    with (folder / "view_05.png").open("r+b") as file:
        file.truncate(1 << 30)


def thousand_levels(folder: Path) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1_000):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def test_a_deep_tree_is_removed_when_its_time_is_over(tmp_path: Path) -> None:
    """Removing what a stranger nested a thousand deep costs neither the stack nor the descriptors."""
    with served(tmp_path, retention={"failed_after_s": 0.01}) as share:
        draft = fakes.write_job(tmp_path / "draft")
        thousand_levels(draft)
        draft.rename(share.config.inbox / "deep")
        share.until(lambda: (share.config.failed / "deep").exists() and not share.store.active())
        remove_expired(share.config, share.store, time.time() + 10)
        assert os.listdir(share.config.failed) == []


def bomb_of_8229_bytes(folder: Path) -> None:
    """8192 x 8192 in one bit: 201 MB once it is RGB."""

    def chunk(kind: bytes, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))

    side_px = 8192
    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + side_px // 8) * side_px), 9)
    picture = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    assert len(picture) < 9_000
    (folder / "view_05.png").write_bytes(picture)


def wrong_checksum(folder: Path) -> None:
    damaged = bytearray((folder / "view_05.png").read_bytes())
    damaged[-20] ^= 1
    (folder / "view_05.png").write_bytes(damaged)


def nested_options(folder: Path) -> None:
    (folder / "job.toml").write_text("a = " + "[" * 30_000 + "]" * 30_000)


def endless_options(folder: Path) -> None:
    with (folder / "job.toml").open("wb") as file:
        file.truncate(100 << 20)


def nested_cameras(folder: Path) -> None:
    (folder / "transforms.json").write_text("[" * 1_000_000)


def huge_number(folder: Path) -> None:
    (folder / "job.json").write_text('{"seed": 1' + "0" * 60_000 + "}")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (device, "INPUT_FORBIDDEN_FILE"),
        (listening_socket, "INPUT_FORBIDDEN_FILE"),
        (pipe_for_a_picture, "INPUT_FORBIDDEN_FILE"),
        (pipe_for_the_options, "INPUT_FORBIDDEN_FILE"),
        (link_to_a_folder, "INPUT_FORBIDDEN_FILE"),
        (hundred_thousand_files, "INPUT_TOO_LARGE"),
        (gigabyte_file, "INPUT_TOO_LARGE"),
        (thousand_levels, "INPUT_TOO_LARGE"),
        (bomb_of_8229_bytes, "INPUT_TOO_MANY_PIXELS"),
        (wrong_checksum, "INPUT_CORRUPT"),
        (nested_options, "OPTIONS_INVALID"),
        (endless_options, "INPUT_TOO_LARGE"),
        (nested_cameras, "CAMERAS_INVALID"),
        (huge_number, "OPTIONS_INVALID"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_harm_is_refused_and_others_are_served(tmp_path: Path, spoil: Callable[[Path], None], code: str) -> None:
    """The folder comes back with its code, the next one is served, and the daemon's memory does not grow by it."""
    draft = fakes.write_job(tmp_path / "draft")
    spoil(draft)
    with served(tmp_path) as share:
        before_bytes = peak_memory_bytes()
        draft.rename(share.config.inbox / "harm")
        fakes.write_job(share.config.inbox / "good")
        share.until((share.config.failed / "harm/error.json").exists)
        error = json.loads((share.config.failed / "harm/error.json").read_text())
        assert error["code"] == code
        assert error["suggestion"]
        share.until((share.config.done / "good/result.json").exists)
        assert share.job("harm").attempts == 0
        assert peak_memory_bytes() - before_bytes < 64 << 20
        with folders.opened(share.config.root, "failed") as failed_fd:
            folders.remove_tree(failed_fd, "harm")  # pytest's own cleaning gives up on a thousand levels


def peak_memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


HARMFUL_NAMES = (
    "<script>alert(1)<", "$(touch pwned)", "`touch pwned`", "a;touch pwned", "\x1b]0;pwned\x07", "%2e%2e%2f", "&&",
)  # fmt: skip


@pytest.mark.parametrize("name", HARMFUL_NAMES, ids=range(len(HARMFUL_NAMES)))
def test_names_stay_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A folder's name reaches no shell, and the page, the status file and the log show it without its effect."""
    monkeypatch.chdir(tmp_path)
    with served(tmp_path) as share:
        folder = fakes.write_job(share.config.inbox / name, {"until": str(tmp_path / "shown")})
        share.until(lambda: (folder / "status.json").exists() and shows_a_running_job(share))
        page, status = (share.config.root / "status.html").read_text(), (folder / "status.json").read_text()
        (tmp_path / "shown").touch()
        share.until((share.config.done / name / "result.json").exists)
        result = (share.config.done / name / "result.json").read_text()
    template = (REPOSITORY / "daemon/templates/status.html").read_text()
    assert page.count("<script") == template.count("<script"), "the page runs its own script alone"
    assert "\x1b" not in page + status + result
    assert not list(tmp_path.rglob("pwned"))


def shows_a_running_job(share: ServedShare) -> bool:
    page = share.config.root / "status.html"
    return page.exists() and 'class="job"' in page.read_text()
