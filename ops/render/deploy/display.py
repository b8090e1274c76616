"""A deploy's output: one rewritten line on a terminal, else a line per change; no secrets."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from ops.render.redactor import Redactor

#: Characters of the line that is written over: more would wrap and could not be.
LINE = 100


class Display:
    """Lines that stay, and one that is written over."""

    def __init__(self, redactor: Redactor, output: TextIO | None = None) -> None:
        self._redactor = redactor
        self._output = output or sys.stdout
        self._terminal = self._output.isatty()
        self._open = False
        self._last = ""
        self.started = time.monotonic()

    def say(self, text: str = "") -> None:
        """Print lines that stay."""
        self.close()
        self._write(f"{text}\n")

    def show(self, text: str) -> None:
        """Show the current state with the time; without a terminal only if it is new."""
        if self._terminal:
            self._open = True
            self._write(f"\r\033[K{self._clock()}  {text}"[: LINE + 4])
        elif text != self._last:
            self._write(f"{self._clock()}  {text}\n")
        self._last = text

    def glimpse(self, text: str) -> None:
        """Show a passing state on a terminal; a log would only fill with it."""
        if self._terminal:
            self.show(text)

    def keep(self) -> None:
        """Let the line that would be written over stay."""
        self.close()
        self._last = ""

    def close(self) -> None:
        """Go on in a new line."""
        if self._open:
            self._open = False
            self._write("\n")

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self.started)
        return f"{seconds // 60:3d}:{seconds % 60:02d}"

    def _write(self, text: str) -> None:
        self._output.write(self._redactor.clean(text))
        self._output.flush()
