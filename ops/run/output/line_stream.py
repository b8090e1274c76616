"""One program's output, cut anyhow, as whole lines in the one shape."""

from __future__ import annotations

import time
from collections.abc import Callable

from ops.run.output.raw_lines import raw_record, redis_record
from shared.log import LineFormatter

#: Seconds of silence after which raw lines that came together are one record.
TOGETHER_SECONDS = 0.5
#: Bytes after which a line, or raw lines together, are cut: a program that prints without end must not fill
#: supervisord's memory.
MOST_BYTES = 256 * 1024


class LineStream:
    """Every method returns what can be printed by now.

    A line that is in the shape is passed on as it is. Raw lines are held until something else comes, since a
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
        if self._held and self._clock() - self._last_raw >= TOGETHER_SECONDS:
            return self._release()
        return b""

    def end(self) -> bytes:
        """Take the program's end: a last line may have no end of its own."""
        last, self._unfinished = self._unfinished, b""
        return (self._take(last) if last else b"") + self._release()

    def _take(self, line: bytes) -> bytes:
        if self._verbatim or self._formatter.wrote(line, below=self._below):
            self._below = True
            return self._release() + line + b"\n"
        self._below = False
        text = line.decode("utf-8", "backslashreplace").rstrip("\r")
        if record := redis_record(text, time.time()):
            known = self._line(self._formatter.format(record)) if record.levelno >= self._least_level else b""
            return self._release() + known
        return self._hold(text)

    def _hold(self, text: str) -> bytes:
        if not self._held:
            if not text.strip():
                return b""
            self._held_at = time.time()
        self._last_raw = self._clock()
        self._held.append(text)
        self._held_bytes += len(text)
        return self._release() if self._held_bytes > MOST_BYTES else b""

    def _release(self) -> bytes:
        if not self._held:
            return b""
        while not self._held[-1].strip():
            self._held.pop()
        record = raw_record(self._held, self._held_at)
        self._held, self._held_bytes = [], 0
        return self._line(self._formatter.format(record))

    @staticmethod
    def _line(text: str) -> bytes:
        return text.encode("utf-8", "backslashreplace") + b"\n"
