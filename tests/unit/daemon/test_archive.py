"""Archives of strangers."""

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.archive import ArchiveUnfinished, copy_member, opened_archive
from daemon.config import LimitsConfig
from recon.errors import CaptureError, InvalidArchive

LIMITS = LimitsConfig(max_files=20, max_file_bytes=1 << 20, max_job_bytes=1 << 21)


def packed(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream


def names_in(stream: io.BytesIO) -> set[str]:
    with opened_archive(stream, LIMITS) as (_, members):
        return set(members)


def test_a_folder_around_everything_is_taken_away() -> None:
    """Packing a folder and packing its files is the same job."""
    assert names_in(packed({"shoe/view_00.png": b"a", "shoe/images/b.png": b"b"})) == {"view_00.png", "images/b.png"}
    assert names_in(packed({"view_00.png": b"a", "images/b.png": b"b"})) == {"view_00.png", "images/b.png"}


def test_leftovers_are_skipped() -> None:
    """macOS adds a shadow of every file."""
    assert names_in(packed({"a.png": b"a", "__MACOSX/._a.png": b"", ".DS_Store": b""})) == {"a.png"}


@pytest.mark.parametrize(
    "files",
    [
        {"../a.png": b""},
        {"/etc/passwd": b""},
        {"C:/a.png": b""},
        {"x/..\\..\\a.png": b""},
        {"inner.zip": b"PK"},
        {"a/b/c/d/e/f/g.png": b""},
        {f"{number}.png": b"" for number in range(21)},
        {"bomb.png": bytes(1 << 20)},
        {"large.png": bytes(range(256)) * 8192},
    ],
)
def test_dangerous_archives_are_refused(files: dict[str, bytes]) -> None:
    """Ways out of the folder, nesting, floods and bombs are named and refused."""
    with pytest.raises(InvalidArchive):
        names_in(packed(files))


def test_links_and_passwords_are_refused() -> None:
    """A link inside a zip, or a locked file, is not unpacked."""
    link = zipfile.ZipInfo("a.png")
    link.external_attr = 0o120777 << 16
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InvalidArchive, match="link"):
        names_in(stream)
    locked = bytearray(packed({"a.png": b"abc"}).getvalue())
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InvalidArchive, match="password"):
        names_in(io.BytesIO(bytes(locked)))


def test_a_cut_off_archive_is_unfinished() -> None:
    """Without its end it may still be under way."""
    data = packed({"a.png": b"abc" * 100}).getvalue()
    with pytest.raises(ArchiveUnfinished):
        names_in(io.BytesIO(data[:-10]))


def test_damage_inside_is_found_while_unpacking() -> None:
    """The checksum of every file is compared."""
    data = bytearray(packed({"a.png": b"abcdef" * 100}, zipfile.ZIP_STORED).getvalue())
    data[60] ^= 1
    with opened_archive(io.BytesIO(bytes(data)), LIMITS) as (archive, members), pytest.raises(InvalidArchive):
        copy_member(archive, members["a.png"], io.BytesIO())


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_no_damage_gets_past(position: int, noise: bytes) -> None:
    """Whatever bytes are wrong, the archive opens, is unfinished, or is refused; nothing else happens."""
    data = bytearray(packed({"a.png": b"abc" * 30, "b/c.png": b"xyz" * 30}).getvalue())
    position %= len(data)
    data[position : position + len(noise)] = noise
    try:
        with opened_archive(io.BytesIO(bytes(data)), LIMITS) as (archive, members):
            for entry in members.values():
                target = io.BytesIO()
                copy_member(archive, entry, target)
                assert len(target.getvalue()) <= LIMITS.max_file_bytes
    except (ArchiveUnfinished, CaptureError):
        return
