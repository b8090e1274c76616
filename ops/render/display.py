"""A deploy's output: one rewritten line on a terminal, else a line per change; no secrets."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from ops.render.calls import RenderError
from ops.render.options import ExitCode
from shared.build import ROOT
from shared.errors import SettingsError

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


def run_tool(
    work: Callable[[Mapping[str, str], Display, Path], ExitCode],
    words: Sequence[str] | None = None,
    environment: Mapping[str, str] = os.environ,
    output: TextIO = sys.stdout,
    root: Path = ROOT,
) -> int:
    """Run a program; return its exit code. Not even a traceback shows a secret."""
    about = f"{(work.__doc__ or '').splitlines()[0]} docs/deploy-render.md lists its variables."
    argparse.ArgumentParser(description=about).parse_args(words)
    display, code, said = Display(output), ExitCode.FAILED, ""
    try:
        return work(environment, display, root)
    except SettingsError as fault:
        code, said = ExitCode.UNUSABLE, str(fault)
    except RenderError as fault:
        said = str(fault)
    except KeyboardInterrupt:
        code, said = ExitCode.INTERRUPTED, "Interrupted."
    except Exception:  # noqa: BLE001  # its text could hold a secret
        said = traceback.format_exc()
    display.say(said)
    return code
