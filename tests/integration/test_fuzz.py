"""Damaged and invented bytes through everything that reads a stranger's file before the worker does.

Whatever the bytes, a look takes the folder, waits or refuses it with a code; nothing else is raised.  A fixed number
of examples runs in CI; ``FUZZ_EXAMPLES=200000`` runs longer by hand (docs/reliability.md notes the result).
"""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import fakes
from daemon import folders
from daemon.config import Config, load_config
from daemon.intake import Look, Memory, Verdict, look
from daemon.pictures import check_picture
from recon.errors import ReconError

pytestmark = pytest.mark.timeout(0 if "FUZZ_EXAMPLES" in os.environ else 300)

fuzz = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "250")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\x0d")
TEXTS = (b"[[", b"{", b'"', b"= ", b"1e999", b"-1", b"null", b"nan", b"\\u0000", b"\xf0\x9f", b"[", b"'''", b"true")


def png() -> bytes:
    return fakes.png(16, 16, 3)


def toml() -> bytes:
    return b'seed = 3\ntexture_px = 1024\nformats = ["glb"]\n[depth]\nencoding = "unsigned"\nunit_m = 0.001\n'


def transforms() -> bytes:
    frames = [
        {
            "file_path": f"view_{index:02d}.png",
            "depth_file_path": f"depth_{index:02d}.png",
            "transform_matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, index], [0, 0, 0, 1]],
        }
        for index in range(6)
    ]
    return json.dumps({"fl_x": 20.0, "fl_y": 20.0, "cx": 2.0, "cy": 2.0, "w": 4, "h": 4, "frames": frames}).encode()


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in fakes.JOB_FILES:
            packed.writestr(f"shoe/{name}", fakes.png())
    return stream.getvalue()


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, words: tuple[bytes, ...]) -> bytes:
    """Up to four cuts, overwrites, insertions and repetitions; now and then something quite different."""
    if draw(st.integers(0, 15)) == 0:
        return draw(st.binary(max_size=200))
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(start + draw(st.integers(0, 40)), len(data))
        piece = draw(st.one_of(st.sampled_from(words), st.binary(max_size=8)))
        kind = draw(st.sampled_from(["cut", "overwrite", "insert", "repeat", "end"]))
        if kind == "cut":
            del data[start:end]
        elif kind == "overwrite":
            data[start : start + len(piece)] = piece
        elif kind == "insert":
            data[start:start] = piece
        elif kind == "repeat":
            data[start:start] = data[start:end] * draw(st.integers(1, 50))
        else:
            del data[start:]
    return bytes(data)


class Folder:
    """One complete job folder, of which one file is replaced again and again."""

    def __init__(self) -> None:
        self._kept = tempfile.TemporaryDirectory(prefix="meshdrop-fuzz-")
        self.base = Path(self._kept.name)
        fakes.write_job(self.base / "shoe")
        (self.base / "zip").mkdir()
        self.config: Config = load_config(root=self.base, intake={"settle_s": 0.0, "damaged_after_s": 0.001})

    def look(self, folder: str, name: str, data: bytes) -> Look:
        (self.base / folder / name).write_bytes(data)
        try:
            with folders.opened(self.base, folder) as folder_fd:
                memory = Memory()
                look(folder_fd, memory, 100.0, self.config, 0.0)
                return look(folder_fd, memory, 2000.0, self.config, 0.0)
        finally:
            (self.base / folder / name).unlink()


FOLDER = Folder()


def assert_is_answered(seen: Look) -> None:
    """After half an hour without a change there is an answer, and a refusal says what to do."""
    assert seen.verdict in {Verdict.TAKE, Verdict.REFUSE}
    if seen.verdict is Verdict.REFUSE:
        assert seen.failure is not None
        content = seen.failure.to_json()
        assert content["suggestion"]
        json.dumps(content).encode()
    else:
        assert seen.found.options is not None


@fuzz
@given(damaged(toml(), TEXTS))
def test_options_in_toml(data: bytes) -> None:
    """Any job.toml is read or refused."""
    assert_is_answered(FOLDER.look("shoe", "job.toml", data))


@fuzz
@given(damaged(b'{"seed": 3, "formats": ["glb"], "depth": {"unit_m": 0.001}}', TEXTS))
def test_options_in_json(data: bytes) -> None:
    """Any job.json is read or refused."""
    assert_is_answered(FOLDER.look("shoe", "job.json", data))


@fuzz
@given(damaged(transforms(), TEXTS))
def test_cameras(data: bytes) -> None:
    """Any transforms.json is read or refused."""
    assert_is_answered(FOLDER.look("shoe", "transforms.json", data))


@fuzz
@given(damaged(archive(), NUMBERS))
def test_archives(data: bytes) -> None:
    """Any archive is taken, refused, or damaged for good."""
    assert_is_answered(FOLDER.look("zip", "job.zip", data))


@fuzz
@given(damaged(png(), NUMBERS))
def test_pictures(data: bytes) -> None:
    """What the walk accepts has the size that a decoder finds; everything else is refused with a code."""
    refusal = _refusal(lambda: check_picture("view_00.png", io.BytesIO(data), len(data), 1 << 20))
    if refusal is None:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            assert picture.width * picture.height <= 1 << 20
    else:
        assert refusal.code.startswith("INPUT_")


def _refusal(check: Callable[[], None]) -> ReconError | None:
    try:
        check()
    except ReconError as error:
        return error
    return None
