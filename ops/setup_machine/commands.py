"""Runs other programs quietly, with a sign of progress, and their last lines on failure."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from ops.setup_machine.failure import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: How many of a failed program's last lines are shown.
TAIL_LINES = 15

#: Seconds between two signs of life where the output is no terminal.
SIGN_OF_LIFE_SECONDS = 10.0

#: Variables that would send pip to another place than the environment, or Python to other modules than its own.
_MISLEADING = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PYTHONHOME", "PYTHONPATH")


def clean_environment(**extra: str) -> dict[str, str]:
    """Return this environment without variables that mislead pip or Python, and with `extra`."""
    kept = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
    return {**kept, **extra}


def say(line: str) -> None:
    """Print one line of progress."""
    print(line, flush=True)


def succeeds(command: Sequence[str], seconds: float = 20.0) -> bool:
    """Tell whether a program can be run here and exits with 0."""
    return output_of(command, seconds) is not None


def output_of(command: Sequence[str], seconds: float = 20.0) -> str | None:
    """Return what a program prints, or None if it cannot be run, fails or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def run_shown(
    command: Sequence[str],
    title: str,
    environment: Mapping[str, str] | None = None,
    describe: Callable[[str], str | None] = lambda _line: None,
) -> None:
    """Run a program; show `title`, what `describe` makes of its lines, and the seconds.

    Raises SetupError with the program's last lines if it fails.
    """
    progress = _Progress(title)
    lines = []
    try:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment or clean_environment()),
        ) as process:
            for raw in process.stdout or ():
                lines.append(raw.decode("utf-8", "replace").rstrip())
                progress.show(describe(lines[-1]))
    except OSError as error:
        raise SetupError(f"{command[0]} cannot be run: {error}") from error
    if process.returncode != 0:
        progress.end("failed")
        tail = "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])
        raise SetupError(f"{title}: `{' '.join(command[:6])} …` failed. Its last lines:\n{tail}")
    progress.end(f"done in {progress.seconds:.0f} s")


class _Progress:
    """One line, rewritten on a terminal, and printed now and then without one."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = self.shown = time.monotonic()
        self.terminal = sys.stdout.isatty()
        if self.terminal:
            self._write(f"{title} …")
        else:
            say(f"{title} …")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def show(self, what: str | None) -> None:
        if what is None:
            return
        if self.terminal:
            self._write(f"{self.title}: {what}")
        elif time.monotonic() - self.shown >= SIGN_OF_LIFE_SECONDS:
            self.shown = time.monotonic()
            say(f"{self.title}: {what}")

    def end(self, how: str) -> None:
        if self.terminal:
            self._write(f"{self.title}: {how}")
            say("")
        else:
            say(f"{self.title}: {how}")

    def _write(self, text: str) -> None:
        sys.stdout.write(f"\r\033[K{text[:100]}")
        sys.stdout.flush()
