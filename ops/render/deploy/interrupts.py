"""Ctrl-C during a deploy: held back while an order is given, then answered with a question."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

#: Printed for a Ctrl-C that must wait.
HEARD = b"\nCtrl-C is heard: first it must be known whether the deploy has begun.\n"


class LeftRunningError(Exception):
    """The user stopped watching; the deploy goes on."""


class Interrupts:
    """Turns SIGINT into KeyboardInterrupt, but never while an order is being given."""

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
    """Ask whether to cancel a deploy. Raises LeftRunningError without a clear answer."""
    if not sys.stdin.isatty():
        raise LeftRunningError("There is no terminal to ask whether to cancel it")
    try:
        say(f"\nCancel the deploy {deploy}? y cancels it, Enter watches on, Ctrl-C leaves it running.")
        sys.stdout.write("Cancel? [y/N] ")
        sys.stdout.flush()
        _wait_for_line()
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        answer = ""
    if not answer:  # the end of the input
        raise LeftRunningError("You have left")
    return answer.strip().lower() in {"y", "yes"}


def _wait_for_line() -> None:
    """Return when somebody has typed; a Ctrl-C raises KeyboardInterrupt.

    `input()` would miss one that comes just before it begins to read: its handler runs only after the read.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)
    try:
        while sys.stdin not in select.select([sys.stdin, reading], [], [])[0]:
            os.read(reading, 64)
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)
