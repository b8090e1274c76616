"""One line of progress: rewritten on a terminal, else a new one now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

#: Seconds between two lines where the output is no terminal.
UNATTENDED_SECONDS = 10.0


class Progress:
    """Says at most one line in so many seconds. One thread uses it."""

    def __init__(self, seconds: float) -> None:
        self._terminal = sys.stdout.isatty()
        self._seconds = seconds if self._terminal else UNATTENDED_SECONDS
        self._said_at = float("-inf")

    def say(self, line: str) -> None:
        """Say how far it is, unless that was said a moment ago."""
        if time.monotonic() - self._said_at < self._seconds:
            return
        self._said_at = time.monotonic()
        print(
            f"\r\033[Kchaos: {line}" if self._terminal else f"chaos: {line}",
            end="" if self._terminal else "\n",
            flush=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            print()
