"""Records from output that bypassed the log: Redis's lines, last words of a dying process."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

#: Redis's marks (src/server.c), as levels.
_REDIS_MARKS = {".": logging.DEBUG, "-": logging.DEBUG, "*": logging.INFO, "#": logging.WARNING}
#: PID:ROLE DAY TIME MARK MESSAGE.
_REDIS = re.compile(r"(\d+):[XCSM] \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} ([-.*#]) (.*)")
#: Redis prints without a mark from inside a signal's handler. It prints there only what it calls a warning.
_REDIS_SIGNAL = re.compile(r"(\d+):signal-handler \(\d+\) (.*)")
#: Words of a process that ends by a fault: of Python, C++, supervisord's child before exec, Redis.
_FAULT = re.compile(
    r"Traceback \(most recent call last\)|\w(Error|Exception)\b|(?i:\bfatal\b)|terminate called|couldn't exec|BUG REPORT"
)
#: How Python begins where its last line says most; otherwise the first one does.
_TRACEBACK = re.compile(r"Traceback \(|Exception (in|ignored)|  File |    ")


def redis_record(line: str, at: float) -> logging.LogRecord | None:
    """Return the record of a line of Redis's own, or None."""
    if found := _REDIS.fullmatch(line):
        pid, mark, message = found.groups()
        return _record("redis", _REDIS_MARKS[mark], message, at, pid=int(pid))
    if found := _REDIS_SIGNAL.fullmatch(line):
        return _record("redis", logging.WARNING, found[2], at, pid=int(found[1]))
    return None


def raw_record(lines: Sequence[str], at: float) -> logging.LogRecord:
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
