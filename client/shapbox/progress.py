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
    """Shows how much is done: on a terminal as a bar, elsewhere as a line now and then."""

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self._label = label
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._started = self._shown = time.monotonic()
        self._last = ""

    def __call__(self, done: int, total: int) -> None:
        """Show that so much is done."""
        seconds = time.monotonic() - self._started
        share = min(1.0, done / total) if total else 0.0
        amount = f"{share:4.0%}" if total else f"{done / 1e6:.1f} MB"
        full = round(_WIDTH * share)
        bar = "#" * full + "-" * (_WIDTH - full)
        self._last = f"{self._label:<10} [{bar}] {amount}  {int(seconds // 60)}:{int(seconds % 60):02d}"
        if time.monotonic() - self._shown >= (_ON_TERMINAL if self._terminal else _IN_LOG):
            self._write()

    def close(self) -> None:
        """Show the last state, and end the line."""
        if self._last:
            self._write()
            if self._terminal:
                self._stream.write("\n")
                self._stream.flush()

    def _write(self) -> None:
        self._shown = time.monotonic()
        self._stream.write(f"\r{self._last}" if self._terminal else f"{self._last}\n")
        self._stream.flush()


@contextlib.contextmanager
def showing(progress: Progress, label: str) -> Iterator[Show | None]:
    """Give what is to be told of progress: a bar for True, nothing for False, or the caller's own function."""
    if progress is False:
        yield None
    elif progress is True:
        with contextlib.closing(Bar(label)) as bar:
            yield bar
    else:
        yield progress
