"""A progress bar on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from shapbox.exchange import Show

#: A bar, nothing, or what is told how much is done, of how much.
Progress = bool | Show
#: Cells of a bar, and seconds between two displays: on a terminal, and in a log.
_WIDTH = 30
_ON_TERMINAL, _IN_LOG = 0.1, 10.0


class Bar:
    """Shows how much is done: on a terminal as a bar, in a file or pipe as a line now and then."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._started = self._shown = time.monotonic()
        self._state: tuple[int, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show that so much is done; bytes without a total are counted."""
        self._state = done, total
        if time.monotonic() - self._shown >= (_ON_TERMINAL if self._terminal else _IN_LOG):
            self._write()

    def close(self) -> None:
        """Show the last state, and end the line."""
        if self._state is not None:
            self._write()
            self._stream.write("\n" if self._terminal else "")
            self._stream.flush()

    def _write(self) -> None:
        self._shown = time.monotonic()
        minutes, seconds = divmod(int(self._shown - self._started), 60)
        done, total = self._state or (0, 0)
        full = round(_WIDTH * min(done, total) / total) if total else 0
        amount = f"[{'#' * full:-<{_WIDTH}}] {done / total:4.0%}" if total else f"{done / 1e6:.1f} MB"
        line = f"{self._label:<10} {amount}  {minutes}:{seconds:02d}"
        self._stream.write(f"\r{line}" if self._terminal else f"{line}\n")
        self._stream.flush()


@contextlib.contextmanager
def showing(progress: Progress, label: str) -> Iterator[Show]:
    """Give the function to call with progress.

    It is a bar for True, the caller's own function, or one that ignores progress.
    """
    if progress is True:
        with contextlib.closing(Bar(label)) as bar:
            yield bar
    else:
        yield progress or _ignore


def _ignore(done: int, total: int) -> None:
    """Show nothing."""
