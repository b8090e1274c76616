"""One program's output, cut anyhow, as whole lines in the one format.

Output that bypassed the log becomes records: Redis's lines, and the last words of a dying process.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence

from shared.log import LineFormatter

#: Seconds of silence after which raw lines that came together are one record.
TOGETHER_SECONDS = 0.5
#: Bytes after which a line, or raw lines together, are cut: a program that prints without end must not fill
#: supervisord's memory.
MOST_BYTES = 256 * 1024

#: Redis's marks (src/server.c), as levels, and its lines: PID:ROLE DAY TIME MARK MESSAGE.
_REDIS_MARKS = {".": logging.DEBUG, "-": logging.DEBUG, "*": logging.INFO, "#": logging.WARNING}
_REDIS = re.compile(r"(\d+):[XCSM] \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} ([-.*#]) (.*)")
#: Redis prints without a mark (a blank is taken for one) inside a signal's handler, and only what it calls a warning.
_REDIS_SIGNAL = re.compile(r"(\d+):signal-handler \(\d+\)( )(.*)")
#: Words of a process that ends by a fault: of Python, C++, supervisord's child before exec, Redis.
_FAULT = re.compile(
    r"Traceback \(most recent call last\)|\w(Error|Exception)\b|(?i:\bfatal\b)|terminate called|couldn't exec|BUG REPORT"
)
#: How Python begins where its last line says most; otherwise the first one does.
_TRACEBACK = re.compile(r"Traceback \(|Exception (in|ignored)|  File |    ")


class LineStream:
    """Every method returns what can be printed by now.

    A line that is in the format is passed on as it is. Raw lines are held until something else comes, since a
    traceback is written in pieces.
    """

    def __init__(
        self,
        formatter: LineFormatter,
        least_level: int,
        *,
        verbatim: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`least_level` holds for Redis, which has other levels; `verbatim` passes all lines on."""
        self._formatter = formatter
        self._least_level = least_level
        self._verbatim = verbatim
        self._clock = clock
        self._unfinished = b""
        self._below = False
        self._held: list[str] = []
        self._held_bytes = 0
        self._held_at = self._last_raw = 0.0

    def feed(self, data: bytes) -> bytes:
        """Take what the program printed."""
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        if len(self._unfinished) > MOST_BYTES:
            lines.append(self._unfinished)
            self._unfinished = b""
        return b"".join([self._take(line) for line in lines])

    def settle(self) -> bytes:
        """Stop waiting for more raw lines if they have waited long enough. Cheap."""
        waited = self._held and self._clock() - self._last_raw >= TOGETHER_SECONDS
        return self._release() if waited else b""

    def end(self) -> bytes:
        """Take the program's end: a last line may have no end of its own."""
        last, self._unfinished = self._unfinished, b""
        return (self._take(last) if last else b"") + self._release()

    def _take(self, line: bytes) -> bytes:
        self._below = self._verbatim or self._formatter.wrote(line, below=self._below)
        if self._below:
            return self._release() + line + b"\n"
        text = line.decode("utf-8", "backslashreplace").rstrip("\r")
        if record := redis_record(text, time.time()):
            return self._release() + (self._line(record) if record.levelno >= self._least_level else b"")
        if not self._held:
            if not text.strip():
                return b""
            self._held_at = time.time()
        self._last_raw = self._clock()
        self._held.append(text)
        self._held_bytes += len(text)
        return self._release() if self._held_bytes > MOST_BYTES else b""

    def _release(self) -> bytes:
        held, self._held, self._held_bytes = self._held, [], 0
        while held and not held[-1].strip():
            held.pop()
        return self._line(_raw_record(held, self._held_at)) if held else b""

    def _line(self, record: logging.LogRecord) -> bytes:
        return self._formatter.format(record).encode("utf-8", "backslashreplace") + b"\n"


def redis_record(line: str, at: float) -> logging.LogRecord | None:
    """Return the record of a line of Redis's own, or None."""
    found = _REDIS.fullmatch(line) or _REDIS_SIGNAL.fullmatch(line)
    if found is None:
        return None
    pid, mark, message = found.groups()
    return _record("redis", _REDIS_MARKS.get(mark, logging.WARNING), message, at, pid=int(pid))


def _raw_record(lines: Sequence[str], at: float) -> logging.LogRecord:
    """Return the one record of lines that came together, such as a traceback.

    Nobody said how bad they are: what looks like a fault is an error, all else is worth a look.
    """
    text = "\n".join(lines)
    level = logging.ERROR if _FAULT.search(text) else logging.WARNING
    if len(lines) == 1:
        return _record("raw", level, text, at)
    if _TRACEBACK.match(lines[0]):
        return _record("raw", level, lines[-1].strip(), at, exception=text)
    return _record("raw", level, lines[0].strip(), at, exception="\n".join(lines[1:]).strip("\n"))


def _record(name: str, level: int, message: str, at: float, **fields: object) -> logging.LogRecord:
    made = {"name": name, "levelno": level, "levelname": logging.getLevelName(level), "created": at}
    return logging.makeLogRecord({**made, "msg": message, **fields})
