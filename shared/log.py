"""One log shape for all services: JSON or text, with the request, job and batch at hand on each line."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TextIO

import orjson

from shared.log_capture import capture_what_is_printed
from shared.settings import LogFormat, Settings

#: What is being worked on: request, job, batch. Put on every line while it is set.
_context: ContextVar[dict[str, str | int]] = ContextVar("log_context", default={})  # noqa: B039  # never mutated

#: Attributes that every LogRecord has; all others came in by `extra=`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: The fields without which a JSON line is none of ours.
_NEEDED = frozenset({"time", "level", "service", "message"})
#: How a text line begins.
_TEXT_HEAD = re.compile(rb"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) +\S+ +")
#: What a line of a traceback begins with in text, below the line that it belongs to.
_BELOW = "  "
#: What makes a value need quotes in text.
_NEEDS_QUOTES = re.compile(r'[\s"=]|^$')


@contextlib.contextmanager
def log_context(**fields: str | int) -> Iterator[None]:
    """Put `fields` on every line that this thread logs inside the block; those without a value are left out."""
    before = _context.get()
    add_to_log_context(**fields)
    try:
        yield
    finally:
        _context.set(before)


def add_to_log_context(**fields: str | int) -> None:
    """Put `fields` on every line that this thread logs from here to the end of the log_context around it."""
    _context.set(_context.get() | {name: value for name, value in fields.items() if value != ""})


def current_request() -> str | None:
    """Return the id of the request at hand, if there is one."""
    request = _context.get().get("request")
    return None if request is None else str(request)


class LineFormatter(logging.Formatter, ABC):
    """Writes records as lines of the shape, and knows such a line when it sees one."""

    def __init__(self, service: str, process: str | None = None) -> None:
        """`process` says which one it is, where a service has several."""
        super().__init__()
        self.service = service
        self.process = process

    @abstractmethod
    def wrote(self, line: bytes, *, below: bool) -> bool:
        """Return whether a line is in the shape; `below` says that the one before it was."""

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        """Return what stands on the line beside time, level, service and message."""
        fields: dict[str, object] = dict(_context.get())
        fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return fields


class JsonFormatter(LineFormatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line = {
            "time": _rfc3339(record.created),
            "level": record.levelname,
            "service": self.service,
            **({"process": self.process} if self.process else {}),
            "logger": record.name,
            "message": record.getMessage(),
            **self.fields(record),
        }
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # half a surrogate pair, or a number of more than 64 bits
            return orjson.dumps({name: _valid(value) for name, value in line.items()}).decode()

    def wrote(self, line: bytes, *, below: bool) -> bool:
        """Return whether a line is an object with the fields that all have."""
        del below
        if not line.startswith(b'{"'):
            return False
        try:
            return bool(orjson.loads(line).keys() >= _NEEDED)
        except ValueError:  # cut off, or something else in braces
            return False


class TextFormatter(LineFormatter):
    """Time, level, service, message, then name=value: one line, whatever is in them. Tracebacks stand below, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, and a traceback below it if there is one."""
        fields = self.fields(record)
        trace = str(fields.pop("exception", ""))
        pairs = "".join(f" {name}={_quoted(str(value))}" for name, value in fields.items())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        name = self.process or self.service
        line = f"{clock} {record.levelname:<7} {name:<10} {_printable(record.getMessage())}{pairs}"
        below = [f"{_BELOW}{_printable(part)}" for part in trace.split("\n")] if trace else []
        return "\n".join([line, *below])

    def wrote(self, line: bytes, *, below: bool) -> bool:
        """Return whether a line begins as all do, or belongs to the one before it."""
        return _TEXT_HEAD.match(line) is not None or (below and line.startswith(_BELOW.encode()))


def line_formatter(log_format: LogFormat, service: str, process: str | None = None) -> LineFormatter:
    """Return the formatter of LOG_FORMAT."""
    kind = JsonFormatter if log_format is LogFormat.JSON else TextFormatter
    return kind(service, process)


def configure_logging(
    settings: Settings, service: str, stream: TextIO | None = None, *, process: str | None = None
) -> None:
    """Send all logging of this process to `stream` (standard error by default) in the one shape.

    Also what Python would print past it: warnings, and exceptions that nobody catches.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(line_formatter(settings.log_format, service, process))
    handler.setLevel(settings.log_level)  # RQ sets levels of its own, which the root's would not hold
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    capture_what_is_printed()


def _printable(text: str) -> str:
    """Escape what would move the cursor, end the line or not be seen: clients choose some of what is logged."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def _quoted(value: str) -> str:
    if not _NEEDS_QUOTES.search(value):
        return _printable(value)
    return '"' + _printable(value.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _valid(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


def _rfc3339(seconds: float) -> str:
    millis = int(seconds * 1000) % 1000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{millis:03d}Z"
