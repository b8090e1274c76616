"""Runs other programs, and tells in clear words when one fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How many of a failed program's last lines are shown.
TAIL_LINES = 15
#: Words of programs that cannot reach what they ask, in lower case, and what to do then.
OFFLINE = (
    "dns",
    "failed to fetch",
    "failed to download",
    "connection",
    "network",
    "timed out",
    "could not resolve",
)
OFFLINE_REMEDY = (
    "This machine does not reach what it needs: check its network. For a mirror, pip's and uv's settings are used here "
    "(PIP_INDEX_URL, UV_DEFAULT_INDEX, UV_PYTHON_INSTALL_MIRROR)."
)
#: Variables that would send a program to another Python or environment than ours.
MISLEADING = (
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_REQUIRE_VIRTUALENV",
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
)


class SetupError(Exception):
    """The machine cannot be made ready. The message says what to do."""


def say(line: str) -> None:
    """Print one line of progress."""
    print(line, flush=True)


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this environment without variables that mislead, and with `extra`."""
    kept = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    return {**kept, **(extra or {})}


def output_of(*command: str, seconds: float = 20.0) -> str | None:
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


def run(title: str, *command: str, extra: Mapping[str, str] | None = None) -> None:
    """Run a program and say how long it took; on a terminal its own progress is shown.

    Raises SetupError with the program's last lines if it fails.
    """
    say(f"{title} …")
    started = time.monotonic()
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if sys.stderr.isatty() else subprocess.STDOUT,
            env=clean_environment(extra),
            check=False,
        )
    except OSError as error:
        raise SetupError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode != 0:
        said = done.stdout.decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
        lines = [f"{title}: `{' '.join(command[:6])} …` failed.", *(f"    {line}" for line in said)]
        if any(words in "\n".join(said).lower() for words in OFFLINE):
            lines.append(OFFLINE_REMEDY)
        raise SetupError("\n".join(lines))
    say(f"{title}: done in {time.monotonic() - started:.0f} s")
