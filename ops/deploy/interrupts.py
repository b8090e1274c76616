"""Ctrl-C while something runs elsewhere: held back while an order is being given, and a question afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

#: What a Ctrl-C that must wait is answered with.
HEARD = b"\nCtrl-C is heard: first it must be known whether the deploy has begun.\n"


class LeftRunningError(Exception):
    """Whoever watches has gone; the deploy goes on."""


class Interrupts:
    """Turns SIGINT into KeyboardInterrupt, but not in the middle of an order: whether it was given must be known."""

    def __init__(self) -> None:
        self._held = False
        self.pending = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Take SIGINT for the length of the block."""
        before = signal.signal(signal.SIGINT, self._receive)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let the block end first; `pending` tells of what came meanwhile."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def raise_pending(self) -> None:
        """Raise what was held back."""
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        if self._held:
            self.pending = True
            os.write(
                sys.stderr.fileno(), HEARD
            )  # not through Python's buffers, which this may have interrupted
        else:
            raise KeyboardInterrupt


def wants_cancel(deploy: str, say: Callable[[str], None]) -> bool:
    """Ask whether a deploy shall be canceled. Raises LeftRunningError if nobody can be asked, or at a second Ctrl-C."""
    if not sys.stdin.isatty():
        raise LeftRunningError("There is no terminal to ask whether to cancel it")
    say(f"\nCancel the deploy {deploy}? y cancels it, Enter watches on, Ctrl-C leaves it running.")
    try:
        return input("Cancel? [y/N] ").strip().lower() in {"y", "yes"}
    except (KeyboardInterrupt, EOFError):
        raise LeftRunningError("You have left") from None
