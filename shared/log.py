"""Logging of all services: JSON or text, with request, job and batch on each line.

Warnings and uncaught exceptions, which Python would print, are logged as well.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TextIO

import orjson

from shared.jobs.document import rfc3339
from shared.settings import LogFormat, Settings

_python = logging.getLogger("python")

#: The current request, job and batch, put on every line.
_context: ContextVar[dict[str, str | int]] = ContextVar("log_context", default={})  # noqa: B039  # never mutated

#: The attributes of every LogRecord; all others come from `extra=`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: The fields of all our JSON lines.
_NEEDED = frozenset({"time", "level", "service", "message"})
#: The beginning of our text lines.
_TEXT_HEAD = re.compile(rb"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) +\S+ +")
#: The indent of a traceback's lines, below the line that they belong to.
_BELOW = "  "
#: Values that need quotes in text.
_NEEDS_QUOTES = re.compile(r'[\s"=]|^$')


@contextlib.contextmanager
def log_context(**fields: str | int) -> Iterator[None]:
    """Put `fields` that are not empty on every line that this thread logs inside the block."""
    before = _context.get()
    add_to_log_context(**fields)
    try:
        yield
    finally:
        _context.set(before)


def add_to_log_context(**fields: str | int) -> None:
    """Put `fields` on every line of this thread until the end of the log_context around it."""
    _context.set(_context.get() | {name: value for name, value in fields.items() if value != ""})


class LineFormatter(logging.Formatter, ABC):
    """Formats records as lines, and recognizes such lines."""

    def __init__(self, service: str, process: str | None = None) -> None:
        """`process` names the process of a service with several."""
        super().__init__()
        self.service = service
        self.process = process

    @abstractmethod
    def wrote(self, line: bytes, *, below: bool) -> bool:
        """Return whether a line is in this format; `below` says that the one before was."""

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        """Return the fields beside time, level, service and message."""
        fields: dict[str, object] = dict(_context.get())
        fields |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return fields


class JsonFormatter(LineFormatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line = {
            "time": rfc3339(record.created),
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
            texts = {name: str(value).encode("utf-8", "backslashreplace") for name, value in line.items()}
            return orjson.dumps({name: text.decode() for name, text in texts.items()}).decode()

    def wrote(self, line: bytes, *, below: bool) -> bool:
        """Return whether a line is a JSON object with the fields of all our lines."""
        del below
        if not line.startswith(b'{"'):
            return False
        try:
            return bool(orjson.loads(line).keys() >= _NEEDED)
        except ValueError:  # truncated, or not ours
            return False


class TextFormatter(LineFormatter):
    """Formats a record as time, level, service, message and name=value pairs on one line.

    Tracebacks are below it, indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, with its traceback below."""
        fields = self.fields(record)
        trace = str(fields.pop("exception", ""))
        pairs = "".join(f" {name}={_quoted(str(value))}" for name, value in fields.items())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        name = self.process or self.service
        line = f"{clock} {record.levelname:<7} {name:<10} {_printable(record.getMessage())}{pairs}"
        below = [f"{_BELOW}{_printable(part)}" for part in trace.split("\n")] if trace else []
        return "\n".join([line, *below])

    def wrote(self, line: bytes, *, below: bool) -> bool:
        """Return whether a line begins as ours do, or belongs to the one before."""
        return _TEXT_HEAD.match(line) is not None or (below and line.startswith(_BELOW.encode()))


def line_formatter(log_format: LogFormat, service: str, process: str | None = None) -> LineFormatter:
    """Return the formatter of LOG_FORMAT."""
    kind = JsonFormatter if log_format is LogFormat.JSON else TextFormatter
    return kind(service, process)


def configure_logging(
    settings: Settings, service: str, stream: TextIO | None = None, *, process: str | None = None
) -> None:
    """Send all logging of this process to `stream` (standard error by default) in one format."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(line_formatter(settings.log_format, service, process))
    handler.setLevel(settings.log_level)  # RQ sets levels of its own, which the root's would not hold back
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    warnings.showwarning = _log_warning
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread


def _log_warning(
    message: object, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    _python.warning("%s: %s", category.__name__, message, extra={"where": f"{filename}:{lineno}"})


def _log_uncaught(kind: type[BaseException], error: BaseException, _trace: object) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _python.warning("interrupted")
    else:
        _python.critical("the process exits: uncaught %s", kind.__name__, exc_info=error)


def _log_thread(hook: threading.ExceptHookArgs) -> None:
    name = hook.thread.name if hook.thread else "?"
    _python.error("the thread %s ends: uncaught %s", name, hook.exc_type.__name__, exc_info=hook.exc_value)


def _log_unraisable(hook: sys.UnraisableHookArgs) -> None:
    _python.error("%s: %r", hook.err_msg or "ignored", hook.object, exc_info=hook.exc_value)


def _printable(text: str) -> str:
    """Escape control and invisible characters: clients choose some of the text."""
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
