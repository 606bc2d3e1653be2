"""The log: one line per event with key-value fields, readable on a terminal and JSON everywhere else.

A job's events also go to ``log.jsonl`` in its private folder, which is published beside the outcome.
"""

import json
import logging
import os
import sys
import time
from pathlib import Path

import structlog

from daemon.config import LogConfig
from daemon.names import shown


def configure(config: LogConfig) -> None:
    """Set up logging of this process on standard error."""
    is_console = config.format == "console" or (config.format == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer() if is_console else structlog.processors.JSONRenderer(default=str)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _escape,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, config.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _escape(_logger: object, _method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Folder names come from strangers and reach the operator's terminal."""
    return {key: shown(value) if isinstance(value, str) else value for key, value in fields.items()}


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
