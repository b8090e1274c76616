"""How the programs of the lab talk and end: settings, progress, tables, exit codes."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ops.lab.trial_appliance import TrialError
from shared.errors import ShapboxError
from shared.redis.connection import REDIS_AWAY

#: Seconds between two lines of progress on a terminal, and in a file.
ATTENDED_SECONDS, UNATTENDED_SECONDS = 1.0, 10.0
#: Faults that are listed.
MOST_LISTED = 20


def run_program(name: str, work: Callable[[], int], *more: type[Exception]) -> int:
    """Run a program; return its exit code: 1 if it broke off, 130 if it was interrupted."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)  # so that an appliance of ours is stopped as well
    faults: tuple[type[Exception], ...] = (TrialError, ShapboxError, OSError, ValueError, *REDIS_AWAY, *more)
    try:
        return work()
    except faults as fault:
        print(f"{name}: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _leave(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def number_from_environment(parser: argparse.ArgumentParser, name: str, default: float) -> float:
    """Return a positive number; ends the program with a message if the variable holds none."""
    text = os.environ.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < 10**9:
        parser.error(f"{name}={text!r} must be a number above 0")
    return number


@contextmanager
def progress(name: str) -> Iterator[Callable[[str], None]]:
    """Give a function that says one line: rewritten on a terminal, else a new one now and then."""
    terminal, said_at = sys.stdout.isatty(), -math.inf

    def say(line: str) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= (ATTENDED_SECONDS if terminal else UNATTENDED_SECONDS):
            said_at = time.monotonic()
            begin, end = ("\r\033[K", "") if terminal else ("", "\n")
            print(f"{begin}{name}: {line}", end=end, flush=True)

    yield say
    if terminal:
        print()


def verdict(faults: Sequence[object]) -> str:
    """Return the last part of a report: passed, or each fault."""
    if not faults:
        return "Passed."
    listed = [f"- {fault}" for fault in faults[:MOST_LISTED]]
    if len(faults) > MOST_LISTED:
        listed.append(f"- and {len(faults) - MOST_LISTED} more")
    return "FAILED:\n\n" + "\n".join(listed)


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first line is its head."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    head, *rest = (
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
    return "\n".join([head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rest])
