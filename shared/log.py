"""One log shape for all services: JSON or text, with the request, job and batch at hand on each line."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TextIO

import orjson

from shared.settings import LogFormat, Settings

#: What is being worked on: request, job, batch. Put on every line while it is set.
_context: ContextVar[dict[str, str | int]] = ContextVar("log_context", default={})  # noqa: B039  # never mutated

#: Attributes that every LogRecord has; all others came in by `extra=`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextlib.contextmanager
def log_context(**fields: str | int) -> Iterator[None]:
    """Put `fields` on every line that this thread logs inside the block."""
    token = _context.set(_context.get() | fields)
    try:
        yield
    finally:
        _context.reset(token)


def current_request() -> str | None:
    """Return the id of the request at hand, if there is one."""
    request = _context.get().get("request")
    return None if request is None else str(request)


class _Formatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        fields: dict[str, object] = dict(_context.get())
        fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return fields


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line = {
            "time": _rfc3339(record.created),
            "level": record.levelname,
            "service": self.service,
            "logger": record.name,
            "message": record.getMessage(),
            **self.fields(record),
        }
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(_Formatter):
    """Time, level, service, message, then name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, and a traceback below it if there is one."""
        fields = self.fields(record)
        trace = fields.pop("exception", None)
        pairs = "".join(f" {name}={value}" for name, value in fields.items())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {record.levelname:<7} {self.service:<9} {record.getMessage()}{pairs}"
        return f"{line}\n{trace}" if trace else line


def configure_logging(settings: Settings, service: str, stream: TextIO | None = None) -> None:
    """Send all logging of this process to `stream` (standard error by default) in the one shape."""
    handler = logging.StreamHandler(stream or sys.stderr)
    json = settings.log_format is LogFormat.JSON
    handler.setFormatter(JsonFormatter(service) if json else TextFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)


def _rfc3339(seconds: float) -> str:
    millis = int(seconds * 1000) % 1000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{millis:03d}Z"
