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
        self._last = ""
        self._started = time.monotonic()

    def hide(self, *secrets: str) -> None:
        """Know more secrets."""
        self._secrets.update(secret for secret in secrets if len(secret) >= SHORTEST)

    def say(self, text: str) -> None:
        """Print lines that stay; the line that would be written over stays, too."""
        self._write(f"{'\n' if self._last and self._output.isatty() else ''}{text}\n")
        self._last = ""

    def show(self, text: str) -> None:
        """Show the current state with the time; without a terminal only if it is new."""
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        line = f"{minutes:3d}:{seconds:02d}  {text}"
        if self._output.isatty():
            self._write(f"\r\033[K{line[:LINE]}")
        elif text != self._last:
            self._write(f"{line}\n")
        self._last = text

    def _write(self, text: str) -> None:
        for secret in sorted(self._secrets, key=len, reverse=True):  # one may lie within another
            text = text.replace(secret, HIDDEN)
        self._output.write(text)
        self._output.flush()
