"""What a worker says is data, whatever it says: it decodes strangers' pictures and may have been taken over."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import WorkerConfig
from daemon.errors import ErrorCode, Failure
from daemon.executor import MAX_MESSAGE_BYTES, Ended, Executor, Progressed, folder_bytes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ("model", "stage", "fraction", "preview", "verdict", "summary", "failure", "is_fatal", "probe", "message")
KINDS = ("progress", "finished", "failed", "cancelled", "ready", "probe", "trouble", "alive", "else")


@pytest.fixture
def executor(tmp_path: Path) -> Executor:
    """One that believes that its worker has a job."""
    made = Executor(WorkerConfig(), None, tmp_path / "worker.log")
    made.job_id = "job-1"
    return made


def say(executor: Executor, message: object) -> Progressed | Ended | None:
    executor.job_id = "job-1"
    return executor._understand(json.dumps(message).encode())


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_no_message_harms_the_daemon(
    tmp_path_factory: pytest.TempPathFactory, kind: str, fields: dict[str, object]
) -> None:
    """Fields of any type are understood as far as they make sense, and what comes out has the promised types."""
    executor = Executor(WorkerConfig(), None, tmp_path_factory.getbasetemp() / "worker.log")
    heard = say(executor, {"kind": kind, "job_id": "job-1"} | fields)
    if isinstance(heard, Progressed):
        assert 0.0 <= heard.fraction <= 1.0
        assert all(text.encode() is not None for text in (heard.model, heard.stage, heard.preview))
    elif isinstance(heard, Ended):
        assert json.dumps(heard.summary, ensure_ascii=False).encode()
        assert isinstance(heard.failure, Failure | None)
        assert isinstance(heard.summary, dict | None)


@given(JSON)
def test_no_line_harms_the_daemon(tmp_path_factory: pytest.TempPathFactory, message: object) -> None:
    """Also what is no message at all is only noted."""
    assert say(Executor(WorkerConfig(), None, tmp_path_factory.getbasetemp() / "worker.log"), message) is None


def test_half_characters_do_not_get_in(executor: Executor) -> None:
    """A lone surrogate, which no page can be written with, is replaced wherever it stands."""
    line = b'{"kind": "finished", "job_id": "job-1", "verdict": "\\ud800", "summary": {"a": ["\\udfff\\ud83d\\ude00"]}}'
    heard = executor._understand(line)
    assert isinstance(heard, Ended)
    assert (heard.verdict, heard.summary) == ("?", {"a": ["?\N{GRINNING FACE}"]})


@pytest.mark.parametrize("fraction", [math.nan, math.inf, -math.inf, "half", None, [0.5], 1e308, 10**400, -3])
def test_a_fraction_is_between_none_and_all(executor: Executor, fraction: object) -> None:
    """Whatever the worker thinks of its progress."""
    heard = say(executor, {"kind": "progress", "job_id": "job-1", "fraction": fraction})
    assert isinstance(heard, Progressed)
    assert 0.0 <= heard.fraction <= 1.0


def test_another_jobs_message_is_not_heard(executor: Executor) -> None:
    """A worker cannot end a job that it does not have."""
    assert say(executor, {"kind": "finished", "job_id": "job-2", "verdict": "normal"}) is None
    assert executor.job_id == "job-1"


def test_an_invented_code_is_an_internal_error(executor: Executor) -> None:
    """Only the documented codes reach users."""
    heard = say(executor, {"kind": "failed", "job_id": "job-1", "failure": {"code": "MADE_UP", "message": "m"}})
    assert isinstance(heard, Ended)
    assert heard.failure is not None
    assert heard.failure.code is ErrorCode.INTERNAL_ERROR


def test_a_line_without_end_does_not_fill_the_memory(executor: Executor, tmp_path: Path) -> None:
    """Beyond a megabyte it is thrown away, and the next line is heard again."""
    pipe = tmp_path / "reports"
    pipe.write_bytes(b"x" * (MAX_MESSAGE_BYTES + 1))
    with pipe.open("rb") as stream:
        executor.report_fd = stream.fileno()
        assert executor._read() == []
        assert executor._buffer == b""
    pipe.write_bytes(b'{"kind": "cancelled", "job_id": "job-1"}\n')
    with pipe.open("rb") as stream:
        executor.report_fd = stream.fileno()
        assert executor._read() == [Ended("job-1", is_cancelled=True)]
    executor.report_fd = -1


def test_results_are_weighed_without_following_links(tmp_path: Path) -> None:
    """A link to something large, or to itself, weighs next to nothing."""
    (tmp_path / "mesh.glb").write_bytes(bytes(1000))
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper/texture.png").write_bytes(bytes(500))
    (tmp_path / "deeper/loop").symlink_to(tmp_path)
    (tmp_path / "large").symlink_to("/proc/kcore")
    assert 1500 <= folder_bytes(tmp_path) < 2000
