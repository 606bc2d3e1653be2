"""The log: one line per event with key-value fields, readable on a terminal and JSON everywhere else.

Under systemd each line begins with its priority, as sd-daemon(3) describes, so that ``journalctl -p warning`` works.

A job's events also go to ``log.jsonl`` in its private folder, which is published beside the outcome.
"""

import json
import logging
import os
import re
import sys
import time
from pathlib import Path

import structlog

from daemon.config import LogConfig
from daemon.names import shown

STDERR_FILENO = 2
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""syslog's numbers."""
PASSWORD_IN_URL = re.compile(r"(://)[^/\s@]+@")


def configure(config: LogConfig) -> None:
    """Set up logging of this process on standard error."""
    is_console = config.format == "console" or (config.format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer(default=str)
    if is_console:
        renderer = structlog.dev.ConsoleRenderer()
    if is_journal(STDERR_FILENO):
        renderer = _with_priority(renderer)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, config.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def is_journal(descriptor: int) -> bool:
    """Whether a descriptor leads to the journal; systemd names the device and inode that it connected."""
    if "JOURNAL_STREAM" not in os.environ:
        return False
    status = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _with_priority(renderer: structlog.typing.Processor) -> structlog.typing.Processor:
    def render(logger: object, method: str, fields: structlog.typing.EventDict) -> str:
        return f"<{PRIORITIES.get(str(fields.get('level')), 6)}>{renderer(logger, method, fields)!s}"

    return render


def _escape(_logger: object, _method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Folder names come from strangers and reach the operator's terminal; addresses may hold passwords."""
    return {
        key: PASSWORD_IN_URL.sub(r"\1***@", value if key == "exception" else shown(value))
        if isinstance(value, str)
        else value
        for key, value in fields.items()
    }


class JobLog:
    """Appends events of one job to its ``log.jsonl``; safe from several processes at once."""

    def __init__(self, file: Path, job_id: str) -> None:
        self._file = file
        self._job_id = job_id

    def write(self, event: str, **fields: object) -> None:
        """Add one line; losing it must never harm the job."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "job_id": self._job_id,
            "event": event,
        } | fields
        data = json.dumps(line, default=str).encode() + b"\n"
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError:
            return
        try:
            os.write(descriptor, data)
        except OSError:
            return
        finally:
            os.close(descriptor)
