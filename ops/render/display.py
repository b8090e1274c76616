"""A deploy's output: one rewritten line on a terminal, else a line per change; no secrets."""

from __future__ import annotations

import time
from typing import TextIO

#: Replaces a secret. One of fewer characters would blot out words.
HIDDEN, SHORTEST = "[secret]", 6
#: Characters of the line that is written over: more would wrap and could not be.
LINE = 100


class Display:
    """Lines that stay, and one that is written over. Secrets are taken out of all of them.

    They may come from any source: Render's log may contain one.
    """

    def __init__(self, output: TextIO) -> None:
        self._secrets: set[str] = set()
        self._output = output
        self._terminal = self._output.isatty()
        self._open = False
        self._last = ""
        self._started = time.monotonic()

    def hide(self, *secrets: str) -> None:
        """Know more secrets."""
        self._secrets.update(secret for secret in secrets if len(secret) >= SHORTEST)

    def say(self, text: str) -> None:
        """Print lines that stay."""
        self.keep()
        self._write(f"{text}\n")

    def show(self, text: str) -> None:
        """Show the current state with the time; without a terminal only if it is new."""
        seconds = int(time.monotonic() - self._started)
        line = f"{seconds // 60:3d}:{seconds % 60:02d}  {text}"
        if self._terminal:
            self._open = True
            self._write(f"\r\033[K{line[:LINE]}")
        elif text != self._last:
            self._write(f"{line}\n")
        self._last = text

    def glimpse(self, text: str) -> None:
        """Show a passing state on a terminal; a log would only fill with it."""
        if self._terminal:
            self.show(text)

    def keep(self) -> None:
        """Let the line that would be written over stay."""
        if self._open:
            self._write("\n")
        self._open, self._last = False, ""

    def _write(self, text: str) -> None:
        for secret in sorted(self._secrets, key=len, reverse=True):  # one may lie within another
            text = text.replace(secret, HIDDEN)
        self._output.write(text)
        self._output.flush()
